#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Values in memory, from code or from a JSON object.
public struct ConfigurationTree: ConfigurationSource {
  private let root: ConfigurationValue
  /// The file that the values were read from, for messages.
  public let file: String?

  /// Values written in code.
  public init(_ values: [String: ConfigurationValue]) {
    root = .section(values)
    file = nil
  }

  /// Values of a JSON object (UTF-8 text); numbers must be whole, lists must be lists of texts.
  ///
  /// - Parameter file: the name of the file that the text is from, for messages.
  /// - Throws: `invalidInput` (`malformed`).
  public init(json: [UInt8], file: String? = nil) throws(KeyCustodyError) {
    self.file = file
    let source = file.map { "configuration file '\($0)'" } ?? "configuration"
    do {
      root = try JSONDecoder().decode(ConfigurationValue.self, from: Data(json))
    } catch let unfit as UnfitValue {
      let path = unfit.path.joined(separator: ".")
      throw KeyCustodyError(
        .invalidInput, .malformed,
        "The value\(path.isEmpty ? "" : " '\(path)'") in the \(source) is \(unfit.found); expected is a text, a whole "
          + "number, true, false, an object or a list of texts.",
        remedy: unfit.remedy)
    } catch {
      throw KeyCustodyError(
        .invalidInput, .malformed, "The \(source) is not JSON.",
        remedy: "Whoever keeps it can mend the text: names and texts stand in double quotes, commas between items and "
          + "none after the last, and every bracket is closed."
          + (file.map { " The place is shown by: python3 -m json.tool '\($0)'" } ?? ""), diagnostic: "\(error)")
    }
    guard case .section = root else {
      throw KeyCustodyError(
        .invalidInput, .malformed, "The \(source) must be one JSON object, and is \(root.kind).",
        remedy: "Whoever keeps it puts all settings into one pair of braces: { … }.")
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

/// A JSON value that no setting can have.
private struct UnfitValue: Error {
  var path: [String]
  var found: String
  var remedy: String
}

extension ConfigurationValue: Decodable {
  /// Reads a JSON value.
  public init(from decoder: any Decoder) throws {
    let path = decoder.codingPath.map(\.stringValue)
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      throw UnfitValue(path: path, found: "null", remedy: "Whoever keeps it can leave the setting out.")
    }
    if let flag = try? container.decode(Bool.self) {
      self = .boolean(flag)
    } else if let number = try? container.decode(Int.self) {
      self = .integer(number)
    } else if let text = try? container.decode(String.self) {
      self = .string(text)
    } else if (try? container.decode(Double.self)) != nil {
      throw UnfitValue(
        path: path, found: "a number that is not whole, or too large",
        remedy: "Whoever keeps it can write a whole number, or a text in double quotes.")
    } else if var list = try? decoder.unkeyedContainer() {
      self = .strings(try Self.texts(&list, path))
    } else {
      self = .section(try container.decode([String: ConfigurationValue].self))
    }
  }

  private static func texts(_ list: inout any UnkeyedDecodingContainer, _ path: [String]) throws -> [String] {
    var texts: [String] = []
    while !list.isAtEnd {
      guard let text = try? list.decode(String.self) else {
        throw UnfitValue(
          path: path, found: "a list whose item \(texts.count + 1) is no text",
          remedy: "Whoever keeps it can write every item of the list in double quotes.")
      }
      texts.append(text)
    }
    return texts
  }
}

extension ConfigurationValue {
  /// What kind of value it is, for messages.
  ///
  /// Texts and numbers are not repeated: a secret may have been written in the wrong place.
  var kind: String {
    switch self {
    case .string: "a text"
    case .integer: "a whole number"
    case .boolean(let flag): "\(flag)"
    case .strings: "a list"
    case .section: "an object"
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
