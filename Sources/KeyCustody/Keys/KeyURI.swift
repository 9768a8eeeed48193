/// The address of a key: `https://VAULT.DOMAIN[:PORT]/keys/NAME[/VERSION]`, as Key Vault clients write it.
public struct KeyURI: Sendable, Hashable, Codable, CustomStringConvertible {
  /// What all copies share: records name few keys, and each many times.
  private final class Parts: Sendable {
    let authority: String
    let name: KeyName
    let version: KeyVersionID?
    let text: String

    init(_ authority: String, _ name: KeyName, _ version: KeyVersionID?) {
      (self.authority, self.name, self.version) = (authority, name, version)
      let ending = version.map { "/\($0.description)" } ?? ""
      text = "https://\(authority)/keys/\(name.spelling)\(ending)"
    }
  }

  private let parts: Parts

  /// Host and, where it is not 443, port, in lower case: `kv1.vault.example:8443`.
  public var authority: String { parts.authority }
  /// The key's name.
  public var name: KeyName { parts.name }
  /// The version; without one the newest is meant.
  public var version: KeyVersionID? { parts.version }
  /// The written form.
  public var description: String { parts.text }

  /// The vault: the first label of the host.
  public var vault: VaultName {
    get throws(KeyCustodyError) {
      let label = authority.utf8.prefix { $0 != UInt8(ascii: ".") && $0 != UInt8(ascii: ":") }
      return try VaultName(String(decoding: label, as: UTF8.self))
    }
  }

  /// Makes an address.
  public init(authority: String, name: KeyName, version: KeyVersionID? = nil) {
    let lower = authority.lowercased()
    parts = Parts(lower.hasSuffix(":443") ? String(lower.dropLast(4)) : lower, name, version)
  }

  /// Reads an address.
  ///
  /// - Throws: `invalidInput` (`malformed` or `bad-name`).
  public init(_ text: String) throws(KeyCustodyError) {
    let start = "https://"
    guard text.hasPrefix(start), text.utf8.count <= 512, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
      throw Self.malformed()
    }
    var pieces = text.utf8.dropFirst(start.utf8.count).split(
      separator: UInt8(ascii: "/"), maxSplits: 5, omittingEmptySubsequences: false
    ).map { String(decoding: $0, as: UTF8.self) }
    if pieces.last == "" { pieces.removeLast() }
    guard pieces.count == 3 || pieces.count == 4, pieces[1] == "keys", Self.isAuthority(pieces[0]) else {
      throw Self.malformed()
    }
    self.init(
      authority: pieces[0], name: try KeyName(pieces[2]),
      version: pieces.count == 4 ? try KeyVersionID(pieces[3]) : nil)
    _ = try vault
  }

  private static func malformed() -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .malformed, "That is not the address of a key.",
      remedy: "Write https://VAULT.DOMAIN/keys/NAME or https://VAULT.DOMAIN/keys/NAME/VERSION.")
  }

  /// Equal where authority, name and version are, the name in whatever case.
  public static func == (left: Self, right: Self) -> Bool {
    left.parts === right.parts
      || left.authority == right.authority && left.name == right.name && left.version == right.version
  }

  /// Hashes what decides equality.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(authority)
    hasher.combine(name)
    hasher.combine(version)
  }

  private static func isAuthority(_ text: String) -> Bool {
    var (label, host) = (0, 0)
    for byte in text.utf8 {
      if byte == UInt8(ascii: ":") { break }
      guard byte.isASCIIAlphanumeric || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".") && label > 0 else {
        return false
      }
      label = byte == UInt8(ascii: ".") ? 0 : label + 1
      host += 1
    }
    guard label > 0 else { return false }
    guard host < text.utf8.count else { return true }
    // A port as a number is written: no sign, no zeros in front.
    let port = String(decoding: text.utf8.dropFirst(host + 1), as: UTF8.self)
    return UInt16(port).map { $0 > 0 && String($0) == port } ?? false
  }

  /// Reads the written form.
  public init(from decoder: any Decoder) throws {
    try self.init(try decoder.singleValueContainer().decode(String.self))
  }
  /// Writes the written form.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }

  /// The same key, of that version, or without one.
  public func with(version: KeyVersionID?) -> KeyURI { KeyURI(authority: authority, name: name, version: version) }
}

extension UInt8 {
  /// Whether this is an ASCII letter or digit.
  package var isASCIIAlphanumeric: Bool {
    switch self {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "A")...UInt8(ascii: "Z"):
      true
    default: false
    }
  }
}
