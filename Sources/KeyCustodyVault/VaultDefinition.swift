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
  /// The name of the key provider that holds its HSM-protected keys, where it has such ones.
  public var hsmKeyProvider: String?

  /// A vault with soft delete of 90 days.
  public init(
    name: VaultName, tenant: TenantID, region: Region, keyProvider: String, softDeleteDays: Int = 90,
    purgeProtection: Bool = false, hsmKeyProvider: String? = nil
  ) {
    self.name = name
    self.tenant = tenant
    self.region = region
    self.keyProvider = keyProvider
    self.softDeleteDays = softDeleteDays
    self.purgeProtection = purgeProtection
    self.hsmKeyProvider = hsmKeyProvider
  }
}

/// A vault as it is stored.
struct VaultRecord: Codable, Sendable {
  var definition: VaultDefinition
  /// The backend found behind ``VaultDefinition/keyProvider`` when the vault was made; another one is refused.
  var provider: ProviderIdentity
  /// The backend found behind ``VaultDefinition/hsmKeyProvider``.
  var hsmProvider: ProviderIdentity?
  var created: Timestamp
  /// From where it may be reached; absent: from everywhere.
  var networkRules: NetworkRules?
  /// That it is deleted, or about to be.
  var deletion: VaultDeletion?

  var network: NetworkRules { networkRules ?? .everywhere }
}

/// The deletion of a vault.
struct VaultDeletion: Codable, Sendable, Hashable {
  /// Tells it from another one.
  var id: String
  var began: Timestamp
  /// Whether the vault held nothing after it began: then its end is certain, and its name is not used again.
  var isEnded = false
}

/// Something about a vault that was changed, and may have taken away access.
public enum VaultChange: Sendable, Hashable {
  /// The vault's rules about these principals.
  case policy(VaultName, Set<PrincipalID>)
  /// A key or one of its versions.
  case key(VaultName, KeyName)
  /// The vault as a whole: from where it may be reached.
  case vault(VaultName)
}
