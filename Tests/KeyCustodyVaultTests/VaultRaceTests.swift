import KeyCustody
import KeyCustodyMemory
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// Many callers at once.
struct VaultRaceTests {
  @Test("V7: of 64 who make the same key at once, one does")
  func concurrentCreation() async throws {
    let bench = try await VaultBench()
    let outcomes = await withTaskGroup(of: Result<KeyURI, any Error>.self) { group in
      for _ in 0..<64 {
        group.addTask {
          do { return .success(try await bench.create()) } catch { return .failure(error) }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    let made = outcomes.compactMap { try? $0.get() }
    #expect(made.count == 1)
    for case .failure(let found) in outcomes {
      #expect(found as? KeyCustodyError == error(.invalidInput, .alreadyExists))
    }
    #expect(try await bench.inventory() == Set(made.compactMap(\.version)))
    try await bench.checkWhole("64 creations")
    #expect(try await bench.unwrap(bench.wrap(bench.uri("key"))))
  }

  @Test("V8: 32 rotations at once give 32 versions, all of them usable")
  func concurrentRotation() async throws {
    let bench = try await VaultBench()
    let first = try await bench.create()
    let made = try await withThrowingTaskGroup(of: KeyURI.self) { group in
      for _ in 0..<32 {
        group.addTask { try await bench.vaults.rotateKey(first, as: bench.owner, context: bench.context).uri }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(Set(made.map(\.version)).count == 32)
    let record = try await bench.vaults.key(first, as: bench.owner, context: bench.context)
    #expect(Set(record.versions.map(\.version)) == Set(([first] + made).compactMap(\.version)))
    for uri in made { #expect(try await bench.unwrap(bench.wrap(uri))) }
    try await bench.checkWhole("32 rotations")
  }

  @Test("V3: a rotation that a purge overtakes leaves no orphan")
  func rotationAgainstPurge() async throws {
    for _ in 0..<20 {
      let bench = try await VaultBench()
      let made = try await bench.create()
      async let rotated = failure {
        _ = try await bench.vaults.rotateKey(made, as: bench.owner, context: bench.context)
      }
      async let purged = failure {
        try await bench.vaults.deleteKey(made, as: bench.owner, context: bench.context)
        try await bench.vaults.purgeKey(made, as: bench.owner, context: bench.context)
      }
      _ = await (rotated, purged)
      try await bench.checkWhole("rotation against purge")
    }
  }

  @Test("V3: a rotation whose key is purged before it ends destroys what it made, and says so")
  func purgeInsideRotation() async throws {
    let bench = try await VaultBench()
    let made = try await bench.create()
    let gate = GatedStore(bench.records, before: "vaults/kv1/keys/key")
    let slow = Vaults(
      store: gate, providers: ["keys": bench.keys], domain: "vault.test", audit: bench.audit,
      environment: RuntimeEnvironment(time: bench.clock))
    gate.onWrite {
      gate.onWrite {
        try await bench.vaults.deleteKey(made, as: bench.owner, context: bench.context)
        try await bench.vaults.purgeKey(made, as: bench.owner, context: bench.context)
      }
    }
    let rotated = await failure { _ = try await slow.rotateKey(made, as: bench.owner, context: bench.context) }
    #expect(rotated?.code == .notFound)
    #expect(try await bench.inventory().isEmpty)
  }

  @Test("V4: removing a rule among 64 uses lets none begin afterwards")
  func revocation() async throws {
    let bench = try await VaultBench()
    let made = try await bench.create()
    let caller = try VaultBench.principal("contoso/reader", at: bench.clock)
    try await bench.grant(caller.id, [.wrapKey])
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<64 {
        group.addTask { _ = await failure { _ = try await bench.wrap(made, as: caller) } }
      }
      try? await bench.vaults.removeRule("allow-contoso-reader", in: bench.vault)
      for _ in 0..<64 {
        group.addTask {
          let late = await failure { _ = try await bench.wrap(made, as: caller) }
          #expect(late == error(.denied, .accessDenied))
        }
      }
    }
  }

  @Test("V4: whoever keeps something is told of a change before it is answered, also when the answer is lost")
  func observers() async throws {
    let bench = try await VaultBench()
    let made = try await bench.create()
    let seen = Seen<VaultChange>()
    bench.vaults.observers.add { seen.add($0) }
    let name = try KeyName("key")
    let changes: [(VaultChange, () async throws -> Void)] = [
      (.policy(bench.vault, [bench.owner.id]), { try await bench.grant(bench.owner.id, Set(KeyPermission.allCases)) }),
      (.policy(bench.vault, []), { try await bench.vaults.removeRule("none", in: bench.vault) }),
      (
        .key(bench.vault, name),
        { try await bench.vaults.updateKey(made, isEnabled: false, as: bench.owner, context: bench.context) }
      ),
      (.key(bench.vault, name), { try await bench.vaults.deleteKey(made, as: bench.owner, context: bench.context) }),
      (.key(bench.vault, name), { try await bench.vaults.recoverKey(made, as: bench.owner, context: bench.context) }),
    ]
    for (number, (change, act)) in changes.enumerated() {
      let count = bench.vaults.changeCount
      try await act()
      #expect(seen.all.last == change && seen.all.count == number + 1)
      #expect(bench.vaults.changeCount == count + 1)
    }
    bench.storeFaults.failNext(.compareAndSet, .after, with: lost)
    let before = seen.all.count
    await #expect(throws: lost) {
      try await bench.vaults.updateKey(made, isEnabled: true, as: bench.owner, context: bench.context)
    }
    #expect(seen.all.count == before + 1, "it may have happened: they are told")
    bench.storeFaults.failNext(.compareAndSet, .after, with: lost)
    await #expect(throws: lost) {
      try await bench.vaults.deleteKey(made, as: bench.owner, context: bench.context)
    }
    #expect(seen.all.count == before + 2)
    bench.storeFaults.failNext(.compareAndSet, count: 2, .after, with: lost)
    await #expect(throws: lost) { try await bench.vaults.removeRule("allow-contoso-owner", in: bench.vault) }
    #expect(seen.all.count == before + 3)
  }
}
