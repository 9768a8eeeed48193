public import KeyCustody

/// One version of a key: its name in the provider, and its attributes (SEMANTICS V6).
public struct KeyVersionRecord: Sendable, Hashable, Codable {
  /// How far the version's making or unmaking has come; written before the provider is asked.
  enum Stage: String, Codable, Sendable {
    case making
    case importing
    case ready
    case destroying
  }
  /// Its name, in the vault and in the provider.
  public var version: KeyVersionID
  /// Whether it may be used at all.
  public var isEnabled: Bool
  /// Not to be used for wrapping, encrypting and signing before.
  public var notBefore: Timestamp?
  /// Not to be used for wrapping, encrypting and signing from then on.
  public var expires: Timestamp?
  /// When it was made.
  public var created: Timestamp
  /// When its attributes last changed.
  public var updated: Timestamp
  /// The public half, base64url of a DER `SubjectPublicKeyInfo`; empty for AES.
  public var publicKey: String
  var stage: Stage
  /// Whether it is what a named request makes; only while it is made.
  var isNamed: Bool?
  /// Its type and role, where they are not those of the key's first version.
  var ownType: KeyType?
  var ownRole: KeyRole?
  /// What guards it; absent: software.
  var storedProtection: KeyProtection?
  /// What was chosen out of what it can do; `nil`: all of it.
  var chosenOperations: [KeyUse]?
  var storedTags: [String: String]?
  /// Set while this version alone is soft-deleted.
  public var deletion: KeyRecord.Deletion?
  /// When its rotation policy's notice was given.
  var noticed: Timestamp?

  /// What guards it.
  public var protection: KeyProtection { storedProtection ?? .software }
  /// The tags of its owner.
  public var tags: [String: String] { storedTags ?? [:] }

  /// Whether `moment` lies in its validity.
  public func isValid(at moment: Timestamp) -> Bool {
    (notBefore.map { $0 <= moment } ?? true) && (expires.map { moment < $0 } ?? true)
  }

  /// Whether it is there to be used, as far as its life goes.
  var isLiving: Bool { stage == .ready && deletion == nil }

  /// Takes over what `attributes` give.
  mutating func set(_ attributes: KeyAttributes, at moment: Timestamp) {
    if let isEnabled = attributes.isEnabled { self.isEnabled = isEnabled }
    if let notBefore = attributes.notBefore { self.notBefore = notBefore }
    if let expires = attributes.expires { self.expires = expires }
    if let operations = attributes.operations { chosenOperations = KeyUse.allCases.filter(operations.contains) }
    if let tags = attributes.tags { storedTags = tags.isEmpty ? nil : tags }
    updated = moment
  }
}

/// A key of a vault: its versions and its life.
public struct KeyRecord: Sendable, Hashable, Codable {
  /// When a key was deleted, and when it will be gone.
  public struct Deletion: Sendable, Hashable, Codable {
    /// When it was deleted.
    public var deleted: Timestamp
    /// When its retention will have run out, if the vault is watched over without a break until then.
    ///
    /// What decides is how long it was watched over (``Vaults/purgeKey(_:as:context:)``), so that it may be later.
    public var scheduledPurge: Timestamp
    /// The observed time at the deletion, in milliseconds; a record without one was written before any was observed.
    var observed: Int64?

    /// How long what was deleted is kept, in milliseconds.
    var retention: Int64 { scheduledPurge.milliseconds - deleted.milliseconds }
    /// What is left of that, when so much time has been observed.
    func remaining(_ now: Int64) -> Int64 { max(0, retention - max(0, now - (observed ?? 0))) }
  }
  /// The name as it was first given.
  public var name: KeyName
  /// Type and role of the first version, and of every other that has none of its own.
  var firstType: KeyType
  var firstRole: KeyRole
  var allVersions: [KeyVersionRecord]
  /// Set while the key is soft-deleted.
  public var deletion: Deletion?
  /// When to make a new version; `nil`: the default.
  var rotationPolicy: RotationPolicy?
  /// Whether its versions are made so that they can be backed up; absent: not.
  var canBeBackedUp: Bool?

  enum CodingKeys: String, CodingKey {
    case firstType = "type"
    case firstRole = "role"
    case name, allVersions, deletion, rotationPolicy, canBeBackedUp
  }

  /// Type and size of the newest version.
  public var type: KeyType { newest.map(type(of:)) ?? firstType }
  /// What the newest version may be used for.
  public var role: KeyRole { newest.map(role(of:)) ?? firstRole }
  /// Type and size of a version.
  public func type(of version: KeyVersionRecord) -> KeyType { version.ownType ?? firstType }
  /// What a version is made for.
  public func role(of version: KeyVersionRecord) -> KeyRole { version.ownRole ?? firstRole }
  /// Whether the key can be backed up; settled when it was made.
  public var isBackupable: Bool { canBeBackedUp ?? false }
  /// The versions that are there to be used, oldest first.
  public var versions: [KeyVersionRecord] { allVersions.filter(\.isLiving) }
  /// The newest version.
  public var newest: KeyVersionRecord? { allVersions.last(where: \.isLiving) }
  /// What a version of it may be used for.
  public func operations(of version: KeyVersionRecord) -> [KeyUse] {
    version.chosenOperations ?? KeyUse.possible(type(of: version), role(of: version))
  }

  /// A version that is to be one of this key, of that type and role.
  func entry(_ version: KeyVersionRecord, _ type: KeyType, _ role: KeyRole) -> KeyVersionRecord {
    var entry = version
    entry.ownType = type == firstType ? nil : type
    entry.ownRole = role == firstRole ? nil : role
    return entry
  }
}
