/// The address of a key: `https://VAULT.DOMAIN[:PORT]/keys/NAME[/VERSION]`, as Key Vault clients write it.
public struct KeyURI: Sendable, Hashable, Codable, CustomStringConvertible {
  /// Host and, where it is not 443, port, in lower case: `kv1.vault.example:8443`.
  public let authority: String
  /// The key's name.
  public let name: KeyName
  /// The version; without one the newest is meant.
  public let version: KeyVersionID?

  /// The vault: the first label of the host.
  public var vault: VaultName {
    get throws(KeyCustodyError) { try VaultName(String(authority.prefix { $0 != "." && $0 != ":" })) }
  }

  /// Makes an address.
  public init(authority: String, name: KeyName, version: KeyVersionID? = nil) {
    let lower = authority.lowercased()
    self.authority = lower.hasSuffix(":443") ? String(lower.dropLast(4)) : lower
    self.name = name
    self.version = version
  }

  /// Reads an address.
  ///
  /// - Throws: `invalidInput` (`malformed` or `bad-name`).
  public init(_ text: String) throws(KeyCustodyError) {
    let malformed = KeyCustodyError(
      .invalidInput, .malformed, "That is not the address of a key.",
      remedy: "Write https://VAULT.DOMAIN/keys/NAME or https://VAULT.DOMAIN/keys/NAME/VERSION.")
    guard text.hasPrefix("https://"), text.utf8.count <= 512, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
      throw malformed
    }
    var parts = text.dropFirst("https://".count).split(separator: "/", omittingEmptySubsequences: false).map(
      String.init)
    if parts.last == "" { parts.removeLast() }
    guard parts.count == 3 || parts.count == 4, parts[1] == "keys", Self.isAuthority(parts[0]) else { throw malformed }
    self.init(
      authority: parts[0], name: try KeyName(parts[2]), version: parts.count == 4 ? try KeyVersionID(parts[3]) : nil)
    _ = try vault
  }

  private static func isAuthority(_ text: String) -> Bool {
    let halves = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard let host = halves.first, !host.isEmpty else { return false }
    let labels = host.split(separator: ".", omittingEmptySubsequences: false)
    guard
      labels.allSatisfy({ label in !label.isEmpty && label.utf8.allSatisfy { $0.isASCIIAlphanumeric || $0 == 0x2d } })
    else { return false }
    // A port as a number is written: no sign, no zeros in front.
    return halves.count == 1 || (UInt16(halves[1]).map { $0 > 0 && String($0) == halves[1] } ?? false)
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

  /// The written form.
  public var description: String {
    var text = "https://"
    text.reserveCapacity(32 + authority.utf8.count + name.spelling.utf8.count + 32)
    text += authority
    text += "/keys/"
    text += name.spelling
    if let version {
      text += "/"
      text += version.description
    }
    return text
  }
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
