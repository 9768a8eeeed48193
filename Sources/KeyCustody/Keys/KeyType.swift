/// An elliptic curve of a key, by its JOSE name (RFC 7518, section 6.2.1.1).
public enum EllipticCurve: String, Sendable, Hashable, CaseIterable, Codable {
  /// NIST P-256, secp256r1.
  case p256 = "P-256"
  /// NIST P-384, secp384r1.
  case p384 = "P-384"
  /// NIST P-521, secp521r1.
  case p521 = "P-521"

  /// The length of one coordinate, and of each half of a raw signature, in bytes.
  public var coordinateLength: Int {
    switch self {
    case .p256: 32
    case .p384: 48
    case .p521: 66
    }
  }
}

/// The type and size of a key.
///
/// Written `rsa-2048`, `ec-p256`, `aes-256`.
public enum KeyType: Sendable, Hashable, Codable, CustomStringConvertible {
  /// RSA with a modulus of so many bits: 2048, 3072 or 4096.
  case rsa(bits: Int)
  /// A key on an elliptic curve.
  case ec(EllipticCurve)
  /// AES with a key of so many bits; only 256 is offered.
  case aes(bits: Int)

  /// Every type that a provider of ours may offer.
  public static let offered: [KeyType] = [
    .rsa(bits: 2048), .rsa(bits: 3072), .rsa(bits: 4096), .ec(.p256), .ec(.p384), .ec(.p521), .aes(bits: 256),
  ]

  /// Reads the written form.
  ///
  /// - Throws: `invalidInput` (`wrong-key-type`), naming the types there are.
  public init(_ text: String) throws(KeyCustodyError) {
    guard let found = Self.offered.first(where: { $0.description == text.lowercased() }) else {
      throw KeyCustodyError(
        .invalidInput, .wrongKeyType, "'\(text.prefix(40))' is not a key type.",
        remedy: "Use one of \(Self.offered.map(\.description).joined(separator: ", ")).")
    }
    self = found
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

  /// The roles that a key of this type can play: RSA all, EC signs, AES wraps.
  public var roles: [KeyRole] {
    let (wraps, signs) = (!WrapAlgorithm.fitting(self).isEmpty, !SignatureAlgorithm.fitting(self).isEmpty)
    return KeyRole.allCases.filter { (wraps || !$0.wraps) && (signs || !$0.signs) }
  }

  /// The written form.
  public var description: String {
    switch self {
    case .rsa(let bits): "rsa-\(bits)"
    case .ec(let curve): "ec-\(curve.rawValue.lowercased().filter { $0 != "-" })"
    case .aes(let bits): "aes-\(bits)"
    }
  }
}

/// What a key version may be used for, fixed when it is made.
///
/// Roles are separate, so that an AES key that unwraps never also decrypts data (a key with both gives away whatever it
/// wrapped), and that what was made as a KEK signs nothing.
public enum KeyRole: String, Sendable, Hashable, Codable, CaseIterable {
  /// A KEK: wraps and unwraps short secrets (RSA, AES).
  case wrapping
  /// Signs (RSA, EC).
  case signing
  /// Does both, as a vault's RSA key does for its clients: decrypts, unwraps and signs.
  case general

  /// Whether it unwraps.
  public var wraps: Bool { self != .signing }
  /// Whether it signs.
  public var signs: Bool { self != .wrapping }
}

/// Names one immutable key version within a provider: 16 bytes, written as 32 lower-case hexadecimal digits.
///
/// The caller chooses it, so that an operation whose answer was lost can be looked up, and repeated without a twin.
public struct KeyVersionID: Sendable, Hashable, Comparable, CustomStringConvertible, Codable {
  /// 32 lower-case hexadecimal digits.
  public let description: String

  /// Draws a fresh name.
  public init(random: some RandomSource) throws(KeyCustodyError) {
    description = try random.bytes(16).hexadecimal
  }
  /// Reads the written form.
  ///
  /// - Throws: `invalidInput` (`bad-name`).
  public init(_ text: String) throws(KeyCustodyError) {
    let lower = text.lowercasedASCII
    guard lower.utf8.count == 32, lower.utf8.allSatisfy(\.isHexadecimal) else {
      throw KeyCustodyError(.invalidInput, .badName, "A key version is named by 32 hexadecimal digits.")
    }
    description = lower
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
  /// The 16 bytes, as a token's `CKA_ID`.
  public var bytes: [UInt8] { [UInt8](hexadecimal: description) ?? [] }
  /// Ordered as text.
  public static func < (left: Self, right: Self) -> Bool { left.description < right.description }
}
