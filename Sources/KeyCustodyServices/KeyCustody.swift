public import KeyCustody
import KeyCustodyEnvelope
public import KeyCustodyVault
import Synchronization

/// A deployment of KeyCustody inside a service: its backends, vaults, identities and protected resources.
///
/// ```swift
/// let custody = try await KeyCustody.open(
///   KeyCustodyConfiguration(json: file), plugins: [FilePlugin.plugin, PKCS11Plugin.plugin])
/// let notes = try await custody.createResource(ResourceID("contoso-notes"), tenant: TenantID("contoso"))
/// let sealed = try await notes.seal(Array("hello".utf8), as: "note-1")
/// ```
///
/// Configuration keys (``open(_:plugins:audit:environment:)``):
///
/// | key | meaning | default |
/// | --- | --- | --- |
/// | `keyProviders.NAME.plugin` | the plugin of a key provider; its own keys stand beside | |
/// | `policyStores.NAME.plugin` | the plugin of a policy store; its own keys stand beside | |
/// | `service.keyProvider` | the key provider of the service's own keys | required |
/// | `service.policyStore` | where vaults, resources and keysets are recorded | required |
/// | `service.tenant` | the service's own tenant | `service` |
/// | `service.region` | where this deployment stands | `local` |
/// | `service.keyType` | the type of the service's own KEKs | `aes-256` where offered |
/// | `service.leaseSeconds` | how long an unwrapped root key may be used, 0 to 900 | 60 |
/// | `vaults.domain` | the domain of the vaults' addresses | `vault.local` |
/// | `identity.keyProvider` | holds the key that signs tokens | as `service` |
/// | `identity.policyStore` | holds the directory | as `service` |
public final class KeyCustody: Sendable {
  /// The vaults.
  public let vaults: Vaults
  /// The directory of principals.
  public let identities: DirectoryIdentityProvider
  /// The key providers, by their names in the configuration.
  public let keyProviders: [String: any KeyProvider]
  /// The policy stores, by their names in the configuration.
  public let policyStores: [String: any PolicyStore]
  /// Where this deployment stands.
  public let region: Region
  /// The principal that holds the service's own keys.
  public let servicePrincipal: PrincipalID
  let resources: RecordView<ResourceRecord>
  let leases: LeaseTable
  let environment: RuntimeEnvironment
  /// Values that are sealed and not yet stored.
  let sealings = Sealings()
  private let cache = Mutex(Cache())

  /// The audience of tokens meant for the vaults.
  public var audience: String { "https://\(vaults.domain)" }

  init(
    settings: HostSettings, backends: Backends, identities: DirectoryIdentityProvider, audit: any AuditSink,
    environment: RuntimeEnvironment
  ) throws(KeyCustodyError) {
    keyProviders = backends.keyProviders
    policyStores = backends.policyStores
    self.identities = identities
    self.environment = environment
    region = settings.region
    let store = try backends.policyStore(settings.policyStore, for: "service.policyStore")
    vaults = Vaults(
      store: store, providers: backends.keyProviders, domain: settings.domain, audit: audit, environment: environment)
    resources = RecordView(store)
    leases = LeaseTable(duration: settings.lease, time: environment.time)
    servicePrincipal = PrincipalID(tenant: settings.tenant, subject: try SubjectID("key-custody"))
  }

  /// Opens a deployment from its configuration.
  ///
  /// - Parameters:
  ///   - plugins: the kinds of backends that the configuration may name.
  ///   - audit: where uses of keys are recorded before they are answered; the log, unless given.
  ///   - environment: clock, randomness, log, and what may be read of the process's environment.
  /// - Throws: `invalidInput` for a configuration that is wrong, before any backend is touched by it; what opening the
  ///   backends throws.
  public static func open(
    _ configuration: KeyCustodyConfiguration, plugins: [Plugin], audit: (any AuditSink)? = nil,
    environment: RuntimeEnvironment = RuntimeEnvironment()
  ) async throws(KeyCustodyError) -> KeyCustody {
    let settings = try HostSettings(configuration.root)
    let backends = try await Backends.open(configuration, plugins: plugins, environment: environment)
    do throws(KeyCustodyError) {
      let identities = try await DirectoryIdentityProvider(
        store: try backends.policyStore(settings.identityPolicyStore, for: "identity.policyStore"),
        signer: try backends.keyProvider(settings.identityKeyProvider, for: "identity.keyProvider"),
        issuer: "https://\(settings.domain)/directory", environment: environment)
      let custody = try KeyCustody(
        settings: settings, backends: backends, identities: identities,
        audit: audit ?? LogAuditSink(logger: environment.logger), environment: environment)
      custody.observeRevocations()
      try await custody.prepareServiceKeys(settings)
      return custody
    } catch {
      await backends.close()
      throw error
    }
  }

  /// Clears every key from memory and closes the backends.
  public func close() async {
    leases.close()
    await identities.close()
    await Backends(keyProviders: keyProviders, policyStores: policyStores).close()
  }

  // MARK: Resources

  /// Makes a resource, under service-managed keys as every new one is (SEMANTICS E3).
  ///
  /// - Throws: `invalidInput` (`already-exists`).
  public func createResource(
    _ id: ResourceID, tenant: TenantID, profile: Profile? = nil
  ) async throws(KeyCustodyError) -> ProtectedResource {
    let profile = if let profile { profile } else { try Profile.custom() }
    var record = ResourceRecord(
      id: id, tenant: tenant, region: region, profile: profile, rootKeys: [], created: environment.time.now())
    for group in Set(profile.dataClasses.map(\.group)).sorted(by: { $0.rawValue < $1.rawValue }) {
      for layer in Layer.allCases {
        record.rootKeys.append(try await newServiceRootKey(id, layer: layer, group: group, epoch: 1))
      }
    }
    guard try await resources.create(try Self.path(id), record) else {
      throw KeyCustodyError(.invalidInput, .alreadyExists, "The resource '\(id)' exists already.")
    }
    return ProtectedResource(id: id, custody: self)
  }

  /// A resource that exists.
  ///
  /// - Throws: `notFound` (`resource-unknown`).
  public func resource(_ id: ResourceID) async throws(KeyCustodyError) -> ProtectedResource {
    _ = try await record(id, refresh: true)
    return ProtectedResource(id: id, custody: self)
  }

  /// The resources there are, by name.
  public func resourceIDs() async throws(KeyCustodyError) -> [ResourceID] {
    try await resources.all(prefix: "resources/").map(\.value.id)
  }

  /// Deletes a resource: its managed identity, and its keyset, so that its data can't be read again by anyone.
  ///
  /// When it fails it can be repeated.
  public func deleteResource(_ id: ResourceID) async throws(KeyCustodyError) {
    let record = try await record(id, refresh: true)
    // The identity first: without its resource nobody would find it again.
    if let identity = try await managedIdentity(of: record) { try await identities.delete(identity) }
    defer {
      cache.withLock { $0.forget(id, isDeleted: true) }
      leases.end(record.rootKeys.map(\.id))
    }
    _ = try await resources.remove(try Self.path(id))
  }

  /// The resource's identity in the directory, also when its making or unmaking was cut off.
  func managedIdentity(of record: ResourceRecord) async throws(KeyCustodyError) -> PrincipalID? {
    let own = PrincipalID(tenant: record.tenant, subject: try SubjectID(record.id.spelling))
    for identity in [record.identity, own].compactMap({ $0 }) {
      guard let found = try await identities.lookup(identity), found.kind == .managedIdentity,
        found.resource == record.id
      else { continue }
      return identity
    }
    return nil
  }

  // MARK: Records

  /// The records that this process remembers, each the newest it has seen.
  private struct Cache {
    private var entries: [ResourceID: RecordView<ResourceRecord>.Revised] = [:]
    /// How many resources were deleted: what was read before a deletion is not remembered after it.
    private(set) var deletions: UInt64 = 0

    subscript(_ id: ResourceID) -> ResourceRecord? { entries[id]?.value }

    /// Remembers a record unless a newer one is known, and answers with the newer.
    mutating func remember(_ found: RecordView<ResourceRecord>.Revised, readAt deletions: UInt64) -> ResourceRecord {
      let id = found.value.id
      if let known = entries[id], known.revision >= found.revision { return known.value }
      if deletions == self.deletions { entries[id] = found }
      return found.value
    }

    mutating func forget(_ id: ResourceID, isDeleted: Bool = false) {
      entries[id] = nil
      if isDeleted { deletions += 1 }
    }
  }

  static func path(_ id: ResourceID) throws(KeyCustodyError) -> RecordKey { try RecordKey("resources/\(id.folded)") }

  func record(_ id: ResourceID, refresh: Bool = false) async throws(KeyCustodyError) -> ResourceRecord {
    let (known, deletions) = cache.withLock { ($0[id], $0.deletions) }
    if !refresh, let known { return known }
    guard let found = try await resources.readRevised(try Self.path(id)) else { throw forgetUnknown(id) }
    return cache.withLock { $0.remember(found, readAt: deletions) }
  }

  private func forgetUnknown(_ id: ResourceID) -> KeyCustodyError {
    cache.withLock { $0.forget(id) }
    return KeyCustodyError(
      .notFound, .resourceUnknown, "There is no resource '\(id)'.", remedy: "Check the name, or create it first.")
  }

  /// Changes a resource's record and what this process remembers of it.
  @discardableResult
  func change(
    _ id: ResourceID, _ body: (inout ResourceRecord) throws(KeyCustodyError) -> Void
  ) async throws(KeyCustodyError) -> ResourceRecord {
    let deletions = cache.withLock { $0.deletions }
    do throws(KeyCustodyError) {
      guard let written = try await resources.updateRevised(try Self.path(id), body) else { throw forgetUnknown(id) }
      return cache.withLock { $0.remember(written, readAt: deletions) }
    } catch {
      // It may have been written all the same: look before the next use.
      cache.withLock { $0.forget(id) }
      throw error
    }
  }

  /// Whoever changes access tells here before the change is answered: leases concerned are checked again.
  private func observeRevocations() {
    vaults.observers.add { [weak self] change in
      self?.recheck { kek, holder in
        switch change {
        case .policy(let vault, let principals): (try? kek.vault) == vault && principals.contains(holder)
        case .key(let vault, let name): (try? kek.vault) == vault && kek.name == name
        }
      }
    }
    identities.observers.add { [weak self] event in
      let concerned =
        switch event {
        case .disabled(let id), .enabled(let id), .deleted(let id): id
        }
      self?.recheck { _, holder in holder == concerned }
    }
  }

  private func recheck(where concerns: (KeyURI, PrincipalID) -> Bool) {
    let stale = leases.markStale(where: concerns)
    guard !stale.isEmpty else { return }
    // Perhaps nobody asks for these keys again: find out now whether they must be cleared.
    Task { [weak self] in
      for (key, resource) in stale {
        _ = try? await ResourceKeys(custody: self, resource: resource).rootKey(key, layer: nil)
      }
    }
  }
}
