/// How a short secret is wrapped, by its JOSE name (RFC 7518, section 4.1).
///
/// An open set: remote vaults have their own.
public struct WrapAlgorithm: RawRepresentable, Hashable, Sendable, Codable, CustomStringConvertible {
  /// The JOSE name, or a URI.
  public let rawValue: String
  /// Names an algorithm.
  public init(rawValue: String) { self.rawValue = rawValue }
  /// The JOSE name.
  public var description: String { rawValue }

  /// RSAES-OAEP with SHA-1 and MGF1 with SHA-1, no label.
  public static let rsaOAEP = Self(rawValue: "RSA-OAEP")
  /// RSAES-OAEP with SHA-256 and MGF1 with SHA-256, no label.
  public static let rsaOAEP256 = Self(rawValue: "RSA-OAEP-256")
  /// AES key wrap (RFC 3394) under a 256-bit key: secrets of 16, 24 or 32 bytes.
  public static let aes256KW = Self(rawValue: "A256KW")

  /// Whether wrapping needs the public key alone.
  public var isAsymmetric: Bool { self == .rsaOAEP || self == .rsaOAEP256 }

  /// The algorithms that fit a key type, the preferred one first.
  public static func fitting(_ type: KeyType) -> [WrapAlgorithm] {
    switch type {
    case .rsa: [.rsaOAEP256, .rsaOAEP]
    case .aes: [.aes256KW]
    case .ec: []
    }
  }
}

/// How a digest is signed, by its JOSE name (RFC 7518, section 3.1).
public enum SignatureAlgorithm: String, Sendable, Hashable, CaseIterable, Codable {
  /// ECDSA, P-256, SHA-256; the signature is r ‖ s, 64 bytes.
  case es256 = "ES256"
  /// ECDSA, P-384, SHA-384; 96 bytes.
  case es384 = "ES384"
  /// ECDSA, P-521, SHA-512; 132 bytes.
  case es512 = "ES512"
  /// RSASSA-PKCS1-v1_5, SHA-256.
  case rs256 = "RS256"
  /// RSASSA-PKCS1-v1_5, SHA-384.
  case rs384 = "RS384"
  /// RSASSA-PKCS1-v1_5, SHA-512.
  case rs512 = "RS512"
  /// RSASSA-PSS, SHA-256, MGF1-SHA-256, salt of 32 bytes.
  case ps256 = "PS256"
  /// RSASSA-PSS, SHA-384, MGF1-SHA-384, salt of 48 bytes.
  case ps384 = "PS384"
  /// RSASSA-PSS, SHA-512, MGF1-SHA-512, salt of 64 bytes.
  case ps512 = "PS512"

  /// The length of the digest that is signed, in bytes.
  public var digestLength: Int {
    switch self {
    case .es256, .rs256, .ps256: 32
    case .es384, .rs384, .ps384: 48
    case .es512, .rs512, .ps512: 64
    }
  }

  /// The algorithms that fit a key type, the preferred one first.
  public static func fitting(_ type: KeyType) -> [SignatureAlgorithm] {
    switch type {
    case .ec(.p256): [.es256]
    case .ec(.p384): [.es384]
    case .ec(.p521): [.es512]
    case .rsa: [.ps256, .rs256, .ps384, .rs384, .ps512, .rs512]
    case .aes: []
    }
  }
}
