import KeyCustody
import KeyCustodyCrypto
import KeyCustodyEnvelope

/// The settings of a deployment besides its backends.
struct HostSettings: Sendable {
  var tenant: TenantID
  var region: Region
  var domain: String
  /// Where this deployment's tokens come from, an https URL.
  var issuer: String
  var keyProvider: Choice
  var policyStore: Choice
  var identityKeyProvider: Choice
  var identityPolicyStore: Choice
  var keyType: KeyType?
  var lease: Duration
  var nonces: NonceSource
  /// Where uses of keys are recorded, if not in the log of the service.
  var audit: AuditSettings?
  /// The mode that is asked for, if one is.
  var cryptography: CryptographyMode?

  /// A backend's name, and the setting that gave it: what a message about it is to name.
  struct Choice: Sendable {
    var name: String
    var setting: String

    /// `nil` where the section does not choose.
    init?(_ setting: String, in section: ConfigurationSection) throws(KeyCustodyError) {
      guard let name = try section.string(setting) else { return nil }
      self.init(name, setting, section)
    }

    init(required setting: String, in section: ConfigurationSection) throws(KeyCustodyError) {
      self.init(try section.requiredString(setting), setting, section)
    }

    private init(_ name: String, _ setting: String, _ section: ConfigurationSection) {
      self.name = name
      self.setting = (section.path + [setting]).joined(separator: ".")
    }
  }

  /// Reads the settings and refuses unknown keys in their sections.
  init(_ root: ConfigurationSection) throws(KeyCustodyError) {
    cryptography = try root.cryptographyMode()
    let service = root.section("service")
    tenant = try TenantID(try service.string("tenant") ?? "service")
    region = try Region(try service.string("region") ?? "local")
    keyProvider = try Choice(required: "keyProvider", in: service)
    policyStore = try Choice(required: "policyStore", in: service)
    let type = try service.string("keyType")
    keyType = if let type { try KeyType(type) } else { nil }
    lease = .seconds(try service.integer("leaseSeconds", in: 0...900) ?? 60)
    nonces = try Self.nonces(service)
    try service.refuseUnknownKeys()
    let identity = root.section("identity")
    identityKeyProvider = try Choice("keyProvider", in: identity) ?? keyProvider
    identityPolicyStore = try Choice("policyStore", in: identity) ?? policyStore
    let vaults = root.section("vaults")
    domain = try vaults.string("domain")?.lowercased() ?? "vault.local"
    issuer = try identity.string("issuer") ?? "https://login.\(domain)"
    try identity.refuseUnknownKeys()
    try vaults.refuseUnknownKeys()
    _ = try KeyURI("https://any.\(domain)/keys/any")
    audit = try AuditSettings(
      root.section("audit"), domain: domain, keyProvider: keyProvider, policyStore: policyStore)
  }

  private static func nonces(_ service: ConfigurationSection) throws(KeyCustodyError) -> NonceSource {
    let remedy =
      "Whoever keeps the configuration can write \"counted\", or \"random\" on machines that may be copied while they "
      + "run; without the setting it is \"counted\"."
    let text: String?
    do throws(KeyCustodyError) { text = try service.string("nonces") } catch {
      // The words that would do, and not only their kind.
      throw KeyCustodyError(error.code, error.reason, error.message, remedy: remedy, diagnostic: error.diagnostic)
    }
    guard let text else { return .counted }
    guard let nonces = NonceSource(rawValue: text) else {
      throw KeyCustodyError(
        .invalidInput, .badConfigurationValue, "'service.nonces' can't be '\(text)'.", remedy: remedy)
    }
    return nonces
  }
}

/// The backends of a deployment, by their names in the configuration.
struct Backends: Sendable {
  var keyProviders: [String: any KeyProvider] = [:]
  var policyStores: [String: any PolicyStore] = [:]
  var identityProviders: [String: any IdentityProvider] = [:]
  var customerKeys: [CustomerKeys] = []

  /// Opens every backend that the configuration names; when one fails, those already open are closed again.
  static func open(
    _ configuration: KeyCustodyConfiguration, plugins: [Plugin], environment: RuntimeEnvironment
  ) async throws(KeyCustodyError) -> Backends {
    var backends = Backends()
    do throws(KeyCustodyError) {
      let root = configuration.root
      let providers = root.section("keyProviders")
      let stores = root.section("policyStores")
      for name in try providers.names() where name != "names" {
        backends.keyProviders[name] = try await plugins.openKeyProvider(providers.section(name), environment)
      }
      for name in try stores.names() where name != "names" {
        backends.policyStores[name] = try await plugins.openPolicyStore(stores.section(name), environment)
      }
      let identities = root.section("identityProviders")
      for name in try identities.names() where name != "names" {
        backends.identityProviders[name] = try await plugins.openIdentityProvider(
          identities.section(name), environment)
      }
      let sources = root.section("customerKeys")
      for name in try sources.names() where name != "names" {
        backends.customerKeys.append(
          try await CustomerKeys(
            name, sources.section(name), backends.keyProviders, plugins: plugins, environment: environment))
      }
      return backends
    } catch {
      await backends.close()
      throw error
    }
  }

  /// Refuses sections that don't exist; what is inside the known ones is for their readers to judge.
  static func refuseUnknown(_ root: ConfigurationSection) throws(KeyCustodyError) {
    let known = [
      "fips", "keyProviders", "policyStores", "identityProviders", "customerKeys", "service", "identity", "vaults",
      "audit", "server",
    ]
    for name in try root.names() where !known.contains(name) {
      throw KeyCustodyError(
        .invalidInput, .unknownConfigurationKey, "Nothing reads the configuration key '\(name)'.",
        remedy: "The keys at the top are: \(known.joined(separator: ", ")).")
    }
  }

  func keyProvider(_ choice: HostSettings.Choice) throws(KeyCustodyError) -> any KeyProvider {
    if let found = keyProviders[choice.name] { return found }
    throw Self.unknown(choice, "key provider", "keyProviders", keyProviders.keys.sorted())
  }

  func policyStore(_ choice: HostSettings.Choice) throws(KeyCustodyError) -> any PolicyStore {
    if let found = policyStores[choice.name] { return found }
    throw Self.unknown(choice, "policy store", "policyStores", policyStores.keys.sorted())
  }

  /// Those that vaults may be on.
  var providersOfVaults: [String: any KeyProvider] {
    let direct = Set(customerKeys.compactMap(\.provider))
    return keyProviders.filter { !direct.contains($0.key) }
  }

  /// Refuses to lend the service's own keys out as a customer's.
  func refuseDirectUse(of choices: [HostSettings.Choice]) throws(KeyCustodyError) {
    for choice in choices where customerKeys.contains(where: { $0.provider == choice.name }) {
      throw KeyCustodyError(
        .invalidInput, .badConfigurationValue,
        "'\(choice.setting)' names the key provider '\(choice.name)', whose keys a section of 'customerKeys' gives to a customer.",
        remedy: "Give the customer's keys a key provider of their own.")
    }
  }

  private static func unknown(
    _ choice: HostSettings.Choice, _ role: String, _ section: String, _ names: [String]
  ) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .badConfigurationValue,
      "'\(choice.setting)' names the \(role) '\(choice.name)', which the configuration lacks.",
      remedy: names.isEmpty
        ? "Whoever keeps the configuration can add it: '\(section).\(choice.name)'."
        : "Whoever keeps the configuration can set it to one of: \(names.joined(separator: ", ")).")
  }

  func close() async {
    for keys in customerKeys { await keys.source.close() }
    for provider in keyProviders.values { await provider.close() }
    for provider in identityProviders.values { await provider.close() }
    for store in policyStores.values { await store.close() }
  }
}
