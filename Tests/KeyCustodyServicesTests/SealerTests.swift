import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServices

/// Sealing and opening by plain calls, and the fast way of the `async` ones.
struct SealerTests {
  private let ended = KeyCustodyError(.unavailable, .leaseEnded, "")

  @Test("E1: a sealer and an opener do by plain calls what the resource does")
  func plainCalls() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    let (sealer, opener) = (try await notes.sealer(), try await notes.opener())
    let sealed = try sealer.seal([1, 2, 3], as: "value", identifiers: ["user": "u"])
    #expect(sealed.count == 3 + sealer.overhead && sealer.overhead == 104)
    #expect(try await notes.open(sealed, as: "value", identifiers: ["user": "u"]) == [1, 2, 3])
    #expect(try opener.open(sealed, as: "value", identifiers: ["user": "u"]) == [1, 2, 3])
    let other = try await notes.seal([4], as: "other")
    #expect(try opener.open(other, as: "other") == [4])
    #expect(throws: KeyCustodyError.self) { try opener.open(other, as: "value") }
    let transient = try await notes.seal([5], as: "t", dataClass: "transient")
    #expect(throws: KeyCustodyError.self) { try opener.open(transient, as: "t") }
    #expect(try await notes.opener(dataClass: "transient").open(transient, as: "t") == [5])
  }

  @Test("E8: plain calls end with the lease at a revocation, and the resource tells the reason")
  func revoked() async throws {
    let bench = try await ServiceBench()
    let (notes, key) = try await bench.makeBound()
    let (sealer, opener) = (try await notes.sealer(), try await notes.opener())
    let sealed = try sealer.seal([1], as: "value")
    _ = try await notes.open(sealed, as: "value")
    try await bench.update(key, isEnabled: false)
    #expect(throws: ended) { try sealer.seal([1], as: "value") }
    #expect(throws: ended) { try opener.open(sealed, as: "value") }
    #expect(await failure { _ = try await notes.seal([1], as: "value") }?.code == .disabled)
    #expect(await failure { _ = try await notes.open(sealed, as: "value") }?.code == .disabled)
    #expect(await failure { _ = try await notes.sealer() }?.code == .disabled)
    try await bench.update(key, isEnabled: true)
    #expect(try await notes.open(sealed, as: "value") == [1])
    #expect(try await notes.sealer().seal([1], as: "value").count == 105)
  }

  @Test("DESIGN 7: plain calls stop at the absolute deadline, even before anybody has cleared the key")
  func deadline() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    let sealer = try await notes.sealer()
    bench.clock.advance(by: .seconds(29))
    _ = try sealer.seal([1], as: "value")
    bench.keyFaults.failAlways(.unwrap, with: down)
    bench.clock.advance(by: .seconds(31))
    #expect(throws: ended) { try sealer.seal([1], as: "value") }
  }

  @Test("DESIGN 7: use has the lease renewed in the background at half-life, so that a sealer in use goes on")
  func renewed() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    let sealer = try await notes.sealer()
    let record = try await bench.record(notes)
    let keys = [record.primary(.service, .longTerm), record.primary(.customer, .longTerm)].compactMap { $0?.id }
    #expect(keys.count == 2)
    for round in 1...10 {
      bench.clock.advance(by: .seconds(31))
      _ = try sealer.seal([1], as: "value")
      let deadline = bench.clock.running() + .seconds(60)
      try await eventually("round \(round): both leases are renewed") {
        keys.allSatisfy { bench.custody.leases.deadline(of: $0) == deadline }
      }
    }
    // Renewing fails for a while: it is tried again, with a pause, and succeeds before the lease has ended.
    bench.keyFaults.failAlways(.unwrap, with: down)
    bench.clock.advance(by: .seconds(31))
    let before = bench.unwraps
    _ = try sealer.seal([1], as: "value")
    try await eventually("renewing is tried") { bench.unwraps > before }
    bench.keyFaults.reset()
    bench.clock.advance(by: .seconds(2))
    try await eventually("renewing is tried again") {
      _ = try? sealer.seal([1], as: "value")
      return keys.contains { bench.custody.leases.deadline(of: $0) == bench.clock.running() + .seconds(60) }
    }
  }

  @Test("E6: after the outer key changed, the resource's own calls seal under the new one at once")
  func newPrimary() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource("notes")
    let first = try await notes.seal([1], as: "a")
    _ = try await notes.seal([1], as: "a")
    let key = try await bench.makeKey()
    let store = MemorySealedStore()
    try store.put(first, as: "a", of: notes.id)
    try await notes.enableCustomerKey(key, converting: [store])
    let second = try await notes.seal([2], as: "a")
    #expect(try SealedHeader(parsing: second).rootKey != SealedHeader(parsing: first).rootKey)
    #expect(try await notes.open(second, as: "a") == [2])
  }

  @Test("E13: a sealer of transient data ends with its epoch, and nothing else seals with it")
  func epoch() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let sealer = try await notes.sealer(dataClass: "transient")
    let old = try SealedHeader(parsing: try sealer.seal([1], as: "message")).rootKey
    // In use, so that its leases never end.
    for _ in 0..<(12 * 60) {
      bench.clock.advance(by: .seconds(59))
      _ = try await notes.seal([1], as: "message", dataClass: "transient")
    }
    bench.clock.advance(by: .seconds(12 * 60))
    let new = try await notes.seal([2], as: "message", dataClass: "transient")
    #expect(try SealedHeader(parsing: new).rootKey != old)
    #expect(throws: error(.unavailable, .leaseEnded)) { try sealer.seal([2], as: "message") }
  }

  @Test("A deployment that asks for every operation has no sealer to give, and says so")
  func noLease() async throws {
    let bench = try await ServiceBench(lease: 0)
    let (notes, _) = try await bench.makeBound()
    #expect(await failure { _ = try await notes.sealer() }?.reason == .noLease)
    #expect(await failure { _ = try await notes.opener() }?.reason == .noLease)
  }
}
