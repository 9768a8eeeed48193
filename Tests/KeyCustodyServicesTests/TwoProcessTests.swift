import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTesting
import KeyCustodyVault
import Synchronization
import Testing

@testable import KeyCustodyServices

/// What one process does, and what another one that shares its store makes of it (DESIGN 7).
@Suite("Two processes", .timeLimit(.minutes(10)))
struct TwoProcessTests {
  @Test("E8: a revocation in one process stops the other before its lease ends", arguments: Revocation.allCases)
  func revocation(_ revocation: Revocation) async throws {
    let bench = try await ServiceBench(isShared: true)
    let (notes, key) = try await Self.bound(bench)
    let second = try await bench.reopened()
    let there = try await second.resource(notes.id)
    let sealed = try await there.seal([1], as: "value")
    #expect(try await there.open(sealed, as: "value") == [1])
    try await revocation.revoke(notes, key, in: bench)
    try await eventually("the other process goes on after '\(revocation.rawValue)'") {
      await failure { _ = try await there.open(sealed, as: "value") }?.reason == revocation.reason
    }
    // Whoever looks back finds no key in its memory.
    let customer = try await bench.record(notes).primary(.customer, .longTerm)
    #expect(customer.flatMap { second.leases.living($0.id) } == nil)
    try await revocation.restore(notes, key, in: bench)
    try await eventually("the other process stays cut off after '\(revocation.rawValue)' is taken back") {
      await failure { _ = try await there.open(sealed, as: "value") } == nil
    }
    await second.close()
  }

  @Test("E8: a process that hears nothing any more stops by the time that was answered")
  func partition() async throws {
    let bench = try await ServiceBench(isShared: true)
    let (notes, _) = try await Self.bound(bench)
    bench.storeFaults.failAlways(.watch, with: down)
    let second = try await bench.reopened()
    let there = try await second.resource(notes.id)
    let sealed = try await there.seal([1], as: "value")
    try await bench.custody.vaults.removeRule("allow-notes", in: bench.vault)
    let promised = bench.custody.effectiveEverywhere()
    bench.storeFaults.reset()
    bench.storeFaults.failAlways(with: down)
    #expect(try await there.open(sealed, as: "value") == [1], "within its lease")
    bench.clock.advance(by: .milliseconds(promised.milliseconds - bench.clock.now().milliseconds))
    #expect(await failure { _ = try await there.open(sealed, as: "value") } != nil)
    bench.storeFaults.reset()
    #expect(await failure { _ = try await there.open(sealed, as: "value") }?.reason == .accessDenied)
    await second.close()
  }

  @Test("E8: what is promised counts the longest lease of all processes")
  func longestLease() async throws {
    let bench = try await ServiceBench(lease: 30, isShared: true)
    #expect(bench.custody.effectiveEverywhere() == bench.clock.now() + .seconds(30))
    let second = try await bench.reopened(lease: 90)
    #expect(second.effectiveEverywhere() == bench.clock.now() + .seconds(90))
    try await eventually("the first process has not heard of the second one's leases") {
      bench.custody.effectiveEverywhere() == bench.clock.now() + .seconds(90)
    }
    await second.close()
  }

  @Test("E6: data sealed by another process that has not heard of a conversion is converted, and its sealers end")
  func staleProcess() async throws {
    let bench = try await ServiceBench(isShared: true)
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    bench.storeFaults.failAlways(.watch, with: down)
    let second = try await bench.reopened()
    let there = try await second.resource(notes.id)
    let sealer = try await there.sealer()
    let store = MemorySealedStore()
    async let enabling: Void = notes.enableCustomerKey(key, converting: [store])
    try await eventually("the conversion does not wait for the other process") {
      try await notes.status().mode == .enabling && bench.waitsForLeases
    }
    let early = try await there.seal([1], as: "early")
    try store.put(early, as: "early", of: notes.id)
    try store.put(sealer.seal([2], as: "kept"), as: "kept", of: notes.id)
    bench.clock.advance(by: .seconds(60))
    try await enabling
    for (name, content) in [("early", UInt8(1)), ("kept", 2)] {
      let stored = try #require(store.get(name, of: notes.id))
      #expect(try await notes.open(stored, as: name) == [content])
    }
    #expect(throws: KeyCustodyError.self, "a sealer of the retired key") { try sealer.seal([3], as: "late") }
    let late = try await there.seal([2], as: "late")
    #expect(try await notes.open(late, as: "late") == [2])
    await second.close()
  }

  @Test("E6: what takes longer than a lease to store, in another process, is sealed again under the new key")
  func slowStorage() async throws {
    let bench = try await ServiceBench(isShared: true)
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    bench.storeFaults.failAlways(.watch, with: down)
    let second = try await bench.reopened()
    let there = try await second.resource(notes.id)
    let store = MemorySealedStore()
    let tries = Tally()
    try await there.seal([1], as: "slow") { (sealed) async throws(KeyCustodyError) in
      tries.add()
      if tries.value == 1 {
        await converted(notes, key, bench)
      }
      try store.put(sealed, as: "slow", of: notes.id)
    }
    #expect(tries.value == 2)
    let stored = try #require(store.get("slow", of: notes.id))
    #expect(try await notes.open(stored, as: "slow") == [1])
    await second.close()
  }

  @Test("E6: another process that hears of a conversion seals under the new key at once")
  func watched() async throws {
    let bench = try await ServiceBench(isShared: true)
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let second = try await bench.reopened()
    let there = try await second.resource(notes.id)
    let old = try SealedHeader(parsing: try await there.seal([1], as: "value")).rootKey
    async let enabling: Void = notes.enableCustomerKey(key, converting: [])
    try await eventually("the other process goes on under the retired key") {
      try SealedHeader(parsing: try await there.seal([1], as: "value")).rootKey != old
    }
    try await eventually("nobody waits") { bench.waitsForLeases }
    bench.clock.advance(by: .seconds(60))
    try await enabling
    await second.close()
  }

  @Test("E6: without leases too, a conversion waits for what other processes may be storing")
  func withoutLeases() async throws {
    let bench = try await ServiceBench(lease: 0, isShared: true)
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    bench.storeFaults.failAlways(.watch, with: down)
    let second = try await bench.reopened(lease: 0)
    let there = try await second.resource(notes.id)
    let early = try await there.seal([1], as: "early")
    let store = MemorySealedStore()
    async let enabling: Void = notes.enableCustomerKey(key, converting: [store])
    try await eventually("the conversion does not wait") {
      try await notes.status().mode == .enabling && bench.waitsForLeases
    }
    // It was on its way.
    try store.put(early, as: "early", of: notes.id)
    bench.clock.advance(by: KeyCustody.storingTime)
    try await enabling
    #expect(try await notes.open(try #require(store.get("early", of: notes.id)), as: "early") == [1])
    await second.close()
  }

  @Test("E6: what was begun under a root key that is gone by then is sealed again under the new one")
  func droppedMeanwhile() async throws {
    let bench = try await ServiceBench(isShared: true)
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let second = try await bench.reopened()
    let there = try await second.resource(notes.id)
    let (store, tries) = (MemorySealedStore(), Tally())
    try await there.seal([1], as: "slow") { (sealed) async throws(KeyCustodyError) in
      tries.add()
      if tries.value == 1 {
        let old = try SealedHeader(parsing: sealed).rootKey
        await converted(notes, key, bench)
        // As sealing a long file does at its next piece.
        _ = try await there.rootKeys.rootKey(old, layer: .customer)
      }
      try store.put(sealed, as: "slow", of: notes.id)
    }
    #expect(tries.value == 2)
    #expect(try await notes.open(try #require(store.get("slow", of: notes.id)), as: "slow") == [1])
    await second.close()
  }

  @Test("What other processes change of resources that are not used here is not remembered here")
  func strangers() async throws {
    let bench = try await ServiceBench(isShared: true)
    let (notes, other) = (try await bench.makeResource("notes"), try await bench.makeResource("other"))
    let second = try await bench.reopened()
    let there = try await second.resource(notes.id)
    let sealed = try await there.seal([1], as: "value")
    let known = second.cache.count
    try await bench.custody.rotateServiceKeys()
    try await other.rewrapServiceKeys()
    try await notes.rewrapServiceKeys()
    let revision = try #require(bench.custody.cache.revision(notes.id))
    try await eventually("the other process hears nothing") { second.cache.revision(notes.id) == revision }
    #expect(second.cache.count == known && second.cache.revision(other.id) == nil)
    #expect(try await there.open(sealed, as: "value") == [1])
    await second.close()
  }

  /// Enables the customer's key while the clock goes on.
  private func converted(_ notes: ProtectedResource, _ key: KeyURI, _ bench: ServiceBench) async {
    async let problem = failure { try await notes.enableCustomerKey(key, converting: []) }
    try? await eventually("the conversion does not wait") { bench.waitsForLeases }
    bench.clock.advance(by: .seconds(60))
    #expect(await problem == nil)
  }

  private static func bound(_ bench: ServiceBench) async throws -> (ProtectedResource, KeyURI) {
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    async let enabling: Void = notes.enableCustomerKey(key, converting: [])
    try await eventually("the conversion does not wait for leases elsewhere") { bench.waitsForLeases }
    bench.clock.advance(by: .seconds(60))
    try await enabling
    return (notes, key)
  }
}

extension ServiceBench {
  /// Whether a conversion waits for leases that may live in other processes.
  var waitsForLeases: Bool { custody.waitsForLeases.load(ordering: .relaxed) > 0 }
}
