import KeyCustody
import KeyCustodyMemory
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

/// One vault on memory, with faults where a test wants them.
struct VaultBench {
  static let day = Duration.seconds(86_400)
  /// The first provider of a process tries the library out: once, before many tests begin at the same time.
  private static let tried = Task { await (try? MemoryKeyProvider())?.close() }
  let clock = ManualClock()
  let audit = RecordingAuditSink()
  let keyFaults = FaultPlan<FaultingKeyProvider.Operation>()
  let storeFaults = FaultPlan<FaultingPolicyStore.Operation>()
  let keys: any KeyProvider
  let records: any PolicyStore
  let vaults: Vaults
  let vault: VaultName
  let owner: Principal
  let context = CallContext(purpose: .vault, requestID: "request-7")

  init(days: Int = 90, purgeProtection: Bool = false) async throws {
    await Self.tried.value
    let environment = RuntimeEnvironment(time: clock)
    keys = try await MemoryKeyProvider(environment: environment)
    records = try MemoryPolicyStore(environment: environment)
    vaults = Vaults(
      store: FaultingPolicyStore(records, plan: storeFaults),
      providers: ["keys": FaultingKeyProvider(keys, plan: keyFaults)], domain: "vault.test", audit: audit,
      environment: environment)
    vault = try VaultName("kv1")
    owner = try Self.principal("contoso/owner", at: clock)
    try await vaults.create(
      VaultDefinition(
        name: vault, tenant: TenantID("contoso"), region: Region("north"), keyProvider: "keys", softDeleteDays: days,
        purgeProtection: purgeProtection))
    try await grant(owner.id, Set(KeyPermission.allCases), secrets: Set(SecretPermission.allCases))
    audit.removeAll()
  }

  static func principal(_ name: String, at clock: ManualClock) throws -> Principal {
    Principal(
      id: try PrincipalID(name), kind: .user, method: .token, expires: clock.now() + .seconds(10 * 365 * 86_400))
  }

  /// The same vaults, opened anew over what is stored, without faults.
  func reopened() -> Vaults {
    Vaults(
      store: records, providers: ["keys": keys], domain: "vault.test", audit: audit,
      environment: RuntimeEnvironment(time: clock))
  }

  func grant(
    _ principal: PrincipalID, _ permissions: Set<KeyPermission>, _ effect: AccessRule.Effect = .allow,
    secrets: Set<SecretPermission> = []
  ) async throws {
    try await vaults.setRule(
      AccessRule(
        name: "\(effect.rawValue)-\(principal.tenant)-\(principal.subject)", principal: principal, effect: effect,
        keys: permissions, secrets: secrets),
      in: vault)
  }

  func uri(_ name: String) throws -> KeyURI { vaults.uri(vault, try KeyName(name)) }

  @discardableResult
  func create(
    _ name: String = "key", type: KeyType = .aes(bits: 256), role: KeyRole = .wrapping
  ) async throws -> KeyURI {
    try await vaults.createKey(uri(name), type: type, role: role, as: owner, context: context).uri
  }

  func secret(_ byte: UInt8 = 0x5a) -> SecretBytes { SecretBytes(copying: [UInt8](repeating: byte, count: 32)) }

  func wrap(_ uri: KeyURI, as caller: Principal? = nil) async throws(KeyCustodyError) -> Vaults.Wrapped {
    try await vaults.wrap(secret(), with: uri, algorithm: .aes256KW, as: caller ?? owner, context: context)
  }

  /// Unwraps what ``wrap(_:as:)`` wrapped, and answers whether it is that.
  func unwrap(
    _ wrapped: Vaults.Wrapped, with uri: KeyURI? = nil, validity: Vaults.Validity = .wire, as caller: Principal? = nil
  ) async throws(KeyCustodyError) -> Bool {
    let found = try await vaults.unwrap(
      wrapped.bytes, with: uri ?? wrapped.key, algorithm: .aes256KW, validity: validity, as: caller ?? owner,
      context: context)
    return found.isEqual(to: secret())
  }

  /// What the provider holds.
  func inventory() async throws -> Set<KeyVersionID> {
    Set(try await keys.inventory?.versions(after: nil, limit: 1000) ?? [])
  }

  /// Every version that the vaults' records know, ready or not.
  func recorded() async throws -> [KeyVersionRecord] {
    try await RecordView<KeyRecord>(records).all(prefix: "vaults/kv1/keys/").flatMap(\.value.allVersions)
  }

  /// No key without a record, no usable version without a key.
  func checkWhole(_ comment: Comment) async throws {
    let held = try await inventory()
    let known = try await recorded()
    #expect(held.isSubset(of: known.map(\.version)), "an orphan in the provider: \(comment)")
    #expect(Set(known.filter { $0.stage == .ready }.map(\.version)).isSubset(of: held), "a key is missing: \(comment)")
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

/// The answer of a backend that was lost: nobody knows whether it happened.
let lost = KeyCustodyError(.timeout, .deadline, "The answer was lost.")
/// A backend that did nothing.
let down = KeyCustodyError(.unavailable, .unreachable, "The backend is away.")
