import KeyCustody
import KeyCustodyMemory
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServices

/// A deployment on memory: the service's keys in one provider, the customers' in another, where faults are made.
struct ServiceBench {
  let clock = ManualClock()
  let audit = RecordingAuditSink()
  let memory = MemoryPlugin()
  /// Faults of the customers' key provider.
  let keyFaults = FaultPlan<FaultingKeyProvider.Operation>()
  /// Faults of the policy store.
  let storeFaults = FaultPlan<FaultingPolicyStore.Operation>()
  let hooks = Hooks()
  let custody: KeyCustody
  let owner: Principal
  let vault: VaultName
  let context = CallContext(purpose: .administration)

  /// The first provider of a process tries the library out: once, before many tests begin at the same time.
  private static let tried = Task { await (try? MemoryKeyProvider())?.close() }

  private let isShared: Bool

  /// - Parameter isShared: whether the store says that several processes use it.
  init(lease: Int = 60, isShared: Bool = false) async throws {
    self.isShared = isShared
    await Self.tried.value
    owner = Principal(
      id: try PrincipalID("contoso/owner"), kind: .user, method: .token,
      expires: clock.now() + .seconds(10 * 365 * 86_400))
    vault = try VaultName("contoso-keys")
    custody = try await Self.open(lease, isShared, memory, clock, audit, keyFaults, storeFaults, hooks)
    try await makeVault(vault)
  }

  /// Another opening of the same deployment: what a second process, or one started again, is.
  func reopened(lease: Int = 60) async throws -> KeyCustody {
    try await Self.open(lease, isShared, memory, clock, audit, keyFaults, storeFaults, hooks)
  }

  private static func open(
    _ lease: Int, _ isShared: Bool, _ memory: MemoryPlugin, _ clock: ManualClock, _ audit: RecordingAuditSink,
    _ keyFaults: FaultPlan<FaultingKeyProvider.Operation>, _ storeFaults: FaultPlan<FaultingPolicyStore.Operation>,
    _ hooks: Hooks
  ) async throws -> KeyCustody {
    let inner = memory.plugin
    let faulty = Plugin(
      name: "faulty",
      keyProvider: { (section, environment) throws(KeyCustodyError) in
        let opening = try inner.keyProvider?(section, environment)
        return { () async throws(KeyCustodyError) in
          guard let provider = try await opening?() else { throw down }
          return FaultingKeyProvider(HookedKeyProvider(inner: provider, hooks: hooks), plan: keyFaults)
        }
      },
      policyStore: { (section, environment) throws(KeyCustodyError) in
        let opening = try inner.policyStore?(section, environment)
        return { () async throws(KeyCustodyError) in
          guard let store = try await opening?() else { throw down }
          return HookedStore(inner: FaultingPolicyStore(store, plan: storeFaults), hooks: hooks)
        }
      })
    let configuration = KeyCustodyConfiguration([
      "keyProviders": ["keys": ["plugin": "faulty"], "own": ["plugin": "memory", "name": "own"]],
      "policyStores": ["state": ["plugin": "faulty", "shared": .boolean(isShared)]],
      "service": [
        "keyProvider": "own", "policyStore": "state", "region": "north", "leaseSeconds": .integer(lease),
      ],
      "vaults": ["domain": "vault.test"],
    ])
    return try await KeyCustody.open(
      configuration, plugins: [inner, faulty], audit: audit, environment: RuntimeEnvironment(time: clock))
  }

  // MARK: Vaults and keys

  func makeVault(
    _ name: VaultName, tenant: String = "contoso", region: String = "north", purgeProtection: Bool = true
  ) async throws {
    try await custody.vaults.create(
      VaultDefinition(
        name: name, tenant: TenantID(tenant), region: Region(region), keyProvider: "keys", softDeleteDays: 7,
        purgeProtection: purgeProtection))
    try await custody.vaults.setRule(
      AccessRule(name: "owner", principal: owner.id, keys: Set(KeyPermission.allCases)), in: name)
  }

  func uri(_ name: String, in vault: VaultName? = nil) throws -> KeyURI {
    custody.vaults.uri(vault ?? self.vault, try KeyName(name))
  }

  func makeKey(
    _ name: String = "notes", in vault: VaultName? = nil, type: KeyType = .aes(bits: 256), role: KeyRole = .wrapping
  ) async throws -> KeyURI {
    try await custody.vaults.createKey(uri(name, in: vault), type: type, role: role, as: owner, context: context).uri
  }

  func rotate(_ uri: KeyURI) async throws -> KeyURI {
    try await custody.vaults.rotateKey(uri, as: owner, context: context).uri
  }

  func update(
    _ uri: KeyURI, isEnabled: Bool? = nil, notBefore: Timestamp? = nil, expires: Timestamp? = nil
  ) async throws {
    try await custody.vaults.updateKey(
      uri, isEnabled: isEnabled, notBefore: notBefore, expires: expires, as: owner, context: context)
  }

  // MARK: Resources

  /// A resource with an identity that is granted what a binding needs.
  func makeResource(_ name: String = "notes", profile: Profile? = nil) async throws -> ProtectedResource {
    let resource = try await custody.createResource(ResourceID(name), tenant: TenantID("contoso"), profile: profile)
    let identity = try await resource.switchIdentityOn()
    try await grant(identity)
    return resource
  }

  func grant(
    _ identity: PrincipalID, _ permissions: Set<KeyPermission> = [.get, .wrapKey, .unwrapKey],
    in vault: VaultName? = nil
  ) async throws {
    try await custody.vaults.setRule(
      AccessRule(name: "allow-\(identity.subject)", principal: identity, keys: permissions), in: vault ?? self.vault)
  }

  /// A resource under a customer's key, and that key.
  func makeBound(
    _ name: String = "notes", profile: Profile? = nil, key: KeyURI? = nil
  ) async throws -> (ProtectedResource, KeyURI) {
    let resource = try await makeResource(name, profile: profile)
    let uri: KeyURI = if let key { key } else { try await makeKey(name) }
    try await resource.enableCustomerKey(uri, converting: [])
    keyFaults.reset()
    return (resource, uri)
  }

  /// How often the customers' provider was asked to unwrap.
  var unwraps: Int { keyFaults.calls(of: .unwrap) }

  func record(_ resource: ProtectedResource) async throws -> ResourceRecord {
    try await custody.record(resource.id)
  }
}

extension ProtectedResource {
  /// Seals and opens a value.
  func roundTrip(_ text: String = "hello") async throws {
    let sealed = try await seal(Array(text.utf8), as: "value")
    #expect(try await open(sealed, as: "value") == Array(text.utf8))
  }
}

/// An error to compare with: equal by code and reason.
func error(_ code: KeyCustodyError.Code, _ reason: KeyCustodyError.Reason) -> KeyCustodyError {
  KeyCustodyError(code, reason, "")
}

/// What a body throws, if it does.
func failure(_ body: () async throws -> Void) async -> KeyCustodyError? {
  do { try await body() } catch { return error as? KeyCustodyError }
  return nil
}

/// Waits for what a task in the background will do, for at most two minutes of real time.
func eventually(_ what: Comment, _ condition: () async throws -> Bool) async throws {
  let end = ContinuousClock.now + .seconds(120)
  while try await !condition() {
    if ContinuousClock.now > end {
      Issue.record(what)
      return
    }
    await Task.yield()
  }
}

/// The answer of a backend that was lost: nobody knows whether it happened.
let lost = KeyCustodyError(.timeout, .deadline, "The answer was lost.")
/// A backend that did nothing.
let down = KeyCustodyError(.unavailable, .unreachable, "The backend is away.")
