/// Opens a backend whose settings have been read and found right.
public typealias BackendOpening<Backend> = @Sendable () async throws(KeyCustodyError) -> Backend

/// A kind of backend, by name, and how to open one from its section of the configuration.
///
/// A plugin reads its settings first and opens afterwards, so that a key it does not know is refused before any backend
/// is touched. It reads nothing but its section and its ``RuntimeEnvironment``. The host passes a list of plugins; there
/// is no registry.
public struct Plugin: Sendable {
  /// Reads the settings of a backend, and gives what opens it.
  public typealias Reader<Backend> =
    @Sendable (ConfigurationSection, RuntimeEnvironment) throws(KeyCustodyError) -> BackendOpening<Backend>

  /// The name that the configuration's `plugin` key gives.
  public let name: String
  /// Opens a key provider, where this plugin has one.
  public let keyProvider: Reader<any KeyProvider>?
  /// Opens a policy store, where this plugin has one.
  public let policyStore: Reader<any PolicyStore>?
  /// Opens an identity provider, where this plugin has one.
  public let identityProvider: Reader<any IdentityProvider>?
  /// Opens a table of sealed records, where this plugin has one.
  public let sealedTable: Reader<any SealedTable>?
  /// Opens a source of customers' keys, where this plugin has one.
  public let customerKeySource: Reader<any CustomerKeySource>?

  /// A plugin.
  public init(
    name: String, keyProvider: Reader<any KeyProvider>? = nil, policyStore: Reader<any PolicyStore>? = nil,
    identityProvider: Reader<any IdentityProvider>? = nil, sealedTable: Reader<any SealedTable>? = nil,
    customerKeySource: Reader<any CustomerKeySource>? = nil
  ) {
    self.name = name
    self.keyProvider = keyProvider
    self.policyStore = policyStore
    self.identityProvider = identityProvider
    self.sealedTable = sealedTable
    self.customerKeySource = customerKeySource
  }
}

extension [Plugin] {
  /// Opens the key provider that a section describes.
  ///
  /// - Throws: `invalidInput` for an unknown plugin or key; what opening throws.
  public func openKeyProvider(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment
  ) async throws(KeyCustodyError) -> any KeyProvider {
    try await open(section, environment, "key provider", \.keyProvider)
  }

  /// Opens the policy store that a section describes.
  ///
  /// - Throws: `invalidInput` for an unknown plugin or key; what opening throws.
  public func openPolicyStore(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment
  ) async throws(KeyCustodyError) -> any PolicyStore {
    try await open(section, environment, "policy store", \.policyStore)
  }

  /// Opens the identity provider that a section describes.
  ///
  /// - Throws: `invalidInput` for an unknown plugin or key; what opening throws.
  public func openIdentityProvider(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment
  ) async throws(KeyCustodyError) -> any IdentityProvider {
    try await open(section, environment, "identity provider", \.identityProvider)
  }

  /// Opens the table of sealed records that a section describes.
  ///
  /// - Throws: `invalidInput` for an unknown plugin or key; what opening throws.
  public func openSealedTable(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment
  ) async throws(KeyCustodyError) -> any SealedTable {
    try await open(section, environment, "table of sealed records", \.sealedTable)
  }

  /// Opens the source of customers' keys that a section describes.
  ///
  /// - Throws: `invalidInput` for an unknown plugin or key; what opening throws.
  public func openCustomerKeySource(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment
  ) async throws(KeyCustodyError) -> any CustomerKeySource {
    try await open(section, environment, "source of customers' keys", \.customerKeySource)
  }

  private func open<Backend>(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment, _ role: String,
    _ reader: KeyPath<Plugin, Plugin.Reader<Backend>?>
  ) async throws(KeyCustodyError) -> Backend {
    let name = try section.requiredString("plugin")
    guard let read = first(where: { $0.name == name })?[keyPath: reader] else {
      let offered = filter { $0[keyPath: reader] != nil }.map(\.name).joined(separator: ", ")
      throw KeyCustodyError(
        .invalidInput, .badConfigurationValue, "No plugin '\(name)' is a \(role) here.",
        remedy: "Set '\(section.path.joined(separator: ".")).plugin' to one of: \(offered).")
    }
    let opening = try read(section, environment)
    try section.refuseUnknownKeys()
    return try await opening()
  }
}
