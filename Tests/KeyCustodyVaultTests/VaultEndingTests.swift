import KeyCustody
import KeyCustodyMemory
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

/// The end of a vault.
struct VaultEndingTests {
  private func end(_ bench: VaultBench, _ vaults: Vaults? = nil) async -> KeyCustodyError? {
    await failure { try await (vaults ?? bench.vaults).delete(bench.vault) }
  }

  private func empty(_ bench: VaultBench, _ key: KeyURI, _ secret: SecretURI) async throws {
    try await bench.vaults.deleteKey(key, as: bench.owner, context: bench.context)
    try await bench.vaults.purgeKey(key, as: bench.owner, context: bench.context)
    try await bench.vaults.deleteSecret(secret, as: bench.owner, context: bench.context)
    try await bench.vaults.purgeSecret(secret, as: bench.owner, context: bench.context)
  }

  @Test(
    "V2: a vault is deleted when all in it is purged; its rules and its own key go, its name is not used again")
  func ending() async throws {
    let bench = try await VaultBench()
    let key = try await bench.create()
    let secret = bench.vaults.secretURI(bench.vault, try SecretName("password"))
    _ = try await bench.vaults.setSecret(
      bench.secret(), at: secret, attributes: SecretAttributes(), as: bench.owner, context: bench.context)
    #expect(await end(bench) == error(.invalidInput, .vaultNotEmpty))
    try await bench.vaults.deleteKey(key, as: bench.owner, context: bench.context)
    #expect(await end(bench) == error(.invalidInput, .vaultNotEmpty), "what can be recovered is there")
    try await bench.vaults.recoverKey(key, as: bench.owner, context: bench.context)
    try await empty(bench, key, secret)
    #expect(try await bench.keys.inventory?.versions(after: nil, limit: 10).count == 1, "the vault's own")

    #expect(await end(bench) == nil)
    #expect(try await bench.keys.inventory?.versions(after: nil, limit: 10) == [])
    #expect(try await bench.vaults.definition(bench.vault) == nil)
    #expect(try await bench.vaults.definitions() == [])
    #expect(
      try await bench.records.list(prefix: "vaults/", after: nil, limit: 10).map(\.key.description) == [
        "vaults/kv1/definition"
      ])
    #expect(await end(bench) == error(.notFound, .vaultUnknown))
    let unknown = error(.notFound, .vaultUnknown)
    #expect(await failure { _ = try await bench.create() } == unknown)
    #expect(await failure { try await bench.vaults.enablePurgeProtection(bench.vault) } == unknown)
    #expect(await failure { try await bench.vaults.setNetworkRules(.everywhere, in: bench.vault) } == unknown)
    #expect(await failure { try await bench.vaults.move(bench.vault, to: TenantID("other")) } == unknown)
    #expect(await failure { try await bench.grant(bench.owner.id, [.get]) } == unknown)
    for vaults in [bench.vaults, bench.reopened()] {
      let again = VaultDefinition(
        name: bench.vault, tenant: try TenantID("other"), region: try Region("north"), keyProvider: "keys")
      #expect(await failure { try await vaults.create(again) } == error(.invalidInput, .alreadyExists))
    }
  }

  @Test("V3: purge protection keeps a vault until the retention of what it held has run out")
  func protected() async throws {
    let bench = try await VaultBench(days: 7, purgeProtection: true)
    let key = try await bench.create()
    try await bench.vaults.deleteKey(key, as: bench.owner, context: bench.context)
    #expect(await end(bench) == error(.invalidInput, .vaultNotEmpty))
    bench.clock.advance(by: VaultBench.day * 7)
    let purged = try await bench.vaults.purgeExpired().purged
    #expect(purged == [try bench.uri("key").description])
    #expect(await end(bench) == nil)
  }

  private func vaults(_ bench: VaultBench, _ store: any PolicyStore) -> Vaults {
    Vaults(
      store: store, providers: ["keys": bench.keys], domain: "vault.test", audit: bench.audit,
      environment: RuntimeEnvironment(time: bench.clock))
  }

  @Test("A key that is made while its vault is being deleted keeps the vault")
  func race() async throws {
    let bench = try await VaultBench()
    let store = GatedStore(bench.records, before: "vaults/kv1/definition")
    store.onWrite { try await bench.create() }
    #expect(await end(bench, vaults(bench, store)) == error(.invalidInput, .vaultNotEmpty))
    let key = try bench.uri("key")
    _ = try await bench.wrap(key)
  }

  @Test("What is made in a vault that was deleted in the same moment is refused, and leaves nothing")
  func late() async throws {
    for path in ["keys/key", "secrets/password"] {
      let bench = try await VaultBench()
      let store = GatedStore(bench.records, before: "vaults/kv1/\(path)")
      let late = vaults(bench, store)
      store.onWrite { try await bench.vaults.delete(bench.vault) }
      let refusal = await failure {
        if path.hasPrefix("keys") {
          _ = try await late.createKey(
            bench.uri("key"), type: .aes(bits: 256), role: .wrapping, as: bench.owner, context: bench.context)
        } else {
          _ = try await late.setSecret(
            bench.secret(), at: late.secretURI(bench.vault, try SecretName("password")), attributes: SecretAttributes(),
            as: bench.owner, context: bench.context)
        }
      }
      #expect(refusal == error(.notFound, .vaultUnknown), "\(path)")
      _ = try await bench.vaults.purgeExpired()
      try await isGone(bench)
    }
  }

  /// Nothing is left but the name.
  private func isGone(_ bench: VaultBench) async throws {
    #expect(try await bench.vaults.definitions() == [])
    #expect(try await bench.keys.inventory?.versions(after: nil, limit: 10) == [])
    let left = try await bench.records.list(prefix: "vaults/", after: nil, limit: 10)
    #expect(left.map(\.key.description) == ["vaults/kv1/definition"])
  }

  @Test("A deletion that fails is whole, or as if it had not begun, after the next round of upkeep")
  func failing() async throws {
    let down = KeyCustodyError(.unavailable, .unreachable, "down")
    let lost = KeyCustodyError(.timeout, .deadline, "lost")
    var count = 0
    for moment in [FaultPlan<FaultingKeyProvider.Operation>.Moment.before, .after] {
      let bench = try await emptied()
      bench.keyFaults.failNext(.destroy, moment, with: moment == .before ? down : lost)
      #expect(await end(bench) == nil, "what is left is upkeep's")
      #expect(try await bench.vaults.purgeExpired().failed.isEmpty)
      try await isGone(bench)
      count += 1
    }
    for operation in [FaultingPolicyStore.Operation.compareAndSet, .delete, .list, .read] {
      for (moment, error) in [(FaultPlan<FaultingPolicyStore.Operation>.Moment.before, down), (.after, lost)] {
        for call in 1... {
          let bench = try await emptied()
          bench.storeFaults.reset()
          bench.storeFaults.fail(operation, call: call, moment, with: error)
          let failed = await end(bench)
          guard bench.storeFaults.calls(of: operation) >= call else { break }
          bench.storeFaults.reset()
          count += 1
          _ = try await bench.vaults.purgeExpired()
          if failed == nil {
            try await isGone(bench)
          } else if try await bench.vaults.definition(bench.vault) == nil {
            try await isGone(bench)
          } else {
            _ = try await bench.create()
          }
        }
      }
    }
    print("deletions of a vault that failed: \(count)")
  }

  /// A vault that had a key and a backup.
  private func emptied() async throws -> VaultBench {
    let bench = try await VaultBench()
    let key = try bench.uri("key")
    _ = try await bench.vaults.createKey(
      key, type: .aes(bits: 256), role: .wrapping, attributes: KeyAttributes(), protection: .software,
      backups: .required, onExisting: .refuse, as: bench.owner, context: bench.context)
    _ = try await bench.vaults.backUpKey(key, as: bench.owner, context: bench.context)
    try await bench.vaults.deleteKey(key, as: bench.owner, context: bench.context)
    try await bench.vaults.purgeKey(key, as: bench.owner, context: bench.context)
    return bench
  }
}
