public import KeyCustody
import KeyCustodyCrypto
import KeyCustodyEnvelope
public import KeyCustodyVault
import Logging
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
/// | `fips` | work in FIPS mode, or not at all; see the guide on FIPS mode | the mode in use |
/// | `keyProviders.NAME.plugin` | the plugin of a key provider; its own keys stand beside | |
/// | `policyStores.NAME.plugin` | the plugin of a policy store; its own keys stand beside | |
/// | `identityProviders.NAME.plugin` | the plugin of an outside issuer of tokens; its own keys stand beside | none |
/// | `customerKeys.NAME` | customers' keys that are in no vault of this deployment; see the guide on them | none |
/// | `service.keyProvider` | the key provider of the service's own keys | required |
/// | `service.policyStore` | where vaults, resources and keysets are recorded | required |
/// | `service.tenant` | the service's own tenant | `service` |
/// | `service.region` | where this deployment stands | `local` |
/// | `service.keyType` | the type of the service's own KEKs | `aes-256` where offered |
/// | `service.leaseSeconds` | how long an unwrapped root key may be used, 0 to 900 | 60 |
/// | `service.nonces` | of records: `counted`, or `random` where machines are copied while they run | `counted` |
/// | `vaults.domain` | the domain of the vaults' addresses | `vault.local` |
/// | `identity.keyProvider` | holds the key that signs tokens | as `service` |
/// | `identity.policyStore` | holds the directory | as `service` |
/// | `identity.issuer` | the https URL in front of the tenant in the `iss` of tokens | `https://login.DOMAIN` |
/// | `audit.folder` | keep an audit log in this folder; see the guide on it | uses of keys go to the log |
/// | `audit.keyProvider` | holds the key that signs the audit log | as `service` |
/// | `audit.policyStore` | remembers where the audit log ends | as `service` |
/// | `audit.origin` | the audit log's name | `DOMAIN/audit` |
/// | `audit.fileMegabytes` | begin a new file after so much, 1 to 4,096 | 64 |
/// | `audit.checkpointRecords` | sign after so many records, 1 to 1,000,000 | 1,000 |
/// | `audit.checkpointSeconds` | sign after so many seconds, 1 to 86,400 | 60 |
/// | `audit.deadlineSeconds` | refuse what could not be recorded for so long, 1 to 60 | 5 |
public final class KeyCustody: Sendable {
  /// The vaults.
  public let vaults: Vaults
  /// The directory of principals.
  public let identities: DirectoryIdentityProvider
  /// The key providers, by their names in the configuration.
  public let keyProviders: [String: any KeyProvider]
  /// The policy stores, by their names in the configuration.
  public let policyStores: [String: any PolicyStore]
  /// The identity providers besides the directory, by their names in the configuration.
  public let identityProviders: [String: any IdentityProvider]
  /// Customers' keys that are in no vault of this deployment.
  let customerKeys: [CustomerKeys]
  /// Where this deployment stands.
  public let region: Region
  /// The principal that holds the service's own keys.
  public let servicePrincipal: PrincipalID
  let resources: RecordView<ResourceRecord>
  let administrators: RecordView<AdministratorRecord>
  let leases: LeaseTable
  let nonces: NonceSource
  package let environment: RuntimeEnvironment
  /// The audit log of this deployment, where the configuration names a folder for one.
  public let auditLog: AuditLog?
  /// Values that are sealed and not yet stored.
  let sealings = Sealings()
  let cache = RecordCache()
  let sessions = HeldSessions()
  /// What other processes change in stores that are shared.
  let watches = Mutex<[StoreWatch]>([])
  /// The longest lease of all processes that share the store.
  let longestLease: Mutex<Duration>
  /// Tells which resource's state may be another one; `nil` for any.
  let resourceChanges = EventBroadcaster<ResourceID?>(limit: 64)
  /// Told when something is left to do in the background.
  let jobsPlanned = EventBroadcaster<ResourceID>()
  /// How many wait until leases elsewhere have ended.
  let waitsForLeases = Atomic(0)

  /// The audience of tokens meant for the vaults.
  public var audience: String { "https://\(vaults.domain)" }

  init(
    settings: HostSettings, backends: Backends, identities: DirectoryIdentityProvider, log: AuditLog?,
    audit: any AuditSink,
    environment: RuntimeEnvironment
  ) throws(KeyCustodyError) {
    auditLog = log
    keyProviders = backends.keyProviders
    policyStores = backends.policyStores
    identityProviders = backends.identityProviders
    customerKeys = backends.customerKeys
    self.identities = identities
    self.environment = environment
    region = settings.region
    let store = try backends.policyStore(settings.policyStore)
    vaults = Vaults(
      store: store, providers: backends.providersOfVaults, domain: settings.domain, audit: audit,
      environment: environment)
    resources = RecordView(store)
    administrators = RecordView(store)
    leases = LeaseTable(
      duration: settings.lease, time: environment.time, isSealing: { [sealings] in sealings.isActive($0) })
    longestLease = Mutex(settings.lease)
    nonces = settings.nonces
    servicePrincipal = PrincipalID(tenant: settings.tenant, subject: try SubjectID("key-custody"))
  }

  /// Opens a deployment from its configuration.
  ///
  /// - Parameters:
  ///   - plugins: the kinds of backends that the configuration may name.
  ///   - audit: where uses of keys are recorded before they are answered, where the configuration has no `audit`; the
  ///     log, unless given.
  ///   - environment: clock, randomness, log, and what may be read of the process's environment.
  /// - Throws: `invalidInput` for a configuration that is wrong, before any backend is touched by it; what opening the
  ///   backends throws.
  public static func open(
    _ configuration: KeyCustodyConfiguration, plugins: [Plugin], audit: (any AuditSink)? = nil,
    environment: RuntimeEnvironment = RuntimeEnvironment()
  ) async throws(KeyCustodyError) -> KeyCustody {
    let settings = try HostSettings(configuration.root)
    try Backends.refuseUnknown(configuration.root)
    let module = try CryptographyChoice.settle(settings.cryptography)
    let environment = try environment.fitting(module.mode)
    environment.logger.info("cryptography", metadata: ["module": "\(CryptographicModule(module))"])
    guard audit == nil || settings.audit == nil else {
      throw KeyCustodyError(
        .invalidInput, .badConfigurationValue,
        "The program gives a place for audit events, and so does 'audit.folder'.",
        remedy: "Take 'audit' out of the configuration, or let the program give none.")
    }
    let backends = try await Backends.open(configuration, plugins: plugins, environment: environment)
    var log: AuditLog?
    do throws(KeyCustodyError) {
      _ = try backends.keyProvider(settings.keyProvider)
      try backends.refuseDirectUse(of: [settings.keyProvider, settings.identityKeyProvider])
      log = try await settings.audit?.open(backends, environment)
      let sink: any AuditSink = log ?? audit ?? LogAuditSink(logger: environment.logger)
      let identities = try await DirectoryIdentityProvider(
        store: try backends.policyStore(settings.identityPolicyStore),
        signer: try backends.keyProvider(settings.identityKeyProvider),
        issuer: settings.issuer, environment: environment, audit: sink)
      let custody = try KeyCustody(
        settings: settings, backends: backends, identities: identities, log: log, audit: sink,
        environment: environment)
      custody.observeRevocations()
      custody.renewLeases()
      try await custody.watchSharedStores([settings.policyStore, settings.identityPolicyStore].map(\.name))
      custody.reportDependents()
      try await custody.prepareServiceKeys(settings)
      return custody
    } catch {
      await log?.close()
      await backends.close()
      throw error
    }
  }

  deinit {
    for watch in watches.withLock({ $0 }) { watch.close() }
    leases.close()
  }

  /// Clears every key from memory and closes the backends.
  public func close() async {
    for watch in watches.withLock({ $0 }) { watch.close() }
    leases.close()
    await identities.close()
    await auditLog?.close()
    await Backends(
      keyProviders: keyProviders, policyStores: policyStores, identityProviders: identityProviders,
      customerKeys: customerKeys
    ).close()
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
    let groups = Set(profile.dataClasses.map(\.group)).sorted { $0.rawValue < $1.rawValue }
    for layer in Layer.allCases { record.rootKeys += try await newServiceRootKeys(id, layer, groups) }
    guard try await resources.create(try Self.path(id), record) else {
      throw KeyCustodyError(.invalidInput, .alreadyExists, "The resource '\(id)' exists already.")
    }
    return ProtectedResource(id: id, custody: self)
  }

  /// A resource that exists.
  ///
  /// - Throws: `notFound` (`resource-unknown`).
  public func resource(_ id: ResourceID) async throws(KeyCustodyError) -> ProtectedResource {
    _ = try await record(id)
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
    let record = try await record(id)
    // The identity first: without its resource nobody would find it again.
    if let identity = try await managedIdentity(of: record) { try await identities.delete(identity) }
    defer {
      cache.forget(id, isDeleted: true)
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

  static func path(_ id: ResourceID) throws(KeyCustodyError) -> RecordKey { try RecordKey("resources/\(id.folded)") }

  /// What using a resource's keys needs, as this process remembers it, or reads it where it does not.
  func outline(_ id: ResourceID) async throws(KeyCustodyError) -> ResourceOutline {
    if let known = cache[id] { return known }
    return ResourceOutline(try await record(id))
  }

  /// A resource's record, as it is in the store now, and no older than what this process remembers of it.
  func record(_ id: ResourceID) async throws(KeyCustodyError) -> ResourceRecord {
    for _ in 0..<16 {
      let deletions = cache.deletions
      guard let found = try await resources.readRevised(try Self.path(id)) else { throw forgetUnknown(id) }
      if !remember(found, readAt: deletions).isOutdated { return found.value }
    }
    throw KeyCustodyError(
      .busy, .conflict, "The policy store answers with an older state of '\(id)' than it gave before.",
      remedy:
        "It must not be read from a copy that lags behind. After restoring it from a backup, start this process anew.",
      retryAfter: .milliseconds(100))
  }

  /// Remembers what was read, and lets go of keys that new data is not sealed under any more.
  @discardableResult
  func remember(
    _ found: RecordView<ResourceRecord>.Revised, readAt deletions: UInt64
  ) -> RecordCache.News {
    let news = cache.remember(found, readAt: deletions)
    for key in news.retired {
      guard sealings.isActive(key) else {
        leases.end([key])
        continue
      }
      // What is being sealed under it is found by whoever converts.
      Task { [sealings, leases] in
        try? await sealings.settle(key)
        leases.end([key])
      }
    }
    if news.isNews { resourceChanges.send(found.value.id) }
    return news
  }

  private func forgetUnknown(_ id: ResourceID) -> KeyCustodyError {
    cache.forget(id)
    return KeyCustodyError(
      .notFound, .resourceUnknown, "There is no resource '\(id)'.", remedy: "Check the name, or create it first.")
  }

  /// Changes a resource's record and what this process remembers of it.
  @discardableResult
  func change(
    _ id: ResourceID, _ body: (inout ResourceRecord) throws(KeyCustodyError) -> Void
  ) async throws(KeyCustodyError) -> ResourceRecord {
    let deletions = cache.deletions
    do throws(KeyCustodyError) {
      guard let written = try await resources.updateRevised(try Self.path(id), body) else { throw forgetUnknown(id) }
      remember(written, readAt: deletions)
      return written.value
    } catch {
      // It may have been written all the same: look before the next use.
      cache.forget(id)
      throw error
    }
  }

  /// Writes a record whose state before is known, and what this process remembers of it.
  ///
  /// - Returns: `false` when it was changed meanwhile, and nothing is written.
  func replace(
    _ found: RecordView<ResourceRecord>.Revised, with record: ResourceRecord
  ) async throws(KeyCustodyError) -> Bool {
    let deletions = cache.deletions
    do throws(KeyCustodyError) {
      let path = try Self.path(record.id)
      guard let written = try await resources.replace(path, expecting: found.revision, with: record) else {
        return false
      }
      remember(written, readAt: deletions)
      return true
    } catch {
      // It may have been written all the same: look before the next use.
      cache.forget(record.id)
      throw error
    }
  }
}
