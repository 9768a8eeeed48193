#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Values in memory, from code or from a JSON object.
public struct ConfigurationTree: ConfigurationSource {
  private let root: ConfigurationValue

  /// Values written in code.
  public init(_ values: [String: ConfigurationValue]) { root = .section(values) }

  /// Values of a JSON object (UTF-8 text); numbers must be whole, lists must be lists of texts.
  ///
  /// - Throws: `invalidInput` (`malformed`).
  public init(json: [UInt8]) throws(KeyCustodyError) {
    do {
      root = try JSONDecoder().decode(ConfigurationValue.self, from: Data(json))
    } catch {
      throw KeyCustodyError(
        .invalidInput, .malformed,
        "The configuration is not JSON, or holds something other than objects, texts, "
          + "whole numbers, true, false and lists of texts.", diagnostic: "\(error)")
    }
    guard case .section = root else {
      throw KeyCustodyError(.invalidInput, .malformed, "The configuration must be one JSON object.")
    }
  }

  /// Finds a value.
  public func value(at path: [String], as kind: ConfigurationKind) -> ConfigurationValue? { find(path) }
  /// Lists a section.
  public func names(under path: [String]) -> [String]? {
    if case .section(let values) = find(path) { Array(values.keys) } else { [] }
  }
  /// `a.b.c`.
  public func spelling(of path: [String]) -> String { path.joined(separator: ".") }

  private func find(_ path: [String]) -> ConfigurationValue? {
    path.reduce(Optional(root)) { value, name in
      if case .section(let values) = value { values[name] } else { nil }
    }
  }
}

extension ConfigurationValue: Decodable {
  /// Reads a JSON value.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let flag = try? container.decode(Bool.self) {
      self = .boolean(flag)
    } else if let number = try? container.decode(Int.self) {
      self = .integer(number)
    } else if let text = try? container.decode(String.self) {
      self = .string(text)
    } else if let texts = try? container.decode([String].self) {
      self = .strings(texts)
    } else {
      self = .section(try container.decode([String: ConfigurationValue].self))
    }
  }
}

/// Values of environment variables: `keyProviders.hsm.pinFile` is `KEYCUSTODY_KEY_PROVIDERS_HSM_PIN_FILE`.
///
/// It reads only what it is handed. It can't list, so a variable that nothing reads is not noticed.
public struct EnvironmentSource: ConfigurationSource {
  private let variables: [String: String]
  /// Reads `variables`.
  public init(_ variables: [String: String]) {
    self.variables = variables.filter { $0.key.hasPrefix("KEYCUSTODY_") }
  }
  /// Finds a value; numbers and flags are read from their text, lists are divided by commas.
  public func value(at path: [String], as kind: ConfigurationKind) -> ConfigurationValue? {
    guard kind != .section, let text = variables[Self.variable(for: path)] else { return nil }
    switch kind {
    case .integer: return Int(text).map { .integer($0) } ?? .string(text)
    case .boolean: return Bool(text).map { .boolean($0) } ?? .string(text)
    case .strings: return .strings(text.split(separator: ",").map(String.init))
    case .string, .section: return .string(text)
    }
  }
  /// Can't list.
  public func names(under path: [String]) -> [String]? { nil }
  /// The variable's name.
  public func spelling(of path: [String]) -> String { Self.variable(for: path) }

  /// The variable that holds a path.
  public static func variable(for path: [String]) -> String {
    "KEYCUSTODY_"
      + path.map { name in
        name.reduce(into: "") { result, letter in
          if letter.isUppercase, let last = result.last, last != "_" { result.append("_") }
          result.append(letter.isLetter || letter.isNumber ? letter.uppercased() : "_")
        }
      }.joined(separator: "_")
  }
}
