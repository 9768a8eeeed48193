import KeyCustody
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// Backups of keys (SEMANTICS V7).
struct KeyBackupTests {
  private func make(_ bench: VaultBench) async throws -> KeyURI {
    try await bench.vaults.createKey(
      bench.uri("Key"), type: .aes(bits: 256), role: .wrapping,
      attributes: KeyAttributes(operations: [.wrapKey, .unwrapKey], tags: ["a": "b"]), isBackupable: true,
      as: bench.owner, context: bench.context
    ).uri
  }

  @Test("V7: a key comes back from its backup with all versions, attributes, tags and its policy")
  func restore() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let first = try await make(bench)
    let second = try await vaults.rotateKey(first, as: owner, context: context).uri
    try await vaults.updateKey(first, isEnabled: false, as: owner, context: context)
    let policy = RotationPolicy(lifetimeActions: [.init(.rotate, .afterCreation(try CalendarPeriod("P30D")))])
    try await vaults.setRotationPolicy(policy, of: first, as: owner, context: context)
    let wrapped = try await bench.wrap(second)
    let before = try await vaults.key(first, as: owner, context: context)
    let blob = try await vaults.backUpKey(bench.uri("key"), as: owner, context: context)
    func restore() async throws(KeyCustodyError) -> KeyBundle {
      try await vaults.restoreKey(blob, in: bench.vault, as: owner, context: context)
    }
    #expect(await failure { _ = try await restore() } == error(.invalidInput, .alreadyExists))
    try await vaults.deleteKey(first, as: owner, context: context)
    #expect(await failure { _ = try await restore() } == error(.invalidInput, .deletedButRecoverable))
    try await vaults.purgeKey(first, as: owner, context: context)
    let back = try await restore()
    #expect(back.uri == second && back.attributes.tags == ["a": "b"] && back.uri.name.spelling == "Key")
    #expect(try await vaults.key(first, as: owner, context: context) == before)
    #expect(try await bench.unwrap(wrapped))
    #expect(await failure { _ = try await bench.wrap(first) } == error(.disabled, .keyDisabled))
  }

  @Test("V7: a backup altered anywhere, of nothing, or of another vault, restores nothing")
  func garbage() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let key = try await make(bench)
    let blob = try await vaults.backUpKey(key, as: owner, context: context)
    try await vaults.deleteKey(key, as: owner, context: context)
    try await vaults.purgeKey(key, as: owner, context: context)
    var attempts: [[UInt8]] = [[], [1, 2, 3], Array("{}".utf8), Array(blob.dropLast()), blob + [0x30]]
    for index in stride(from: 0, to: blob.count, by: 37) {
      var altered = blob
      altered[index] ^= 1
      attempts.append(altered)
    }
    for attempt in attempts {
      let refused = await failure { try await vaults.restoreKey(attempt, in: bench.vault, as: owner, context: context) }
      #expect(refused == error(.invalidInput, .malformed), "\(String(decoding: attempt.prefix(60), as: UTF8.self))")
    }
    let other = try VaultName("kv2")
    try await vaults.create(
      VaultDefinition(name: other, tenant: TenantID("contoso"), region: Region("north"), keyProvider: "keys"))
    try await vaults.setRule(
      AccessRule(name: "o", principal: owner.id, keys: Set(KeyPermission.allCases)), in: other)
    let elsewhere = await failure { try await vaults.restoreKey(blob, in: other, as: owner, context: context) }
    #expect(elsewhere == error(.invalidInput, .malformed))
    let secret = await failure { try await vaults.restoreSecret(blob, in: bench.vault, as: owner, context: context) }
    #expect(secret == error(.invalidInput, .malformed), "a key is no secret")
    _ = try await vaults.restoreKey(blob, in: bench.vault, as: owner, context: context)
  }

  @Test("V7: a key not made for it says so, and whoever may not back up or restore does not")
  func unsupported() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let plain = try await bench.create("plain")
    let refused = await failure { _ = try await vaults.backUpKey(plain, as: owner, context: context) }
    #expect(refused == error(.unsupported, .notOffered) && refused?.remedy.isEmpty == false)
    let key = try await make(bench)
    let blob = try await vaults.backUpKey(key, as: owner, context: context)
    let reader = try VaultBench.principal("contoso/reader", at: bench.clock)
    try await bench.grant(reader.id, Set(KeyPermission.allCases).subtracting([.backup, .restore]))
    await #expect(throws: error(.denied, .accessDenied)) {
      _ = try await vaults.backUpKey(key, as: reader, context: context)
    }
    await #expect(throws: error(.denied, .accessDenied)) {
      try await vaults.restoreKey(blob, in: bench.vault, as: reader, context: context)
    }
  }

  @Test("V7: a restoration cut off at any point is completed by repeating it, or makes way for a new key")
  func crashes() async throws {
    for isRepeated in [true, false] {
      for call in 1... {
        let bench = try await VaultBench()
        let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
        let key = try await make(bench)
        _ = try await vaults.rotateKey(key, as: owner, context: context)
        let wrapped = try await bench.wrap(key)
        let blob = try await vaults.backUpKey(key, as: owner, context: context)
        try await vaults.deleteKey(key, as: owner, context: context)
        try await vaults.purgeKey(key, as: owner, context: context)
        bench.storeFaults.reset()
        bench.storeFaults.fail(.compareAndSet, call: call, .after, with: lost)
        let first = await failure { try await vaults.restoreKey(blob, in: bench.vault, as: owner, context: context) }
        guard bench.storeFaults.calls(of: .compareAndSet) >= call else { break }
        #expect(first == lost)
        if isRepeated {
          let again = await failure { try await vaults.restoreKey(blob, in: bench.vault, as: owner, context: context) }
          #expect(again == nil || again == error(.invalidInput, .alreadyExists))
          #expect(try await bench.unwrap(wrapped))
        } else {
          let created = await failure { try await bench.create("key") }
          #expect(created == nil || created == error(.invalidInput, .alreadyExists))
        }
      }
    }
  }
}
