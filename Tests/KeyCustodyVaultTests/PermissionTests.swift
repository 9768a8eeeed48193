import KeyCustody
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// Everything that can be asked of a key, each with what must be there before.
enum KeyOperation: String, CaseIterable, Sendable {
  case get, list, create, `import`, update, delete, recover, purge, rotate, wrapKey, unwrapKey, sign

  var permission: KeyPermission {
    get throws { try #require(KeyPermission(rawValue: rawValue)) }
  }

  func prepare(_ uri: KeyURI, in bench: VaultBench) async throws {
    switch self {
    case .create, .import: break
    case .sign:
      _ = try await bench.vaults.createKey(
        uri, type: .ec(.p256), role: .signing, as: bench.owner, context: bench.context)
    default:
      _ = try await bench.vaults.createKey(
        uri, type: .aes(bits: 256), role: .wrapping, as: bench.owner, context: bench.context)
    }
    if self == .recover || self == .purge {
      try await bench.vaults.deleteKey(uri, as: bench.owner, context: bench.context)
    }
  }

  func run(_ uri: KeyURI, in bench: VaultBench, as caller: Principal) async throws {
    let (vaults, context) = (bench.vaults, bench.context)
    switch self {
    case .get: _ = try await vaults.key(uri, as: caller, context: context)
    case .list: _ = try await vaults.keys(in: bench.vault, as: caller, context: context)
    case .create:
      _ = try await vaults.createKey(uri, type: .aes(bits: 256), role: .wrapping, as: caller, context: context)
    case .import:
      _ = try await vaults.importKey(
        bench.secret(7), to: uri, type: .aes(bits: 256), role: .wrapping, as: caller, context: context)
    case .update: try await vaults.updateKey(uri, isEnabled: false, as: caller, context: context)
    case .delete: try await vaults.deleteKey(uri, as: caller, context: context)
    case .recover: try await vaults.recoverKey(uri, as: caller, context: context)
    case .purge: try await vaults.purgeKey(uri, as: caller, context: context)
    case .rotate: _ = try await vaults.rotateKey(uri, as: caller, context: context)
    case .wrapKey: _ = try await bench.wrap(uri, as: caller)
    case .unwrapKey:
      let wrapped = try await bench.wrap(uri)
      #expect(try await bench.unwrap(wrapped, as: caller))
    case .sign:
      let digest = [UInt8](repeating: 1, count: 32)
      _ = try await vaults.sign(digest, with: uri, algorithm: .es256, as: caller, context: context)
    }
  }
}

/// Who may do what (SEMANTICS V4, I5).
struct PermissionTests {
  private func caller(_ bench: VaultBench, _ name: String = "contoso/reader") throws -> Principal {
    try VaultBench.principal(name, at: bench.clock)
  }

  @Test("V4: each operation needs exactly its own permission, and no other gives it", arguments: KeyOperation.allCases)
  func exactPermission(_ operation: KeyOperation) async throws {
    let bench = try await VaultBench()
    let caller = try caller(bench)
    let own = try operation.permission
    for permission in KeyPermission.allCases {
      let uri = try bench.uri("key-\(permission.rawValue)")
      try await operation.prepare(uri, in: bench)
      let before = try await bench.recorded()
      try await bench.grant(caller.id, [permission])
      let outcome = await failure { try await operation.run(uri, in: bench, as: caller) }
      if permission == own {
        #expect(outcome == nil, "\(permission.rawValue) is what \(operation) needs")
      } else {
        #expect(outcome == error(.denied, .accessDenied), "\(permission.rawValue) does not give \(operation)")
        #expect(outcome?.remedy.contains(own.rawValue) == true, "the refusal names what is missing")
        #expect(try await bench.recorded() == before, "a refused \(operation) changes nothing")
      }
    }
    try await bench.grant(caller.id, Set(KeyPermission.allCases).subtracting([own]))
    let uri = try bench.uri("all-but-one")
    try await operation.prepare(uri, in: bench)
    #expect(await failure { try await operation.run(uri, in: bench, as: caller) } == error(.denied, .accessDenied))
  }

  @Test("V4: an explicit deny wins, in whatever order the rules were set", arguments: KeyOperation.allCases)
  func denyWins(_ operation: KeyOperation) async throws {
    let bench = try await VaultBench()
    let caller = try caller(bench)
    let own = try operation.permission
    for (number, denyFirst) in [true, false].enumerated() {
      let uri = try bench.uri("key-\(number)")
      try await operation.prepare(uri, in: bench)
      if denyFirst { try await bench.grant(caller.id, [own], .deny) }
      try await bench.grant(caller.id, Set(KeyPermission.allCases))
      if !denyFirst { try await bench.grant(caller.id, [own], .deny) }
      bench.audit.removeAll()
      let refused = await failure { try await operation.run(uri, in: bench, as: caller) }
      #expect(refused == error(.denied, .accessDenied))
      #expect(bench.audit.events.last?.rule == "deny-contoso-reader", "the rule that decided is recorded")
      try await bench.vaults.removeRule("deny-contoso-reader", in: bench.vault)
      #expect(await failure { try await operation.run(uri, in: bench, as: caller) } == nil, "removed, it acts at once")
      try await bench.vaults.removeRule("allow-contoso-reader", in: bench.vault)
    }
  }

  @Test("V4: without a rule nobody may do anything, and removing a rule acts at once", arguments: KeyOperation.allCases)
  func defaultDeny(_ operation: KeyOperation) async throws {
    let bench = try await VaultBench()
    let caller = try caller(bench)
    let uri = try bench.uri("key")
    try await operation.prepare(uri, in: bench)
    #expect(await failure { try await operation.run(uri, in: bench, as: caller) } == error(.denied, .accessDenied))
    #expect(bench.audit.events.last?.rule == "default-deny")
    try await bench.grant(caller.id, [try operation.permission])
    try await bench.vaults.removeRule("allow-contoso-reader", in: bench.vault)
    #expect(await failure { try await operation.run(uri, in: bench, as: caller) } == error(.denied, .accessDenied))
  }

  @Test("I5: a principal of another tenant gets nowhere, whatever the rules say", arguments: KeyOperation.allCases)
  func otherTenant(_ operation: KeyOperation) async throws {
    let bench = try await VaultBench()
    let stranger = try caller(bench, "fabrikam/owner")
    try await bench.grant(stranger.id, Set(KeyPermission.allCases))
    let uri = try bench.uri("key")
    try await operation.prepare(uri, in: bench)
    #expect(await failure { try await operation.run(uri, in: bench, as: stranger) } == error(.denied, .accessDenied))
    #expect(bench.audit.events.last?.rule == "other-tenant")
    #expect(bench.audit.events.last?.outcome == .refused)
  }

  @Test("I4: a principal whose proof has run out is refused, to the millisecond", arguments: KeyOperation.allCases)
  func expired(_ operation: KeyOperation) async throws {
    let bench = try await VaultBench()
    var caller = try caller(bench)
    caller.expires = bench.clock.now() + .seconds(60)
    try await bench.grant(caller.id, Set(KeyPermission.allCases))
    let uri = try bench.uri("key")
    try await operation.prepare(uri, in: bench)
    bench.clock.advance(by: .seconds(60))
    #expect(await failure { try await operation.run(uri, in: bench, as: caller) } == error(.denied, .accessDenied))
    #expect(bench.audit.events.last?.outcome == .refused)
    #expect(bench.audit.events.last?.rule == "expired", "not a rule of the vault decided")
    caller.expires = bench.clock.now() + .milliseconds(1)
    #expect(await failure { try await operation.run(uri, in: bench, as: caller) } == nil)
  }

  @Test("DESIGN 3: a principal's own restriction narrows what rules grant", arguments: KeyOperation.allCases)
  func restricted(_ operation: KeyOperation) async throws {
    let bench = try await VaultBench()
    var caller = try caller(bench)
    try await bench.grant(caller.id, Set(KeyPermission.allCases))
    let uri = try bench.uri("key")
    try await operation.prepare(uri, in: bench)
    caller.restrictedTo = Set(KeyPermission.allCases).subtracting([try operation.permission])
    #expect(await failure { try await operation.run(uri, in: bench, as: caller) } == error(.denied, .accessDenied))
    #expect(bench.audit.events.last?.rule == "restriction")
    caller.restrictedTo = [try operation.permission]
    #expect(await failure { try await operation.run(uri, in: bench, as: caller) } == nil)
  }

  @Test("V4: a rule set again under its name replaces the first, and rules of unknown vaults are refused")
  func rules() async throws {
    let bench = try await VaultBench()
    let caller = try caller(bench)
    try await bench.grant(caller.id, [.get, .list])
    try await bench.grant(caller.id, [.sign])
    #expect(try await bench.vaults.policy(of: bench.vault).permissions(of: caller.id) == [.sign])
    let nowhere = try VaultName("kv9")
    await #expect(throws: error(.notFound, .vaultUnknown)) {
      try await bench.vaults.setRule(AccessRule(name: "r", principal: caller.id, keys: [.get]), in: nowhere)
    }
    await #expect(throws: error(.notFound, .vaultUnknown)) { try await bench.vaults.removeRule("r", in: nowhere) }
    await #expect(throws: error(.notFound, .vaultUnknown)) { _ = try await bench.vaults.policy(of: nowhere) }
  }
}
