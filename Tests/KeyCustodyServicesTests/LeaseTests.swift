import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServices

/// How long an unwrapped root key is used (DESIGN 7).
struct LeaseTests {
  @Test("DESIGN 7: a lease of 0 asks the vault for every operation")
  func zero() async throws {
    let bench = try await ServiceBench(lease: 0)
    let (notes, _) = try await bench.makeBound()
    let sealed = try await notes.seal([1, 2, 3], as: "value")
    #expect(bench.unwraps == 1)
    for count in 2...10 {
      #expect(try await notes.open(sealed, as: "value") == [1, 2, 3])
      #expect(bench.unwraps == count)
    }
    #expect(bench.custody.leases.count == 0, "no key stays in memory")
    let asked = bench.audit.events.filter { $0.action == "unwrapKey" && $0.resource == "notes" }.count
    #expect(asked >= 10, "V11: each use is on record")
  }

  @Test("DESIGN 7: a lease of 0 asks for every operation of many at once too")
  func zeroAtOnce() async throws {
    let bench = try await ServiceBench(lease: 0)
    let (notes, _) = try await bench.makeBound()
    let sealed = try await notes.seal([1], as: "value")
    let before = bench.unwraps
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<32 {
        group.addTask { #expect(await failure { _ = try await notes.open(sealed, as: "value") } == nil) }
      }
    }
    #expect(bench.unwraps == before + 32)
  }

  @Test("DESIGN 7: by default one unwrap serves 60 seconds of any number of operations")
  func shared() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    for _ in 0..<100 { try await notes.roundTrip() }
    bench.clock.advance(by: .seconds(30))
    for _ in 0..<100 { try await notes.roundTrip() }
    #expect(bench.unwraps == 1)
  }

  @Test("DESIGN 7: 64 first openings at once cause one unwrap")
  func singleFlight() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    let sealed = try await notes.seal([7], as: "value")
    bench.clock.advance(by: .seconds(60))
    try await eventually("the sweeper clears what nobody uses") { bench.custody.leases.count == 0 }
    bench.keyFaults.reset()
    let gate = Gate()
    bench.hooks.onUnwrap { _ in await gate.pass() }
    try await withThrowingTaskGroup(of: [UInt8].self) { group in
      for _ in 0..<64 { group.addTask { try await notes.open(sealed, as: "value") } }
      try await eventually("one comes to the provider") { gate.waiters == 1 }
      gate.open()
      for try await opened in group { #expect(opened == [7]) }
    }
    #expect(bench.unwraps == 1)
  }

  @Test("DESIGN 7: those who wait for an attempt that fails share its failure, and the next one asks anew")
  func sharedFailure() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    let sealed = try await notes.seal([7], as: "value")
    bench.custody.leases.end([try await customerRootKey(notes, bench)])
    bench.keyFaults.reset()
    bench.keyFaults.failAlways(.unwrap, with: down)
    let outcomes = await withTaskGroup(of: KeyCustodyError?.self) { group in
      for _ in 0..<64 { group.addTask { await failure { _ = try await notes.open(sealed, as: "value") } } }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(outcomes.allSatisfy { $0 == down })
    bench.keyFaults.reset()
    #expect(try await notes.open(sealed, as: "value") == [7], "a failure is not remembered")
  }

  @Test("DESIGN 7: who is cancelled while it asks for a key is alone in that")
  func cancelledAlone() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    let sealed = try await notes.seal([7], as: "value")
    bench.custody.leases.end([try await customerRootKey(notes, bench)])
    let gate = Gate()
    bench.hooks.onUnwrap { number in
      if number == 1 { await gate.pass() }
    }
    bench.keyFaults.reset()
    bench.keyFaults.fail(
      .unwrap, call: 1, .after, with: KeyCustodyError(.timeout, .deadline, "The call was cancelled."))
    let first = Task { await failure { _ = try await notes.open(sealed, as: "value") } }
    try await eventually("the first does not ask") { bench.unwraps == 1 }
    first.cancel()
    async let second = notes.open(sealed, as: "value")
    gate.open()
    _ = await first.value
    #expect(try await second == [7])
  }

  @Test("DESIGN 7: while the provider is away a lease works to its deadline, writes don't extend it, then it is closed")
  func outage() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    let sealed = try await notes.seal([7], as: "value")
    bench.keyFaults.failAlways(.unwrap, with: down)
    for _ in 0..<59 {
      bench.clock.advance(by: .seconds(1))
      try await notes.roundTrip()
      #expect(try await notes.open(sealed, as: "value") == [7])
    }
    bench.clock.advance(by: .milliseconds(999))
    try await notes.roundTrip()
    bench.clock.advance(by: .milliseconds(1))
    for _ in 0..<2 {
      let reading = await failure { _ = try await notes.open(sealed, as: "value") }
      let writing = await failure { _ = try await notes.seal([1], as: "value") }
      #expect(reading == down && writing == down)
    }
    try await eventually("only the service's key is left") {
      bench.custody.leases.count <= 1
    }
    bench.keyFaults.reset()
    #expect(try await notes.open(sealed, as: "value") == [7], "back by itself")
  }

  @Test("DESIGN 7: a deadline counts from before the authorisation was read")
  func deadlineFromStart() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    let key = try await customerRootKey(notes, bench)
    bench.custody.leases.end([key])
    let clock = bench.clock
    bench.hooks.onUnwrap { _ in clock.advance(by: .seconds(8)) }
    try await notes.roundTrip()
    bench.hooks.onUnwrap(nil)
    bench.keyFaults.failAlways(.unwrap, with: down)
    bench.clock.advance(by: .seconds(52) - .milliseconds(1))
    try await notes.roundTrip()
    bench.clock.advance(by: .milliseconds(1))
    #expect(await failure { try await notes.roundTrip() } == down)
  }

  @Test("DESIGN 7: a lease in use is renewed in the background after half its life, once")
  func renewal() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    try await notes.roundTrip()
    #expect(bench.unwraps == 1)
    bench.clock.advance(by: .seconds(31))
    let gate = Gate()
    bench.hooks.onUnwrap { _ in await gate.pass() }
    for _ in 0..<20 { try await notes.roundTrip() }
    try await eventually("the renewal begins") { gate.waiters == 1 }
    for _ in 0..<20 { try await notes.roundTrip() }
    #expect(gate.waiters == 1, "one renewal at a time, and nobody waits for it")
    gate.open()
    #expect(bench.unwraps == 2)
    bench.hooks.onUnwrap(nil)
    let root = try await customerRootKey(notes, bench)
    let begun = bench.clock.running()
    try await eventually("the new deadline counts") { bench.custody.leases.deadline(of: root) == begun + .seconds(60) }
    bench.keyFaults.failAlways(.unwrap, with: down)
    bench.clock.advance(by: .seconds(59))
    try await notes.roundTrip()
    bench.clock.advance(by: .seconds(1))
    #expect(await failure { try await notes.roundTrip() } == down)
  }

  @Test("DESIGN 7: a lease that nobody uses is not renewed, and its key is cleared at the deadline")
  func sweeping() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    try await notes.roundTrip()
    let key = try await customerRootKey(notes, bench)
    guard case .living(let root, _) = bench.custody.leases.find(key) else {
      Issue.record("there is a lease")
      return
    }
    #expect(bench.custody.leases.count == 2, "a key for each layer")
    await bench.clock.waiters(atLeast: 1)
    bench.clock.advance(by: .seconds(59))
    #expect(bench.custody.leases.count == 2 && !root.isDestroyed)
    bench.clock.advance(by: .seconds(1))
    try await eventually("cleared without any use") { bench.custody.leases.count == 0 }
    #expect(root.isDestroyed)
    #expect(bench.unwraps == 1)
    try await notes.roundTrip()
    bench.clock.advance(by: .seconds(60))
    try await eventually("the sweeper sweeps again") { bench.custody.leases.count == 0 }
  }

  /// A clock whose first wait fails.
  private final class FailingClock: TimeSource {
    private let clock = ManualClock()
    private let failures = Tally()

    func now() -> Timestamp { clock.now() }
    func running() -> Duration { clock.running() }
    func wait(until deadline: Duration) async throws(CancellationError) {
      failures.add()
      if failures.value == 1 { throw CancellationError() }
      try await clock.wait(until: deadline)
    }
    func advance(by duration: Duration) { clock.advance(by: duration) }
    var waits: Int { failures.value }
  }

  @Test("DESIGN 7: clearing keys at their deadlines begins again after the clock failed it")
  func sweeperAgain() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    let record = try #require(try await bench.record(notes).primary(.customer, .longTerm))
    let clock = FailingClock()
    let table = LeaseTable(duration: .seconds(60), time: clock)
    let source = LeaseTable.Source(
      look: { () async throws(KeyCustodyError) in record },
      unwrap: { (_) async throws(KeyCustodyError) in
        try RootKey(material: try RootKey.generateMaterial(random: SystemRandom()))
      })
    _ = try await table.acquire(record.id, of: notes.id, from: source)
    try await eventually("the clock fails") { clock.waits == 1 }
    try await eventually("a renewal begins it again") {
      _ = try await table.acquire(record.id, of: notes.id, isRenewal: true, from: source)
      return clock.waits > 1
    }
    clock.advance(by: .seconds(60))
    try await eventually("cleared without any use") { table.count == 0 }
    table.close()
  }

  @Test("R13: beyond a number of keys, those that nobody uses rest, and wake to the same lease when they are used")
  func resting() async throws {
    let clock = ManualClock()
    let bench = try await ServiceBench()
    let template = try #require(try await bench.record(try await bench.makeResource()).primary(.customer, .longTerm))
    let table = LeaseTable(duration: .seconds(60), time: clock)
    let resource = try ResourceID("notes")
    let renewed = Tally()
    table.whenRenewalIsDue { _, _ in renewed.add() }
    var ids: [RootKeyID] = []
    for _ in 0..<LeaseTable.mostAwake + 100 {
      let key = try RootKey(material: try RootKey.generateMaterial(random: SystemRandom()))
      var record = template
      (record.id, record.commitment) = (key.id, key.commitment.hexadecimal)
      let found = record
      ids.append(key.id)
      _ = try await table.acquire(
        key.id, of: resource,
        from: LeaseTable.Source(
          look: { () async throws(KeyCustodyError) in found }, unwrap: { (_) async throws(KeyCustodyError) in key }))
    }
    #expect(table.count == ids.count && table.awakeCount == LeaseTable.mostAwake)
    clock.advance(by: .seconds(29))
    var held: [RootKey] = []
    for id in ids {
      guard case .living(let key, renew: false) = table.find(id) else {
        Issue.record("it has its lease")
        return
      }
      #expect(key.id == id, "the same key")
      try key.requireLease(at: clock.running())
      if held.count < 50 { held.append(key) }
    }
    #expect(table.awakeCount == LeaseTable.mostAwake)
    #expect(held.allSatisfy { !$0.isDestroyed }, "what somebody holds does not rest")
    clock.advance(by: .seconds(2))
    for id in ids.prefix(3) { try table.living(id)?.requireLease(at: clock.running()) }
    #expect(renewed.value > 0, "a woken key asks to be renewed after half of its lease")
    let (sleeping, cut) = (try #require(ids.last), try #require(ids.dropLast().last))
    for id in ids.dropLast(2) { _ = table.living(id) }
    #expect(table.markStale { _, _ in true }.count == ids.count)
    #expect(table.living(sleeping) == nil, "no key outlasts a revocation by resting")
    table.end([cut])
    #expect(table.count == ids.count - 1)
    clock.advance(by: .seconds(29))
    try await eventually("nor its deadline") { table.count == 0 }
    table.close()
  }

  @Test("DESIGN 7: when access is withdrawn the key is destroyed at once, though nobody asks for it again")
  func destroyed() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    try await notes.roundTrip()
    let key = try await customerRootKey(notes, bench)
    guard case .living(let root, _) = bench.custody.leases.find(key) else {
      Issue.record("there is a lease")
      return
    }
    try await bench.custody.vaults.removeRule("allow-notes", in: bench.vault)
    if case .living = bench.custody.leases.find(key) { Issue.record("nobody gets it any more") }
    try await eventually("destroyed in the background") { root.isDestroyed }
    #expect(bench.custody.leases.count == 1, "only the service's key is left")
  }

  @Test("Closing clears every key, and nothing can be sealed or opened any more")
  func closing() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    let sealed = try await notes.seal([1], as: "value")
    guard case .living(let root, _) = bench.custody.leases.find(try await customerRootKey(notes, bench)) else {
      Issue.record("there is a lease")
      return
    }
    await bench.custody.close()
    #expect(bench.custody.leases.count == 0 && root.isDestroyed)
    for attempt in [
      await failure { _ = try await notes.open(sealed, as: "value") },
      await failure { _ = try await notes.seal([1], as: "value") },
      await failure { _ = try await notes.status() },
    ] {
      #expect(attempt == error(.unavailable, .closed))
    }
    #expect(bench.custody.leases.count == 0)
    let again = try await bench.reopened()
    let found = try await again.resource(notes.id)
    #expect(try await found.open(sealed, as: "value") == [1])
    await again.close()
  }

  @Test("DESIGN 7: changes that concern others don't keep a key from being leased", arguments: [60, 0])
  func busyNeighbours(_ lease: Int) async throws {
    let bench = try await ServiceBench(lease: lease)
    let (notes, _) = try await bench.makeBound()
    let sealed = try await notes.seal([1], as: "value")
    bench.custody.leases.end([try await customerRootKey(notes, bench)])
    let stranger = try PrincipalID("fabrikam/somebody")
    let elsewhere = try VaultName("fabrikam-keys")
    try await bench.makeVault(elsewhere, tenant: "fabrikam")
    bench.keyFaults.reset()
    bench.hooks.onUnwrap { _ in
      _ = await failure {
        try await bench.custody.vaults.setRule(AccessRule(name: "x", principal: stranger, keys: [.get]), in: elsewhere)
      }
    }
    #expect(try await notes.open(sealed, as: "value") == [1])
    #expect(bench.unwraps == 1)
  }

  @Test("DESIGN 7: a change of another's access in the same vault leaves a lease its deadline in an outage")
  func unrelatedChangeInOutage() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    try await notes.roundTrip()
    bench.keyFaults.failAlways(.unwrap, with: down)
    try await bench.grant(PrincipalID("contoso/somebody"))
    try await bench.custody.vaults.removeRule("allow-somebody", in: bench.vault)
    try await notes.roundTrip()
  }

  private func customerRootKey(_ resource: ProtectedResource, _ bench: ServiceBench) async throws -> RootKeyID {
    try #require(try await bench.record(resource).primary(.customer, .longTerm)).id
  }
}
