public import KeyCustody

/// What is fixed or switched for a whole vault (SEMANTICS V1-V3).
public struct VaultDefinition: Sendable, Hashable, Codable {
  /// Its name, the first label of its host.
  public var name: VaultName
  /// The tenant it belongs to; nobody of another tenant gets in.
  public var tenant: TenantID
  /// The region it stands in.
  public var region: Region
  /// How many days a deleted key is kept: 7 to 90.
  public var softDeleteDays: Int
  /// Whether nobody may purge before the retention has run out.
  ///
  /// Once on it stays on.
  public var purgeProtection: Bool
  /// The name of the key provider that holds its keys.
  public var keyProvider: String

  /// A vault with soft delete of 90 days.
  public init(
    name: VaultName, tenant: TenantID, region: Region, keyProvider: String, softDeleteDays: Int = 90,
    purgeProtection: Bool = false
  ) {
    self.name = name
    self.tenant = tenant
    self.region = region
    self.keyProvider = keyProvider
    self.softDeleteDays = softDeleteDays
    self.purgeProtection = purgeProtection
  }
}

/// A vault as it is stored.
struct VaultRecord: Codable, Sendable {
  var definition: VaultDefinition
  /// The backend found behind ``VaultDefinition/keyProvider`` when the vault was made; another one is refused.
  var provider: ProviderIdentity
  var created: Timestamp
}

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

  /// Whether `moment` lies in its validity.
  public func isValid(at moment: Timestamp) -> Bool {
    (notBefore.map { $0 <= moment } ?? true) && (expires.map { moment < $0 } ?? true)
  }
}

/// A key of a vault: its versions and its life.
public struct KeyRecord: Sendable, Hashable, Codable {
  /// When a key was deleted, and when it will be gone.
  public struct Deletion: Sendable, Hashable, Codable {
    /// When it was deleted.
    public var deleted: Timestamp
    /// When its retention will have run out.
    public var scheduledPurge: Timestamp
  }
  /// The name as it was first given.
  public var name: KeyName
  /// Type and size of every version.
  public var type: KeyType
  /// What every version may be used for.
  public var role: KeyRole
  var allVersions: [KeyVersionRecord]
  /// Set while the key is soft-deleted.
  public var deletion: Deletion?

  /// The versions that are there to be used, oldest first.
  public var versions: [KeyVersionRecord] { allVersions.filter { $0.stage == .ready } }
  /// The newest version.
  public var newest: KeyVersionRecord? { versions.last }
}

/// Something about a vault that was changed, and may have taken away access.
public enum VaultChange: Sendable, Hashable {
  /// The vault's rules about these principals.
  case policy(VaultName, Set<PrincipalID>)
  /// A key or one of its versions.
  case key(VaultName, KeyName)
}
