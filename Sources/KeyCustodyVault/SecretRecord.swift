public import KeyCustody

/// Tags ``Identifier`` as the name of a secret; never instantiated.
public enum SecretTag {}

/// Names a secret within a vault.
public typealias SecretName = Identifier<SecretTag>

/// The address of a secret: `https://VAULT.DOMAIN[:PORT]/secrets/NAME[/VERSION]`.
public struct SecretURI: VaultAddress, Sendable, Hashable, Codable, CustomStringConvertible {
  /// Host and, where it is not 443, port, in lower case.
  public let authority: String
  /// The secret's name.
  public let name: SecretName
  /// The version; without one the newest is meant.
  public let version: KeyVersionID?

  /// The vault: the first label of the host.
  public var vault: VaultName {
    get throws(KeyCustodyError) { try VaultName(String(authority.prefix { $0 != "." && $0 != ":" })) }
  }

  /// Makes an address.
  public init(authority: String, name: SecretName, version: KeyVersionID? = nil) {
    let lower = authority.lowercased()
    self.authority = lower.hasSuffix(":443") ? String(lower.dropLast(4)) : lower
    self.name = name
    self.version = version
  }

  /// The same secret, of that version, or without one.
  public func with(version: KeyVersionID?) -> SecretURI {
    SecretURI(authority: authority, name: name, version: version)
  }

  /// The written form.
  public var description: String {
    "https://\(authority)/secrets/\(name)" + (version.map { "/\($0)" } ?? "")
  }
}

/// What may be said of a secret's version; what is `nil` stays as it is.
public struct SecretAttributes: Sendable, Hashable {
  /// Whether its value may be read; a new version's may, unless told otherwise.
  public var isEnabled: Bool?
  /// Not meant to be used before; it can be read all the same.
  public var notBefore: Timestamp?
  /// Not meant to be used from then on; it can be read all the same.
  public var expires: Timestamp?
  /// What the value is, a text of the owner's choice.
  public var contentType: String?
  /// Names and values of its owner's choice; they take the place of all there were.
  public var tags: [String: String]?

  /// Attributes.
  public init(
    isEnabled: Bool? = nil, notBefore: Timestamp? = nil, expires: Timestamp? = nil, contentType: String? = nil,
    tags: [String: String]? = nil
  ) {
    self.isEnabled = isEnabled
    self.notBefore = notBefore
    self.expires = expires
    self.contentType = contentType
    self.tags = tags
  }

  func validate() throws(KeyCustodyError) {
    guard contentType.map({ $0.count <= 255 }) ?? true else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "A content type has at most 255 characters.", remedy: "Shorten it.")
    }
    try Tags.validate(tags)
  }
}

/// One version of a secret: everything but its value (SEMANTICS V10).
public struct SecretVersionRecord: Sendable, Hashable, Codable {
  /// Its name.
  public var version: KeyVersionID
  /// Whether its value may be read.
  public var isEnabled: Bool
  /// Not meant to be used before.
  public var notBefore: Timestamp?
  /// Not meant to be used from then on.
  public var expires: Timestamp?
  /// When it was made.
  public var created: Timestamp
  /// When its attributes last changed.
  public var updated: Timestamp
  /// What the value is.
  public var contentType: String?
  var storedTags: [String: String]?
  /// Whether its value is stored; written before, so that no value is stored that no record names.
  var isReady: Bool

  /// The tags of its owner.
  public var tags: [String: String] { storedTags ?? [:] }

  init(_ version: KeyVersionID, _ attributes: SecretAttributes, at moment: Timestamp) {
    self.version = version
    isEnabled = true
    created = moment
    updated = moment
    isReady = false
    set(attributes, at: moment)
  }

  mutating func set(_ attributes: SecretAttributes, at moment: Timestamp) {
    if let isEnabled = attributes.isEnabled { self.isEnabled = isEnabled }
    if let notBefore = attributes.notBefore { self.notBefore = notBefore }
    if let expires = attributes.expires { self.expires = expires }
    if let contentType = attributes.contentType { self.contentType = contentType }
    if let tags = attributes.tags { storedTags = tags.isEmpty ? nil : tags }
    updated = moment
  }
}

/// A secret: its versions and its life.
struct SecretRecord: Codable, Sendable, Hashable {
  /// The name as it was first given.
  var name: SecretName
  var allVersions: [SecretVersionRecord]
  var deletion: KeyRecord.Deletion?
  /// Whether a purge has begun.
  var isPurging = false

  var versions: [SecretVersionRecord] { allVersions.filter(\.isReady) }
  var newest: SecretVersionRecord? { versions.last }
}

/// One version of a secret as a caller sees it, without its value.
public struct SecretBundle: Sendable, Hashable, Codable {
  /// Its address with the version, the name spelled as it was first given.
  public var uri: SecretURI
  /// Its attributes.
  public var attributes: SecretVersionRecord
  /// How it can be brought back once deleted.
  public var recovery: RecoveryLevel
}

/// A deleted secret as a caller sees it.
public struct DeletedSecretBundle: Sendable, Hashable, Codable {
  /// The secret, by its newest version.
  public var secret: SecretBundle
  /// When it was deleted, and when it will be gone.
  public var deletion: KeyRecord.Deletion
}

/// A secret's version with its value, which has one owner.
public struct RevealedSecret: ~Copyable, Sendable {
  /// Everything but the value.
  public let bundle: SecretBundle
  /// The value.
  public let value: SecretBytes
}

extension VaultErrors {
  static func secretUnknown(_ uri: SecretURI) -> KeyCustodyError {
    KeyCustodyError(
      .notFound, .secretUnknown, "There is no secret '\(uri)'.", remedy: "Check the name and the version, or set it.")
  }

  static func secretDeleted(_ uri: SecretURI, until moment: Timestamp) -> KeyCustodyError {
    KeyCustodyError(
      .disabled, .secretDeleted,
      "The secret '\(uri)' is deleted and can be recovered until \(moment.seconds) (seconds since 1970).",
      remedy: "The secret's owner can recover it.")
  }

  static func secretPurged(_ uri: SecretURI) -> KeyCustodyError {
    KeyCustodyError(
      .busy, .conflict, "The secret '\(uri)' was purged meanwhile; nothing was stored.", remedy: "Try again.",
      retryAfter: .milliseconds(100))
  }

  static func secretDisabled(_ uri: SecretURI) -> KeyCustodyError {
    KeyCustodyError(
      .disabled, .secretDisabled, "The secret '\(uri)' is disabled.", remedy: "The secret's owner can enable it again.")
  }
}
