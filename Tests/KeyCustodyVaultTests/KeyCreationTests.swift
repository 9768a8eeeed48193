import KeyCustody
import KeyCustodyMemory
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

/// Making keys while backends fail: no key without a record, no record without a key, no name lost.
struct KeyCreationTests {
  @Test("V7: a creation that the provider refused leaves the name free, for any type", arguments: [true, false])
  func providerFails(sameType: Bool) async throws {
    let bench = try await VaultBench()
    bench.keyFaults.failNext(.generate, with: down)
    await #expect(throws: down) { try await bench.create() }
    #expect(try await bench.inventory().isEmpty)
    let record = await failure {
      _ = try await bench.vaults.key(bench.uri("key"), as: bench.owner, context: bench.context)
    }
    #expect(record == error(.notFound, .keyUnknown))
    #expect(try await bench.vaults.keys(in: bench.vault, as: bench.owner, context: bench.context).isEmpty)
    if sameType {
      #expect(try await bench.wrap(bench.create()).bytes.count == 40)
    } else {
      try await bench.create(type: .ec(.p256), role: .signing)
    }
    try await bench.checkWhole("a refused creation")
    #expect(try await bench.inventory().count == 1)
  }

  @Test("V7: a creation whose answer was lost is completed by the next, with the key made then")
  func answerLost() async throws {
    let bench = try await VaultBench()
    bench.keyFaults.failNext(.generate, .after, with: lost)
    await #expect(throws: lost) { try await bench.create() }
    let held = try await bench.inventory()
    #expect(held.count == 1)
    try await bench.checkWhole("between")
    let made = try await bench.create()
    #expect(try await bench.inventory() == held, "no second key was made")
    #expect(held == Set([made.version].compactMap { $0 }))
    #expect(try await bench.recorded().map(\.stage) == [.ready])
    #expect(try await bench.unwrap(bench.wrap(made)))
  }

  @Test("V7: after a lost answer another type can be made under the name; what was left over is destroyed")
  func otherTypeAfterLoss() async throws {
    let bench = try await VaultBench()
    bench.keyFaults.failNext(.generate, .after, with: lost)
    await #expect(throws: lost) { try await bench.create() }
    let made = try await bench.create(type: .ec(.p256), role: .signing)
    #expect(try await bench.inventory() == Set([made.version].compactMap { $0 }))
    #expect(try await bench.vaults.key(made, as: bench.owner, context: bench.context).type == .ec(.p256))
  }

  @Test("V7: a crash at any point of a creation leaves a whole state, and the name usable")
  func crashes() async throws {
    var runs = 0
    for moment in [FaultPlan<FaultingPolicyStore.Operation>.Moment.before, .after] {
      for operation in [FaultingPolicyStore.Operation.read, .compareAndSet, .delete] {
        for call in 1... {
          let bench = try await VaultBench()
          bench.storeFaults.reset()
          bench.storeFaults.fail(operation, call: call, moment, with: moment == .before ? down : lost)
          let outcome = await failure { try await bench.create() }
          guard bench.storeFaults.calls(of: operation) >= call else { break }
          runs += 1
          try await bench.checkWhole("\(operation) \(call) \(moment)")
          let restarted = bench.reopened()
          let again = await failure {
            _ = try await restarted.createKey(
              bench.uri("key"), type: .aes(bits: 256), role: .wrapping, as: bench.owner, context: bench.context)
          }
          #expect(again == nil || again == error(.invalidInput, .alreadyExists), "\(operation) \(call) \(moment)")
          if outcome == nil { #expect(again != nil) }
          #expect(try await bench.inventory().count == 1, "\(operation) \(call) \(moment)")
          try await bench.checkWhole("\(operation) \(call) \(moment), created again")
          #expect(try await bench.unwrap(bench.wrap(bench.uri("key"))))
        }
      }
    }
    #expect(runs >= 8)
    print("creation: \(runs) faults")
  }

  @Test("V8: a crash at any point of a rotation leaves a whole state, and the key usable")
  func rotationCrashes() async throws {
    var runs = 0
    for moment in [FaultPlan<FaultingPolicyStore.Operation>.Moment.before, .after] {
      for call in 1... {
        let bench = try await VaultBench()
        let first = try await bench.create()
        let wrapped = try await bench.wrap(first)
        bench.storeFaults.reset()
        bench.storeFaults.fail(.compareAndSet, call: call, moment, with: moment == .before ? down : lost)
        _ = await failure { _ = try await bench.vaults.rotateKey(first, as: bench.owner, context: bench.context) }
        guard bench.storeFaults.calls(of: .compareAndSet) >= call else { break }
        runs += 1
        try await bench.checkWhole("rotation \(call) \(moment)")
        #expect(try await bench.unwrap(wrapped))
        let second = try await bench.vaults.rotateKey(first, as: bench.owner, context: bench.context).uri
        #expect(try await bench.wrap(bench.uri("key")).key == second)
        try await bench.vaults.deleteKey(first, as: bench.owner, context: bench.context)
        try await bench.vaults.purgeKey(first, as: bench.owner, context: bench.context)
        #expect(try await bench.inventory().isEmpty, "what a cut-off rotation made goes with the key")
      }
    }
    #expect(runs >= 4)
  }

  @Test("V8: a rotation that the provider refused, or whose answer was lost, leaves the newest version in place")
  func rotationFails() async throws {
    let bench = try await VaultBench()
    let first = try await bench.create()
    for (fault, moment) in [(down, FaultPlan<FaultingKeyProvider.Operation>.Moment.before), (lost, .after)] {
      bench.keyFaults.failNext(.generate, moment, with: fault)
      await #expect(throws: fault) {
        _ = try await bench.vaults.rotateKey(first, as: bench.owner, context: bench.context)
      }
      #expect(try await bench.wrap(bench.uri("key")).key == first)
      try await bench.checkWhole("\(fault.code)")
    }
  }

  private func importKey(_ bench: VaultBench, type: KeyType = .aes(bits: 256), role: KeyRole = .wrapping) async throws
    -> KeyURI
  {
    try await bench.vaults.importKey(
      bench.secret(9), to: bench.uri("key"), type: type, role: role, as: bench.owner, context: bench.context
    ).uri
  }

  @Test("V7: an import adds a version; one that does not fit the key, or is no key, leaves nothing behind")
  func imports() async throws {
    let bench = try await VaultBench()
    let made = try await importKey(bench)
    #expect(try await bench.unwrap(bench.wrap(made)))
    let second = try await importKey(bench)
    #expect(second.version != made.version)
    #expect(try await bench.wrap(bench.uri("key")).key == second)
    await #expect(throws: error(.invalidInput, .wrongKeyType)) {
      _ = try await importKey(bench, type: .aes(bits: 256), role: .signing)
    }
    let malformed = await failure { _ = try await importKey(bench, type: .rsa(bits: 2048)) }
    #expect(malformed?.code == .invalidInput)
    #expect(try await bench.inventory().count == 2)
    try await bench.create("signing", type: .ec(.p256), role: .signing)
    let misfit = await failure {
      _ = try await bench.vaults.importKey(
        bench.secret(9), to: bench.uri("signing"), type: .aes(bits: 256), role: .wrapping, as: bench.owner,
        context: bench.context)
    }
    #expect(misfit == nil, "a version of another type")
    try await bench.checkWhole("imports")
    #expect(try await bench.inventory().count == 4)
  }

  @Test("V7: a crash at any point of an import leaves no orphan, and the name usable", arguments: [true, false])
  func importCrashes(keyExists: Bool) async throws {
    for moment in [FaultPlan<FaultingPolicyStore.Operation>.Moment.before, .after] {
      for call in 1... {
        let bench = try await VaultBench()
        if keyExists { try await bench.create() }
        bench.storeFaults.reset()
        bench.storeFaults.fail(.compareAndSet, call: call, moment, with: moment == .before ? down : lost)
        _ = await failure { _ = try await importKey(bench) }
        guard bench.storeFaults.calls(of: .compareAndSet) >= call else { break }
        try await bench.checkWhole("import \(call) \(moment)")
        let made = try await importKey(bench)
        #expect(try await bench.wrap(bench.uri("key")).key == made)
        try await bench.checkWhole("import \(call) \(moment), again")
      }
    }
  }

  @Test("V7: an import whose answer was lost leaves a record, and a creation under the name starts afresh")
  func importLost() async throws {
    let bench = try await VaultBench()
    bench.keyFaults.failNext(.importKey, .after, with: lost)
    await #expect(throws: lost) { _ = try await importKey(bench) }
    try await bench.checkWhole("the import's answer lost")
    let made = try await bench.create()
    #expect(try await bench.inventory() == Set([made.version].compactMap { $0 }), "the material imported is gone")
    let described = try await bench.keys.describe(try #require(made.version), context: bench.context)
    #expect(described.origin == .generated)
  }
}
