import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTestSupport
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServices

/// What is held so that it need not be found out for each call, and ends when it must.
struct HeldSessionTests {
  @Test(
    "I1, I3: a session lets a principal in by what the directory says then: switched off, replaced, or after a jump")
  func sessions() async throws {
    let bench = try await ServiceBench()
    let (custody, notes) = (bench.custody, try await bench.makeResource())
    let identity = try #require(try await notes.status().identity)
    #expect(try await custody.principal(identity).resource == notes.id)
    try await custody.identities.setEnabled(false, identity)
    await #expect(throws: error(.disabled, .identityOff)) { try await custody.principal(identity) }
    try await custody.identities.setEnabled(true, identity)
    #expect(try await custody.principal(identity).id == identity)

    // Another one of the same name: what the first was let in by does not do for it.
    try await custody.identities.delete(identity)
    try await custody.identities.create(identity, kind: .user)
    let other = try await custody.principal(identity)
    #expect(other.kind == .user && other.resource == nil)
    try await custody.identities.delete(identity)
    await #expect(throws: error(.denied, .identityOff)) { try await custody.principal(identity) }

    // The system's clock is set, both ways.
    for jump in [Duration.seconds(86_400), .seconds(-2 * 86_400)] {
      bench.clock.setWallTime(bench.clock.now() + jump)
      #expect(try await custody.principal(custody.servicePrincipal).id == custody.servicePrincipal)
    }
    // And used again and again for long.
    for _ in 0..<20 {
      bench.clock.advance(by: .seconds(40))
      #expect(try await custody.principal(custody.servicePrincipal).expires > bench.clock.now() + .seconds(140))
    }
  }

  @Test("Leases end in the order of their deadlines, whatever the order they began in")
  func deadlines() throws {
    var dice = Dice(seed: 7)
    var heap = DeadlineHeap()
    var model: [Duration] = []
    for round in 0..<2000 {
      if dice.next() % 3 != 0 {
        let deadline = Duration.seconds(Int(dice.next() % 1000))
        heap.insert(deadline, try RootKeyID(String(repeating: "0", count: 12) + "\(1000 + round)"))
        model = (model + [deadline]).sorted()
      } else if let first = model.first {
        #expect(heap.first == first)
        #expect(heap.take(dueAt: first - .nanoseconds(1)) == nil)
        #expect(heap.take(dueAt: first) != nil)
        model.removeFirst()
      }
    }
    #expect(model.count > 100)
    for deadline in model {
      #expect(heap.first == deadline)
      _ = heap.take(dueAt: deadline)
    }
    #expect(heap.first == nil)
  }

  @Test("A store in memory gives every item once, in order, while others come in")
  func pages() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let store = MemorySealedStore()
    let sealed = try await notes.seal([1], as: "any")
    var dice = Dice(seed: 11)
    var names = Set<String>()
    for _ in 0..<500 {
      let name = "item-\(dice.next() % 10_000)"
      try store.put(sealed, as: name, of: notes.id)
      names.insert(name)
    }
    var seen: [String] = []
    while let last = try await store.items(of: notes.id, after: seen.last, limit: 7).map(\.object).nonEmpty {
      seen += last
      // One that the listing has passed already, and one that it will come to.
      for name in ["item-0-\(seen.count)", "item-99999-\(seen.count)"] where seen.count < 300 {
        try store.put(sealed, as: name, of: notes.id)
        if name > seen[seen.count - 1] { names.insert(name) }
      }
    }
    #expect(seen == names.sorted())
    #expect(try await store.items(of: ResourceID("other"), after: nil, limit: 7).isEmpty)
  }
}

extension Array {
  fileprivate var nonEmpty: Self? { isEmpty ? nil : self }
}
