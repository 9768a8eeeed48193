public import KeyCustody

/// Keys in a vault that speaks the wire form of Azure Key Vault over HTTPS: this package's own, or Azure's.
///
/// ## Configuration
/// - `vault`: the vault's address, `https://NAME.vault.azure.net`.
/// - `authority`: who gives tokens, with the tenant: `https://login.microsoftonline.com/TENANT`. The vault's challenge must
///   name the same one: the secret goes nowhere else.
/// - `clientID`, `clientSecretFile` or `clientSecretEnvironment`: the client, and where its secret is read from each time a
///   token is asked for. A secret that was refused is not shown again before it is changed.
/// - `identityEndpoint`, `identityHeaderFile` or `identityHeaderEnvironment`: instead of these three, the machine's own
///   identity in the form of App Service; `clientID` may pick one of several.
/// - `prefix` (default `kc`): what the names of this provider's keys begin with; 1 to 40 letters, digits and dashes.
/// - `protection` (default `software`): `software` or `hsm`.
/// - `capabilities` (default all RSA and EC types): the types of keys that are offered, a list like `rsa-2048`, `ec-p256`.
///   They are believed, not tried.
/// - `symmetric` (default false): offers AES keys, when a throw-away one can be made and used at opening.
/// - `wrapOnHost` (default false): RSA keys wrap on this host, with the public key that was fetched.
/// - `caFile`: certificate authorities of the vault's and the authority's TLS (PEM); the system's otherwise.
/// - `timeout` (default 30, 1 to 600): how many seconds a call may take, repeats included.
///
/// ## Configuration of customers' keys
/// In a section of `customerKeys`, for keys that customers hold in vaults of theirs (``AzureKeyVaultKeys``):
/// - `domain`: what stands behind the vaults' names in their addresses, `vault.azure.net`.
/// - `vaults` (default all of the domain): the names of the vaults that are meant.
/// - `authority`, `clientID` and the rest of a credential, as above; `{tenant}` in the authority stands for the resource's
///   tenant.
/// - `caFile`, as above.
/// - `timeout` (default 10, 1 to 60): how many seconds a call may take, repeats included.
public enum AzureKeyVaultPlugin {
  /// The plugin's name.
  public static let name = "azure-key-vault"

  /// The plugin, for the host's list.
  public static let plugin = Plugin(
    name: name,
    keyProvider: { (section, environment) throws(KeyCustodyError) in
      let settings = try settings(section, environment)
      _ = try settings.checked()
      return { () async throws(KeyCustodyError) in
        try await AzureKeyVaultProvider.open(settings, environment: environment)
      }
    },
    customerKeySource: { (section, environment) throws(KeyCustodyError) in
      let settings = try keysSettings(section, environment)
      try settings.check()
      return { () async throws(KeyCustodyError) in try AzureKeyVaultKeys(settings, environment: environment) }
    })

  /// Reads the settings of a section of `customerKeys`.
  ///
  /// - Throws: `invalidInput`.
  public static func keysSettings(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment
  ) throws(KeyCustodyError) -> AzureKeyVaultKeysSettings {
    var settings = AzureKeyVaultKeysSettings(
      domain: try section.requiredString("domain"), credential: try credential(section, environment))
    if let names = try section.strings("vaults") {
      var vaults: Set<VaultName> = []
      for name in names { vaults.insert(try VaultName(name)) }
      settings.vaults = vaults
    }
    settings.caFile = try section.string("caFile").map(environment.path)
    settings.timeout = .seconds(try section.integer("timeout", in: 1...60) ?? 10)
    return settings
  }

  /// Reads the settings of a section.
  ///
  /// - Throws: `invalidInput`.
  public static func settings(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment
  ) throws(KeyCustodyError) -> AzureKeyVaultSettings {
    var settings = AzureKeyVaultSettings(
      vault: try section.requiredString("vault"), credential: try credential(section, environment))
    if let prefix = try section.string("prefix") { settings.prefix = prefix }
    if let text = try section.string("protection") {
      guard let protection = AzureKeyVaultSettings.Protection(rawValue: text) else {
        throw KeyCustodyError(
          .invalidInput, .badConfigurationValue, "'protection' is neither 'software' nor 'hsm'.",
          remedy: "Write one of the two.")
      }
      settings.protection = protection
    }
    if let names = try section.strings("capabilities") {
      settings.types = []
      for name in names {
        let type = try KeyType(name)
        if !settings.types.contains(type) { settings.types.append(type) }
      }
    }
    settings.symmetric = try section.boolean("symmetric") ?? false
    settings.wrapsOnHost = try section.boolean("wrapOnHost") ?? false
    settings.caFile = try section.string("caFile").map(environment.path)
    settings.timeout = .seconds(try section.integer("timeout", in: 1...600) ?? 30)
    return settings
  }

  private static func credential(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment
  ) throws(KeyCustodyError) -> AzureKeyVaultSettings.Credential {
    let header = try SecretReference("identityHeader", in: section, environment: environment)
    let endpoint = try section.string("identityEndpoint")
    let secret = try SecretReference("clientSecret", in: section, environment: environment)
    switch (endpoint, header, secret) {
    case (let endpoint?, let header?, nil):
      return .managedIdentity(endpoint: endpoint, header: header, clientID: try section.string("clientID"))
    case (nil, nil, let secret?):
      return .clientSecret(
        authority: try section.requiredString("authority"), clientID: try section.requiredString("clientID"),
        secret: secret)
    default:
      throw KeyCustodyError(
        .invalidInput, .missingConfigurationKey,
        "The configuration of '\(section.path.joined(separator: "."))' does not say by one credential who this program is.",
        remedy: "Set 'authority', 'clientID' and 'clientSecretFile'; or 'identityEndpoint' and 'identityHeaderFile'.")
    }
  }
}
