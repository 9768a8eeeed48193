import KeyCustody

/// The settings of a deployment besides its backends.
struct HostSettings: Sendable {
  var tenant: TenantID
  var region: Region
  var domain: String
  var keyProvider: String
  var policyStore: String
  var identityKeyProvider: String
  var identityPolicyStore: String
  var keyType: KeyType?
  var lease: Duration

  /// Reads the settings and refuses unknown keys in their sections.
  init(_ root: ConfigurationSection) throws(KeyCustodyError) {
    let service = root.section("service")
    tenant = try TenantID(try service.string("tenant") ?? "service")
    region = try Region(try service.string("region") ?? "local")
    keyProvider = try service.requiredString("keyProvider")
    policyStore = try service.requiredString("policyStore")
    let type = try service.string("keyType")
    keyType = if let type { try KeyType(type) } else { nil }
    lease = .seconds(try service.integer("leaseSeconds", in: 0...900) ?? 60)
    try service.refuseUnknownKeys()
    let identity = root.section("identity")
    identityKeyProvider = try identity.string("keyProvider") ?? keyProvider
    identityPolicyStore = try identity.string("policyStore") ?? policyStore
    try identity.refuseUnknownKeys()
    let vaults = root.section("vaults")
    domain = try vaults.string("domain")?.lowercased() ?? "vault.local"
    try vaults.refuseUnknownKeys()
    _ = try KeyURI("https://any.\(domain)/keys/any")
  }
}

/// The backends of a deployment, by their names in the configuration.
struct Backends: Sendable {
  var keyProviders: [String: any KeyProvider] = [:]
  var policyStores: [String: any PolicyStore] = [:]

  /// Opens every backend that the configuration names; when one fails, those already open are closed again.
  static func open(
    _ configuration: KeyCustodyConfiguration, plugins: [Plugin], environment: RuntimeEnvironment
  ) async throws(KeyCustodyError) -> Backends {
    var backends = Backends()
    do throws(KeyCustodyError) {
      let root = configuration.root
      let providers = root.section("keyProviders")
      let stores = root.section("policyStores")
      try Self.refuseUnknown(root)
      for name in try providers.names() where name != "names" {
        backends.keyProviders[name] = try await plugins.openKeyProvider(providers.section(name), environment)
      }
      for name in try stores.names() where name != "names" {
        backends.policyStores[name] = try await plugins.openPolicyStore(stores.section(name), environment)
      }
      return backends
    } catch {
      await backends.close()
      throw error
    }
  }

  /// Refuses sections that don't exist; what is inside the known ones is for their readers to judge.
  private static func refuseUnknown(_ root: ConfigurationSection) throws(KeyCustodyError) {
    let known = ["keyProviders", "policyStores", "service", "identity", "vaults"]
    for name in try root.names() where !known.contains(name) {
      throw KeyCustodyError(
        .invalidInput, .unknownConfigurationKey, "Nothing reads the configuration key '\(name)'.",
        remedy: "The sections are: \(known.joined(separator: ", ")).")
    }
  }

  func keyProvider(_ name: String, for setting: String) throws(KeyCustodyError) -> any KeyProvider {
    if let found = keyProviders[name] { return found }
    throw Self.unknown(name, setting, "key provider", keyProviders.keys.sorted())
  }

  func policyStore(_ name: String, for setting: String) throws(KeyCustodyError) -> any PolicyStore {
    if let found = policyStores[name] { return found }
    throw Self.unknown(name, setting, "policy store", policyStores.keys.sorted())
  }

  private static func unknown(_ name: String, _ setting: String, _ role: String, _ names: [String]) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .badConfigurationValue, "'\(setting)' names the \(role) '\(name)', which the configuration lacks.",
      remedy: names.isEmpty ? "Add one." : "Use one of: \(names.joined(separator: ", ")).")
  }

  func close() async {
    for provider in keyProviders.values { await provider.close() }
    for store in policyStores.values { await store.close() }
  }
}
