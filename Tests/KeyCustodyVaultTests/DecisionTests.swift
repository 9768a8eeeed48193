import KeyCustody
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// Why somebody may do something, and what a change would do.
struct DecisionTests {
  @Test("V4: an explanation tells the rule that decides, the others that speak of it, and what else is in the way")
  func explain() async throws {
    let bench = try await VaultBench()
    let (vaults, vault) = (bench.vaults, bench.vault)
    let key = try await bench.create()
    let caller = try VaultBench.principal("contoso/reader", at: bench.clock)
    func explain(_ permission: Permission, from address: String? = nil) async throws -> AccessExplanation {
      try await vaults.explain(permission, in: vault, key: key, for: caller, from: address)
    }
    #expect(try await explain(.key(.wrapKey)).decision == AccessDecision(isAllowed: false, rule: "default-deny"))
    try await bench.grant(caller.id, [.wrapKey, .get])
    try await bench.grant(caller.id, [.get], .deny)
    let allowed = try await explain(.key(.wrapKey))
    #expect(allowed.decision == AccessDecision(isAllowed: true, rule: "allow-contoso-reader"))
    #expect(allowed.rules.count == 1 && allowed.obstacle == nil)
    let denied = try await explain(.key(.get))
    #expect(denied.decision == AccessDecision(isAllowed: false, rule: "deny-contoso-reader"))
    #expect(denied.rules.map(\.effect) == [.allow, .deny])
    #expect(try await explain(.secret(.get)).decision.rule == "default-deny")
    try await vaults.updateKey(key, isEnabled: false, as: bench.owner, context: bench.context)
    let obstructed = try await explain(.key(.wrapKey))
    #expect(obstructed.decision.isAllowed && obstructed.obstacle == error(.disabled, .keyDisabled))
    try await vaults.setNetworkRules(.only([AddressRange("192.0.2.0/24")]), in: vault)
    #expect(try await explain(.key(.wrapKey), from: "203.0.113.1").decision.rule == "network")
    // What is explained is what happens.
    let events = bench.audit.events.count
    #expect(await failure { _ = try await bench.wrap(key, as: caller) } == error(.disabled, .keyDisabled))
    #expect(bench.audit.events.count == events + 1, "explaining is no use of a key")
  }

  @Test("V4: a simulation lists every decision that would change, and changes nothing")
  func simulate() async throws {
    let bench = try await VaultBench()
    let reader = try VaultBench.principal("contoso/reader", at: bench.clock)
    try await bench.grant(reader.id, [.get, .wrapKey])
    let before = try await bench.vaults.policy(of: bench.vault)
    #expect(try await bench.vaults.simulate(before, in: bench.vault).isEmpty)
    var changed = before
    changed.rules.removeAll { $0.principal == reader.id }
    changed.rules.append(AccessRule(name: "new", principal: reader.id, keys: [.get], secrets: [.list]))
    changed.rules.append(AccessRule(name: "no", principal: bench.owner.id, effect: .deny, keys: [.purge]))
    let changes = try await bench.vaults.simulate(changed, in: bench.vault)
    let told = Set(changes.map { "\($0.principal) \($0.permission) \($0.after.isAllowed) \($0.after.rule)" })
    #expect(
      told == [
        "contoso/owner purge false no", "contoso/reader wrapKey false default-deny",
        "contoso/reader secrets/list true new",
      ])
    #expect(changes.allSatisfy { $0.before.isAllowed != $0.after.isAllowed })
    #expect(try await bench.vaults.policy(of: bench.vault) == before)
  }

  @Test("DESIGN 7: the impact of a key is what every source knows of, and a source that fails says so")
  func impact() async throws {
    let bench = try await VaultBench()
    let key = try await bench.create()
    #expect(try await bench.vaults.impact(of: key).isEmpty)
    let notes = KeyDependent(resource: try ResourceID("notes"), key: key, use: "customer layer")
    let bots = KeyDependent(resource: try ResourceID("bots"), key: key, use: "customer layer")
    bench.vaults.addDependents { uri in uri == key ? [notes] : [] }
    bench.vaults.addDependents { _ in [bots] }
    #expect(try await bench.vaults.impact(of: key) == [bots, notes])
    #expect(try await bench.vaults.impact(of: bench.uri("other")) == [bots])
    bench.vaults.addDependents { (_) throws(KeyCustodyError) in throw down }
    await #expect(throws: down) { _ = try await bench.vaults.impact(of: key) }
  }
}
