import Synchronization

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A value of a configuration.
public enum ConfigurationValue: Sendable, Hashable {
  /// A text.
  case string(String)
  /// A whole number.
  case integer(Int)
  /// True or false.
  case boolean(Bool)
  /// Several texts.
  case strings([String])
  /// Named values.
  case section([String: ConfigurationValue])
}

extension ConfigurationValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
  ExpressibleByDictionaryLiteral, ExpressibleByArrayLiteral
{
  /// A text.
  public init(stringLiteral value: String) { self = .string(value) }
  /// A whole number.
  public init(integerLiteral value: Int) { self = .integer(value) }
  /// True or false.
  public init(booleanLiteral value: Bool) { self = .boolean(value) }
  /// Several texts.
  public init(arrayLiteral elements: String...) { self = .strings(elements) }
  /// Named values; of a name given twice the last counts.
  public init(dictionaryLiteral elements: (String, ConfigurationValue)...) {
    self = .section(Dictionary(elements, uniquingKeysWith: { _, last in last }))
  }
}

/// Where configuration values come from.
public protocol ConfigurationSource: Sendable {
  /// The value at a path; `nil` when there is none.
  func value(at path: [String], as kind: ConfigurationKind) throws(KeyCustodyError) -> ConfigurationValue?
  /// The names under a path; `nil` when this source can't list.
  func names(under path: [String]) -> [String]?
  /// How a path is written in this source, for messages.
  func spelling(of path: [String]) -> String
  /// The file that the values are from, for messages; `nil` when there is none, or it isn't known.
  var file: String? { get }
}

extension ConfigurationSource {
  /// No file that is known.
  public var file: String? { nil }

  /// ` in 'keycustody.json'`, where the file is known.
  var place: String { file.map { " in '\($0)'" } ?? "" }
}

/// What kind of value a reader wants.
public enum ConfigurationKind: String, Sendable {
  /// A text.
  case string
  /// A whole number.
  case integer
  /// True or false.
  case boolean
  /// Several texts.
  case strings
  /// Named values.
  case section
}

/// A configuration: values from several sources, the first that has one wins; and the memory of what was asked for, so
/// that a key nothing reads is an error that names the nearest one that would have been read.
public final class KeyCustodyConfiguration: Sendable {
  private let sources: [any ConfigurationSource]
  private let asked = Mutex<[[String]: Set<String>]>([:])

  /// A configuration read from sources, the most important first.
  public init(sources: [any ConfigurationSource]) { self.sources = sources }

  /// A configuration written in code.
  public convenience init(_ values: [String: ConfigurationValue]) {
    self.init(sources: [ConfigurationTree(values)])
  }

  /// A configuration read from JSON text (UTF-8), where `environment` overrides it (``EnvironmentSource``).
  ///
  /// - Parameter file: the name of the file that the text is from, for messages.
  /// - Throws: `invalidInput` (`malformed`) for text that is not a JSON object.
  public convenience init(
    json: [UInt8], file: String? = nil, environment: [String: String] = [:]
  ) throws(KeyCustodyError) {
    self.init(sources: [EnvironmentSource(environment), try ConfigurationTree(json: json, file: file)])
  }

  /// The top level.
  public var root: ConfigurationSection { ConfigurationSection(configuration: self, path: []) }

  func value(at path: [String], as kind: ConfigurationKind) throws(KeyCustodyError) -> FoundValue? {
    let parent = Array(path.dropLast())
    asked.withLock { asked in _ = asked[parent, default: []].insert(path.last ?? "") }
    for source in sources {
      if let value = try source.value(at: path, as: kind) { return FoundValue(value, at: path, in: source) }
    }
    return nil
  }

  /// The file that values are from, where one is known.
  var file: String? { sources.lazy.compactMap(\.file).first }

  func names(under path: [String]) -> [String]? {
    let lists = sources.compactMap { $0.names(under: path) }
    return lists.isEmpty ? nil : Set(lists.joined()).sorted()
  }

  /// Refuses a key at or below `path` that nothing asked for.
  func refuseUnknown(at path: [String]) throws(KeyCustodyError) {
    let asked = asked.withLock { $0 }
    for source in sources {
      for name in (source.names(under: path) ?? []).sorted() {
        let known = asked[path] ?? []
        let below = path + [name]
        guard known.contains(name) else {
          let nearest = known.min { ($0.editDistance(to: name), $0) < ($1.editDistance(to: name), $1) }
          throw KeyCustodyError(
            .invalidInput, .unknownConfigurationKey,
            "Nothing reads the configuration key '\(source.spelling(of: below))'\(source.place).",
            remedy: nearest.map { "Did you mean '\(source.spelling(of: path + [$0]))'?" } ?? "Remove it.")
        }
        if asked[below] != nil, let value = try source.value(at: below, as: .section) {
          try FoundValue(value, at: below, in: source).requireSection()
        }
        try refuseUnknown(at: below)
      }
    }
  }
}

/// Part of a configuration: what a plugin is handed, and all it can read.
public struct ConfigurationSection: Sendable {
  private let configuration: KeyCustodyConfiguration
  /// Where this section stands.
  public let path: [String]

  init(configuration: KeyCustodyConfiguration, path: [String]) {
    self.configuration = configuration
    self.path = path
  }

  /// A section below this one.
  public func section(_ name: String) -> ConfigurationSection {
    // Asking makes the name known; what is in it is asked for by whoever reads it.
    _ = try? configuration.value(at: path + [name], as: .section)
    return ConfigurationSection(configuration: configuration, path: path + [name])
  }

  /// The names of the sections and values below this one, sorted.
  ///
  /// A source that can't list gives them in `names`.
  ///
  /// - Throws: `invalidInput` (`bad-configuration-value`) when something other than a section stands here.
  public func names() throws(KeyCustodyError) -> [String] {
    if !path.isEmpty { try configuration.value(at: path, as: .section)?.requireSection() }
    if let names = configuration.names(under: path) { return names }
    return try strings("names") ?? []
  }

  /// Whether there is anything below.
  public func exists() throws(KeyCustodyError) -> Bool { try !names().isEmpty }

  /// A text; `nil` when absent.
  public func string(_ name: String) throws(KeyCustodyError) -> String? {
    guard let found = try configuration.value(at: path + [name], as: .string) else { return nil }
    guard case .string(let text) = found.value else {
      throw found.wrongKind("a text", "write it in double quotes, \"\(name)\": \"…\".")
    }
    return text
  }

  /// A text that must be there.
  public func requiredString(_ name: String) throws(KeyCustodyError) -> String {
    if let value = try string(name) { return value }
    let near = (configuration.names(under: path) ?? []).min { $0.editDistance(to: name) < $1.editDistance(to: name) }
    if let near, near.editDistance(to: name) <= 3 {
      throw KeyCustodyError(
        .invalidInput, .unknownConfigurationKey,
        "The configuration lacks '\((path + [name]).joined(separator: "."))', but has '\(near)'.",
        remedy: "Did you mean '\(name)'?")
    }
    let file = configuration.file.map { " '\($0)'" } ?? ""
    throw KeyCustodyError(
      .invalidInput, .missingConfigurationKey, "The configuration lacks '\((path + [name]).joined(separator: "."))'.",
      remedy: "Add it to the configuration file\(file), or set \(EnvironmentSource.variable(for: path + [name])).")
  }

  /// A whole number within bounds; `nil` when absent.
  public func integer(_ name: String, in bounds: ClosedRange<Int>) throws(KeyCustodyError) -> Int? {
    guard let found = try configuration.value(at: path + [name], as: .integer) else { return nil }
    let number: Int? = if case .integer(let number) = found.value { number } else { nil }
    if let number, bounds.contains(number) { return number }
    throw found.wrongKind(
      "a whole number from \(bounds.lowerBound) to \(bounds.upperBound)",
      "write a number within these bounds, without quotes.", found: number?.description)
  }

  /// True or false; `nil` when absent.
  public func boolean(_ name: String) throws(KeyCustodyError) -> Bool? {
    guard let found = try configuration.value(at: path + [name], as: .boolean) else { return nil }
    guard case .boolean(let flag) = found.value else {
      throw found.wrongKind("true or false", "write true or false, without quotes.")
    }
    return flag
  }

  /// Several texts; `nil` when absent.
  public func strings(_ name: String) throws(KeyCustodyError) -> [String]? {
    guard let found = try configuration.value(at: path + [name], as: .strings) else { return nil }
    guard case .strings(let texts) = found.value else {
      throw found.wrongKind("a list of texts", "write the texts in brackets, \"\(name)\": [\"…\"].")
    }
    return texts
  }

  /// Refuses every key of this section that was not asked for: call it when all reading is done.
  ///
  /// - Throws: `invalidInput` (`unknown-configuration-key`), naming the nearest known key.
  public func refuseUnknownKeys() throws(KeyCustodyError) { try configuration.refuseUnknown(at: path) }
}

/// A value, and where it was found.
struct FoundValue {
  let value: ConfigurationValue
  /// `'service.nonces' in 'keycustody.json'`, or a variable's name.
  private let place: String
  private let isVariable: Bool

  init(_ value: ConfigurationValue, at path: [String], in source: any ConfigurationSource) {
    self.value = value
    place = "'\(source.spelling(of: path))'" + source.place
    isVariable = source is EnvironmentSource
  }

  func requireSection() throws(KeyCustodyError) {
    guard case .section = value else { throw wrongKind("a section", "write an object in braces, { … }.") }
  }

  /// What is said of a value that a setting can't have.
  func wrongKind(_ wanted: String, _ change: String, found: String? = nil) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .badConfigurationValue,
      "The configuration value \(place) must be \(wanted), and is \(found ?? value.kind).",
      remedy: isVariable
        ? "Whoever starts the process can change the environment variable, or leave it out."
        : "Whoever keeps the configuration can change it: \(change)")
  }
}

extension String {
  /// How many letters must change to make one word the other (Levenshtein).
  fileprivate func editDistance(to other: String) -> Int {
    let (left, right) = (Array(self.lowercased().utf8), Array(other.lowercased().utf8))
    var row = Array(0...right.count)
    for (i, letter) in left.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, candidate) in right.enumerated() {
        let change = diagonal + (letter == candidate ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = Swift.min(change, row[j] + 1, diagonal + 1)
      }
    }
    return row[right.count]
  }
}
