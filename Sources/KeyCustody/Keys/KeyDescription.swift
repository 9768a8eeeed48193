/// What anyone may know of a key version: everything but its material.
public struct KeyDescription: Sendable, Hashable, Codable {
  /// Where the material came from.
  public enum Origin: String, Sendable, Codable {
    /// Made inside the provider.
    case generated
    /// Brought in from outside.
    case imported
  }

  /// The version described.
  public var version: KeyVersionID
  /// Type and size.
  public var type: KeyType
  /// What it may be used for.
  public var role: KeyRole
  /// The public key of an RSA or EC key: a DER `SubjectPublicKeyInfo` (RFC 5280, section 4.1); `nil` for AES.
  public var publicKey: [UInt8]?
  /// What tells this key from every other and survives reopening: SHA-256 of the public key, or a check value.
  public var fingerprint: [UInt8]
  /// Where the material came from.
  public var origin: Origin
  /// Whether the material is held by hardware, or by a token that behaves as such, and can't be read out.
  public var isHardwareProtected: Bool
  /// Whether the provider can make a backup of it.
  public var isBackupable: Bool
  /// A text for people, as given when it was made; never used to find the key.
  public var label: String
  /// What a reader should know that the fields don't say, for instance attributes a token could not set.
  public var remarks: [String]

  /// Describes a key version.
  public init(
    version: KeyVersionID, type: KeyType, role: KeyRole, publicKey: [UInt8]?, fingerprint: [UInt8], origin: Origin,
    isHardwareProtected: Bool, isBackupable: Bool = false, label: String = "", remarks: [String] = []
  ) {
    self.version = version
    self.type = type
    self.role = role
    self.publicKey = publicKey
    self.fingerprint = fingerprint
    self.origin = origin
    self.isHardwareProtected = isHardwareProtected
    self.isBackupable = isBackupable
    self.label = label
    self.remarks = remarks
  }
}
