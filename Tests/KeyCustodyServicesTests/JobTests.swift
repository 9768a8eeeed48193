import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTesting
import KeyCustodyVault
import Synchronization
import Testing

@testable import KeyCustodyServices

/// Conversions in the background (SEMANTICS E6, DESIGN 7).
@Suite("Jobs", .timeLimit(.minutes(10)))
struct JobTests {
  @Test("E6: enabling leaves stored data to a job, which says how far it is and forgets itself at the end")
  func background() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await Self.filled(bench, 25)
    try await notes.enableCustomerKey(try await bench.makeKey())
    #expect(try await notes.status().mode == .enabling)
    let planned = try #require(try await bench.custody.pendingJob(for: notes.id))
    #expect(planned.resource == notes.id && planned.progress.items == 0 && planned.obstacle == nil)
    let runner = try JobRunner(bench.custody) { (_) in [store] }
    #expect(try await runner.runPending() == 1)
    #expect(try await notes.status().mode == .customerManaged)
    #expect(try await bench.custody.pendingJobs() == [])
    try await Self.check(notes, store, 25)
    #expect(try await runner.runPending() == 0, "nothing is left")
  }

  @Test("E6: a job that can't go on keeps what was in its way, and goes on later")
  func obstacle() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await Self.filled(bench, 5)
    try await notes.enableCustomerKey(try await bench.makeKey())
    try await bench.custody.vaults.removeRule("allow-notes", in: bench.vault)
    let runner = try JobRunner(bench.custody) { (_) in [store] }
    for attempts in 1...2 {
      #expect(try await runner.runPending() == 0)
      let job = try #require(try await bench.custody.pendingJob(for: notes.id))
      #expect(job.obstacle?.reason == "access-denied" && job.obstacle?.attempts == attempts, "\(job)")
    }
    try await bench.grant(try PrincipalID("contoso/notes"))
    #expect(try await runner.runPending() == 1)
    try await Self.check(notes, store, 5)
  }

  @Test("E6: a change that is refused leaves no job that finds nothing to do")
  func refused() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let absent = try bench.uri("absent")
    #expect(await failure { try await notes.enableCustomerKey(absent) } == error(.notFound, .keyUnknown))
    let runner = try JobRunner(bench.custody) { (_) in [] }
    #expect(try await runner.runPending() == 1)
    #expect(try await bench.custody.pendingJobs() == [])
    #expect(try await notes.status().mode == .serviceManaged)
  }

  @Test("E6: a job that is planned again while it is worked on is not over with that", arguments: [false, true])
  func plannedAgain(_ isSeenBefore: Bool) async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await Self.filled(bench, 3)
    try await notes.enableCustomerKey(try await bench.makeKey())
    let runner = try JobRunner(bench.custody) { (resource) throws(KeyCustodyError) in
      try await bench.custody.plan(resource)
      guard isSeenBefore else { return [store] }
      // A sign of life comes between, and meets the plan.
      let before = bench.storeFaults.calls(of: .compareAndSet)
      while bench.storeFaults.calls(of: .compareAndSet) == before {
        bench.clock.advance(by: .seconds(1))
        await Task.yield()
      }
      return [store]
    }
    #expect(try await runner.runPending() == 0)
    #expect(try await notes.status().mode == .customerManaged)
    let job = try #require(try await bench.custody.pendingJob(for: notes.id))
    #expect(job.obstacle == nil)
    let next = try JobRunner(bench.custody) { (_) in [store] }
    #expect(try await next.runPending() == 1, "nobody has it")
    #expect(try await bench.custody.pendingJobs() == [])
    try await Self.check(notes, store, 3)
  }

  @Test("E6: a job that is planned again while it fails is free for the next worker at once")
  func plannedAgainInVain() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await Self.filled(bench, 3)
    try await notes.enableCustomerKey(try await bench.makeKey())
    let failing = try JobRunner(bench.custody) { (resource) throws(KeyCustodyError) in
      try await bench.custody.plan(resource)
      throw down
    }
    #expect(try await failing.runPending() == 0)
    let job = try #require(try await bench.custody.pendingJob(for: notes.id))
    #expect(job.obstacle?.reason == down.reason.rawValue)
    let next = try JobRunner(bench.custody) { (_) in [store] }
    #expect(try await next.runPending() == 1)
    try await Self.check(notes, store, 3)
  }

  @Test("E6: a change whose job a worker takes up before the change is made is finished all the same")
  func takenUpTooEarly() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await Self.filled(bench, 3)
    let key = try await bench.makeKey()
    let (runner, early) = (try JobRunner(bench.custody) { (_) in [store] }, Tally())
    // The proof of the new root key comes after the plan, and before the change is written down.
    bench.hooks.onUnwrap { number in
      if number == 1, (try? await runner.runPending()) == 1 { early.add() }
    }
    try await notes.enableCustomerKey(key)
    bench.hooks.onUnwrap(nil)
    #expect(early.value == 1, "the worker had nothing to do, and forgot the job")
    #expect(try await notes.status().mode == .enabling)
    #expect(try await runner.runPending() == 1)
    #expect(try await notes.status().mode == .customerManaged)
    #expect(try await bench.custody.pendingJobs() == [])
    try await Self.check(notes, store, 3)
  }

  @Test("E6: one job has one worker; another takes it over when that one shows no sign of life")
  func claims() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await Self.filled(bench, 5)
    try await notes.enableCustomerKey(try await bench.makeKey())
    // A worker that stops in the middle: its claim stays.
    let stopped = Gate()
    let first = try JobRunner(bench.custody) { (_) in
      await stopped.pass()
      return [store]
    }
    async let never = first.runPending()
    try await eventually("the first worker does not begin") { stopped.waiters == 1 }
    var settings = JobRunner.Settings()
    settings.interval = .seconds(3600)
    let second = try JobRunner(bench.custody, settings: settings) { (_) in [store] }
    #expect(try await second.runPending() == 0, "it is somebody else's")
    // The first shows signs of life for as long as its clock runs.
    bench.clock.advance(by: .seconds(10))
    try await eventually("no sign of life") {
      try await bench.custody.jobs.read(try JobRecord.path(notes.id))?.claim?.beat == 1
    }
    #expect(try await second.runPending() == 0)
    // Without one for so long, the job is the next one's.
    try await Self.silently(.seconds(29), bench)
    #expect(try await second.runPending() == 0)
    try await Self.silently(.seconds(31), bench)
    #expect(try await second.runPending() == 1)
    stopped.open()
    #expect(try await never == 0, "it is not the first one's any more")
    try await Self.check(notes, store, 5)
  }

  @Test("E6: work is held back to so many items or bytes a second, and catches up on one second at most")
  func pace() async throws {
    let clock = ManualClock()
    let pace = Pace(itemsPerSecond: 2, bytesPerSecond: 100, time: clock)
    let begun = clock.running()
    async let waited: Void = {
      for _ in 0..<10 { try await pace.take(bytes: 1) }
      try await pace.take(bytes: 1000)
      try await pace.take(bytes: 1)
    }()
    for wait in Array(repeating: Duration.milliseconds(500), count: 10) + [.seconds(10)] {
      await clock.waiters(atLeast: 1)
      clock.advance(by: wait)
    }
    try await waited
    #expect(clock.running() - begun == .seconds(15))
    clock.advance(by: .seconds(3600))
    let rested = clock.running()
    async let more: Void = {
      for _ in 0..<5 { try await pace.take(bytes: 1) }
    }()
    for _ in 0..<2 {
      await clock.waiters(atLeast: 1)
      clock.advance(by: .milliseconds(500))
    }
    try await more
    #expect(clock.running() - rested == .seconds(1), "three at once")
  }

  @Test("E6: the job of a resource that was deleted meanwhile ends")
  func deleted() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await Self.filled(bench, 5)
    try await notes.enableCustomerKey(try await bench.makeKey())
    try await bench.custody.deleteResource(notes.id)
    let runner = try JobRunner(bench.custody) { (_) in [store] }
    _ = try await runner.runPending()
    #expect(try await bench.custody.pendingJobs() == [])
  }

  @Test("E6: a store that gives short pages is converted to its end")
  func shortPages() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await Self.filled(bench, 25)
    try await notes.enableCustomerKey(try await bench.makeKey(), converting: [ShortPages(inner: store)])
    try await Self.check(notes, store, 25)
  }

  @Test("E16: progress tells a rate, and what is left at that rate")
  func progress() {
    var progress = JobProgress()
    #expect(progress.rate == nil && progress.remainingSeconds == nil)
    progress.totalItems = 100
    progress.items = 25
    progress.seconds = 5
    #expect(progress.rate == 5 && progress.remainingSeconds == 15)
    progress.items = 120
    #expect(progress.remainingSeconds == 0, "more came in meanwhile")
  }

  // MARK: Upkeep

  @Test("E12: the service's own keys get new versions by age, and every root key goes over to them")
  func serviceKeys() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource("notes")
    let mail = try await bench.makeResource("mail")
    let sealed = try await notes.seal([7], as: "value")
    var report = try await bench.custody.upkeep(rotatingServiceKeysAfter: .seconds(3600))
    #expect(report.resources == 2 && report.rewrapped == 0 && report.failed == 0)
    bench.clock.advance(by: .seconds(3600))
    report = try await bench.custody.upkeep(rotatingServiceKeysAfter: .seconds(3600))
    #expect(report.rewrapped == 12, "two layers of three groups of two resources")
    for layer in Layer.allCases {
      let newest = try await bench.custody.newestServiceKey(layer)
      for resource in [notes, mail] {
        let keys = try await bench.record(resource).rootKeys.filter { $0.layer == layer }
        #expect(keys.allSatisfy { $0.kek == newest })
      }
    }
    #expect(try await notes.open(sealed, as: "value") == [7])
  }

  @Test("E5: the newest version of the customer's key is followed where that was chosen", arguments: [true, false])
  func followed(isVersionGiven: Bool) async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    try await notes.enableCustomerKey(isVersionGiven ? key : key.with(version: nil), converting: [])
    #expect(try await bench.custody.upkeep().followed == 0)
    let newer = try await bench.rotate(key)
    #expect(try await bench.custody.upkeep().followed == (isVersionGiven ? 0 : 1))
    #expect(try await notes.status().key == (isVersionGiven ? key : newer))
  }

  @Test("E13: transient data is under keys of epochs, which are destroyed a lifetime later")
  func epochs() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let old = try await notes.seal([1], as: "message", dataClass: "transient")
    bench.clock.advance(by: .seconds(11 * 3600))
    let same = try await notes.seal([2], as: "message", dataClass: "transient")
    #expect(try SealedHeader(parsing: same).rootKey == SealedHeader(parsing: old).rootKey)
    bench.clock.advance(by: .seconds(2 * 3600))
    let new = try await notes.seal([3], as: "message", dataClass: "transient")
    #expect(try SealedHeader(parsing: new).rootKey != SealedHeader(parsing: old).rootKey, "without upkeep too")
    #expect(try await notes.open(old, as: "message", dataClass: "transient") == [1])
    bench.clock.advance(by: .seconds(23 * 3600))
    #expect(try await bench.custody.upkeep().destroyed == 2, "a key of each layer")
    #expect(
      await failure { _ = try await notes.open(old, as: "message", dataClass: "transient") }?.reason == .unknownRootKey)
    #expect(try await notes.open(new, as: "message", dataClass: "transient") == [3])
    bench.clock.advance(by: .seconds(48 * 3600))
    #expect(try await bench.custody.upkeep().destroyed == 2)
    #expect(try await bench.record(notes).rootKeys.allSatisfy { $0.group != .transient }, "nothing for who is idle")
    let next = try await notes.seal([4], as: "message", dataClass: "transient")
    #expect(try await notes.open(next, as: "message", dataClass: "transient") == [4])
  }

  @Test("E6: a conversion whose job was lost is planned again by upkeep")
  func lostJob() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await Self.filled(bench, 3)
    try await notes.enableCustomerKey(try await bench.makeKey())
    _ = try await bench.custody.jobs.remove(try JobRecord.path(notes.id))
    #expect(try await bench.custody.upkeep().planned == 1)
    let runner = try JobRunner(bench.custody) { (_) in [store] }
    #expect(try await runner.runPending() == 1)
    try await Self.check(notes, store, 3)
  }

  @Test("E12: upkeep is due by the clock too: processes may never run for as long as it takes")
  func upkeepTurns() async throws {
    let bench = try await ServiceBench()
    func turn() async throws -> Bool { try await JobRunner(bench.custody) { (_) in [] }.runUpkeep() != nil }
    #expect(try await turn(), "the first ever")
    #expect(try await !turn())
    bench.clock.advance(by: .seconds(3599))
    #expect(try await !turn())
    bench.clock.advance(by: .seconds(1))
    #expect(try await turn(), "of a process that has just begun")
    #expect(try await !turn())
    let other = try JobRunner(bench.custody) { (_) in [] }
    bench.clock.setWallTime(bench.clock.now() + .seconds(-86_400))
    #expect(try await other.runUpkeep() == nil)
    bench.clock.advance(by: .seconds(3600))
    #expect(try await other.runUpkeep() != nil, "a clock that was set back holds nobody up")
  }

  /// Lets time pass in which nobody can write a sign of life down.
  private static func silently(_ time: Duration, _ bench: ServiceBench) async throws {
    bench.storeFaults.failAlways(.compareAndSet, with: down)
    let before = bench.storeFaults.calls(of: .compareAndSet)
    bench.clock.advance(by: time)
    try await eventually("no sign of life was tried") { bench.storeFaults.calls(of: .compareAndSet) > before }
    bench.storeFaults.reset()
  }

  private static func filled(
    _ bench: ServiceBench, _ count: Int
  ) async throws -> (ProtectedResource, MemorySealedStore) {
    let notes = try await bench.makeResource()
    let store = MemorySealedStore()
    for number in 0..<count {
      let name = "item-\(100 + number)"
      try store.put(try await notes.seal([UInt8(number)], as: name), as: name, of: notes.id)
    }
    return (notes, store)
  }

  private static func check(_ notes: ProtectedResource, _ store: MemorySealedStore, _ count: Int) async throws {
    let status = try await notes.status()
    #expect(status.mode == .customerManaged && status.outgoingRootKeys == 0)
    for number in 0..<count {
      let sealed = try #require(store.get("item-\(100 + number)", of: notes.id))
      #expect(try await notes.open(sealed, as: "item-\(100 + number)") == [UInt8(number)])
    }
  }
}

/// A store that gives three items at a time, whatever is asked for.
private struct ShortPages: SealedStore {
  let inner: MemorySealedStore

  func items(
    of resource: ResourceID, after object: String?, limit: Int
  ) async throws(KeyCustodyError) -> [SealedItem] {
    try await inner.items(of: resource, after: object, limit: min(limit, 3))
  }

  func renew(_ item: SealedItem, _ renewal: SealedRenewal) async throws(KeyCustodyError) {
    try await inner.renew(item, renewal)
  }
}
