import KeyCustody
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// Soft delete and purge protection (SEMANTICS V2, V3).
struct SoftDeleteTests {
  @Test("V2: a deleted key is kept for the vault's retention, can be listed, and works for nobody", arguments: [7, 90])
  func retention(_ days: Int) async throws {
    let bench = try await VaultBench(days: days)
    let made = try await bench.create()
    let wrapped = try await bench.wrap(made)
    let deletion = try await bench.vaults.deleteKey(bench.uri("key"), as: bench.owner, context: bench.context).deletion
    #expect(deletion.deleted == bench.clock.now())
    #expect(deletion.scheduledPurge == bench.clock.now() + VaultBench.day * days)
    let listed = try await bench.vaults.keys(in: bench.vault, as: bench.owner, context: bench.context)
    #expect(listed.map(\.deletion) == [deletion])
    #expect(try await bench.inventory() == Set([made.version].compactMap { $0 }), "the key itself is kept")
    let attempts: [(String, () async throws -> Void)] = [
      ("wrap", { _ = try await bench.wrap(made) }), ("unwrap", { _ = try await bench.unwrap(wrapped) }),
      ("get", { _ = try await bench.vaults.key(made, as: bench.owner, context: bench.context) }),
      ("rotate", { _ = try await bench.vaults.rotateKey(made, as: bench.owner, context: bench.context) }),
      ("update", { try await bench.vaults.updateKey(made, isEnabled: true, as: bench.owner, context: bench.context) }),
      ("delete again", { try await bench.vaults.deleteKey(made, as: bench.owner, context: bench.context) }),
    ]
    for (name, attempt) in attempts {
      let refused = await failure(attempt)
      #expect(refused == error(.disabled, .keyDeleted), "\(name)")
      #expect(refused?.remedy.contains("recover") == true)
    }
  }

  @Test("V2: a deleted key blocks its name, for creating and for importing")
  func blockedName() async throws {
    let bench = try await VaultBench()
    try await bench.create()
    try await bench.vaults.deleteKey(bench.uri("key"), as: bench.owner, context: bench.context)
    let creating = await failure { try await bench.create() }
    #expect(creating == error(.invalidInput, .deletedButRecoverable))
    #expect(creating?.remedy.contains("recover") == true)
    let importing = await failure {
      _ = try await bench.vaults.importKey(
        bench.secret(), to: bench.uri("key"), type: .aes(bits: 256), role: .wrapping, as: bench.owner,
        context: bench.context)
    }
    #expect(importing == error(.invalidInput, .deletedButRecoverable))
    try await bench.checkWhole("a refused import")
    #expect(try await bench.inventory().count == 1, "a refused import leaves no key behind")
  }

  @Test("V2: recovering brings back every version as it was; what is not deleted can't be recovered")
  func recover() async throws {
    let bench = try await VaultBench()
    let first = try await bench.create()
    let second = try await bench.vaults.rotateKey(first, as: bench.owner, context: bench.context).uri
    try await bench.vaults.updateKey(first, isEnabled: false, as: bench.owner, context: bench.context)
    let wrapped = try await bench.wrap(second)
    let before = try await bench.vaults.key(first, as: bench.owner, context: bench.context)
    try await bench.vaults.deleteKey(bench.uri("key"), as: bench.owner, context: bench.context)
    bench.clock.advance(by: VaultBench.day * 89)
    try await bench.vaults.recoverKey(bench.uri("key"), as: bench.owner, context: bench.context)
    #expect(try await bench.vaults.key(first, as: bench.owner, context: bench.context) == before)
    #expect(try await bench.unwrap(wrapped))
    await #expect(throws: error(.disabled, .keyDisabled), "still switched off") { _ = try await bench.wrap(first) }
    await #expect(throws: error(.notFound, .keyUnknown), "twice") {
      try await bench.vaults.recoverKey(bench.uri("key"), as: bench.owner, context: bench.context)
    }
    await #expect(throws: error(.notFound, .keyUnknown), "never there") {
      try await bench.vaults.recoverKey(bench.uri("none"), as: bench.owner, context: bench.context)
    }
    let again = try await bench.vaults.deleteKey(bench.uri("key"), as: bench.owner, context: bench.context).deletion
    #expect(again.scheduledPurge == bench.clock.now() + VaultBench.day * 90, "deleted again, the retention starts anew")
  }

  @Test("V3: with purge protection nobody purges before the retention has run out, to the millisecond")
  func purgeProtected() async throws {
    let bench = try await VaultBench(days: 7, purgeProtection: true)
    let made = try await bench.create()
    await #expect(throws: error(.notFound, .keyUnknown), "a key that is not deleted is not purged") {
      try await bench.vaults.purgeKey(bench.uri("key"), as: bench.owner, context: bench.context)
    }
    try await bench.vaults.deleteKey(made, as: bench.owner, context: bench.context)
    for step in [Duration.zero, VaultBench.day * 7 - .milliseconds(1)] {
      bench.clock.advance(by: step)
      let refused = await failure { try await bench.vaults.purgeKey(made, as: bench.owner, context: bench.context) }
      #expect(refused == error(.denied, .purgeProtected), "after \(step)")
      #expect(try await bench.inventory().count == 1)
    }
    bench.clock.advance(by: .milliseconds(1))
    try await bench.vaults.purgeKey(made, as: bench.owner, context: bench.context)
    #expect(try await bench.inventory().isEmpty, "the material is gone too")
    #expect(try await bench.recorded().isEmpty)
    await #expect(throws: error(.notFound, .keyVersionUnknown)) { _ = try await bench.wrap(made) }
    let anew = try await bench.create()
    #expect(anew.version != made.version, "the name is free again, for another key")
  }

  @Test("V3: setting the clock forward does not shorten a retention")
  func setClock() async throws {
    let bench = try await VaultBench(days: 7, purgeProtection: true)
    let made = try await bench.create()
    try await bench.vaults.deleteKey(made, as: bench.owner, context: bench.context)
    bench.clock.setWallTime(bench.clock.now() + VaultBench.day * 8)
    let purged = await failure { try await bench.vaults.purgeKey(made, as: bench.owner, context: bench.context) }
    #expect(purged == error(.denied, .purgeProtected))
  }

  @Test("V3: without purge protection a deleted key is purged at once; the permission is still needed")
  func unprotected() async throws {
    let bench = try await VaultBench()
    let made = try await bench.create()
    _ = try await bench.vaults.rotateKey(made, as: bench.owner, context: bench.context)
    try await bench.vaults.deleteKey(made, as: bench.owner, context: bench.context)
    try await bench.grant(bench.owner.id, [.purge], .deny)
    await #expect(throws: error(.denied, .accessDenied)) {
      try await bench.vaults.purgeKey(made, as: bench.owner, context: bench.context)
    }
    try await bench.vaults.removeRule("deny-contoso-owner", in: bench.vault)
    try await bench.vaults.purgeKey(made, as: bench.owner, context: bench.context)
    #expect(try await bench.inventory().isEmpty)
    await #expect(throws: error(.notFound, .keyUnknown), "twice") {
      try await bench.vaults.purgeKey(bench.uri("key"), as: bench.owner, context: bench.context)
    }
  }

  @Test("V3: purge protection is switched on for good, and holds for keys deleted before too")
  func irreversible() async throws {
    let bench = try await VaultBench(days: 7)
    let made = try await bench.create()
    try await bench.vaults.deleteKey(made, as: bench.owner, context: bench.context)
    try await bench.vaults.enablePurgeProtection(bench.vault)
    try await bench.vaults.enablePurgeProtection(bench.vault)
    await #expect(throws: error(.denied, .purgeProtected)) {
      try await bench.vaults.purgeKey(made, as: bench.owner, context: bench.context)
    }
    await #expect(throws: error(.invalidInput, .alreadyExists), "not by making the vault anew") {
      try await bench.vaults.create(
        VaultDefinition(name: bench.vault, tenant: TenantID("contoso"), region: Region("north"), keyProvider: "keys"))
    }
    #expect(try await bench.vaults.definition(bench.vault)?.purgeProtection == true)
    await #expect(throws: error(.notFound, .vaultUnknown)) {
      try await bench.vaults.enablePurgeProtection(VaultName("kv9"))
    }
  }

  @Test("V3: a purge that was cut off is not undone by recovering, and goes on when it is asked for again")
  func interruptedPurge() async throws {
    let bench = try await VaultBench()
    let first = try await bench.create()
    _ = try await bench.vaults.rotateKey(first, as: bench.owner, context: bench.context)
    try await bench.vaults.deleteKey(first, as: bench.owner, context: bench.context)
    bench.keyFaults.fail(.destroy, call: 2, with: down)
    await #expect(throws: down) { try await bench.vaults.purgeKey(first, as: bench.owner, context: bench.context) }
    #expect(try await bench.inventory().count == 1, "half way")
    let recovering = await failure {
      try await bench.vaults.recoverKey(bench.uri("key"), as: bench.owner, context: bench.context)
    }
    #expect(recovering != nil, "half of a key is not brought back")
    await #expect(throws: error(.invalidInput, .deletedButRecoverable), "the name is not free yet") {
      try await bench.create()
    }
    try await bench.vaults.purgeKey(first, as: bench.owner, context: bench.context)
    #expect(try await bench.inventory().isEmpty)
    try await bench.create()
    try await bench.checkWhole("after a purge in two parts")
  }

  @Test("V2: a key recovered while a purge begins keeps its material")
  func recoverAgainstPurge() async throws {
    for _ in 0..<20 {
      let bench = try await VaultBench()
      let made = try await bench.create()
      let wrapped = try await bench.wrap(made)
      try await bench.vaults.deleteKey(made, as: bench.owner, context: bench.context)
      async let recovered = failure {
        try await bench.vaults.recoverKey(made, as: bench.owner, context: bench.context)
      }
      async let purged = failure { try await bench.vaults.purgeKey(made, as: bench.owner, context: bench.context) }
      let outcome = await (recovered: recovered, purged: purged)
      #expect((outcome.recovered == nil) != (outcome.purged == nil), "one of them wins")
      if outcome.recovered == nil { #expect(try await bench.unwrap(wrapped)) }
      try await bench.checkWhole("recover against purge")
    }
  }

  @Test("V2: a recovery between a purge's check and its mark stops the purge")
  func recoverInsidePurge() async throws {
    let bench = try await VaultBench()
    let made = try await bench.create()
    let wrapped = try await bench.wrap(made)
    try await bench.vaults.deleteKey(made, as: bench.owner, context: bench.context)
    // The purge has read the key and writes its mark next: the write is refused once, and others come first.
    let gate = GatedStore(bench.records, before: "vaults/kv1/keys/key")
    let slow = Vaults(
      store: gate, providers: ["keys": bench.keys], domain: "vault.test", audit: bench.audit,
      environment: RuntimeEnvironment(time: bench.clock))
    gate.onWrite { try await bench.vaults.recoverKey(made, as: bench.owner, context: bench.context) }
    let purged = await failure { try await slow.purgeKey(made, as: bench.owner, context: bench.context) }
    #expect(purged == error(.notFound, .keyVersionUnknown))
    #expect(try await bench.unwrap(wrapped), "the recovered key works")
  }
}
