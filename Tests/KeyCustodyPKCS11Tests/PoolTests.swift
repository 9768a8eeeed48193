import KeyCustody
import KeyCustodyTestSupport
import KeyCustodyTesting
import Synchronization
import Testing

@testable import KeyCustodyPKCS11

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

@Suite("Lending sessions")
struct PoolTests {
  final class Thing {
    let name: String
    init(_ name: String) { self.name = name }
  }

  @Test("What is free is used; who comes later waits in order; who waits too long or is too many leaves")
  func rules() {
    var state = PoolState<Thing, Thing>(limit: 1, lateLimit: 1, queueLimit: 2)
    let jobs = ["a", "b", "c", "d", "e", "f"].map(Thing.init)
    let worker = Thing("worker")
    guard case .start = state.add(jobs[0], deadline: .seconds(9), at: .zero) else {
      _ = Issue.record("no worker"); return
    }
    // Its thread does not run yet, and it counts all the same.
    #expect(!state.isQuiet && state.nextDeadline == .seconds(9))
    _ = state.takeWaiting(for: worker)
    guard case .wait = state.add(jobs[1], deadline: .seconds(5), at: .zero),
      case .wait = state.add(jobs[2], deadline: .seconds(7), at: .zero),
      case .refuse(let error) = state.add(jobs[3], deadline: .seconds(7), at: .zero)
    else { _ = Issue.record("the queue takes two"); return }
    #expect(error.code == .busy && error.retryAfter != nil)
    #expect(state.nextDeadline == .seconds(5))
    let left = [state.leave(jobs[1]), state.leave(jobs[1])]
    #expect(left == [true, false])
    guard case .run(let next) = state.finish(worker) else { _ = Issue.record("somebody waits"); return }
    #expect(next === jobs[2])
    guard case .rest = state.finish(worker) else { _ = Issue.record("nobody waits"); return }
    #expect(state.isQuiet && state.alive == 1)
    guard case .run(let lent) = state.add(jobs[4], deadline: .seconds(9), at: .zero) else {
      _ = Issue.record("the worker rests"); return
    }
    #expect(lent === worker)
    state.begin(jobs[4], deadline: .seconds(9), on: worker)
    guard case .wait = state.add(jobs[5], deadline: .seconds(9), at: .zero) else {
      _ = Issue.record("nothing is free"); return
    }
    let closedJobs = state.close().jobs.map(\.name)
    #expect(closedJobs == ["f"])
    guard case .end = state.finish(worker) else { _ = Issue.record("closed"); return }
    guard case .refuse(let closed) = state.add(jobs[5], deadline: .seconds(9), at: .zero) else {
      _ = Issue.record("closed"); return
    }
    #expect(closed == KeyCustodyError(.unavailable, .closed, ""))
  }

  @Test("A worker that does not come back is replaced, as often as the limit says, and rejoins or ends when it does")
  func lateWorkers() {
    var state = PoolState<Thing, Thing>(limit: 1, lateLimit: 1, queueLimit: 2)
    let jobs = ["a", "b", "c"].map(Thing.init)
    let workers = ["v", "w"].map(Thing.init)
    _ = state.add(jobs[0], deadline: .seconds(1), at: .zero)
    _ = state.takeWaiting(for: workers[0])
    _ = state.add(jobs[1], deadline: .seconds(9), at: .zero)
    let overdue = state.overdue(at: .seconds(1))
    #expect(overdue.running.map(\.name) == ["a"] && overdue.waited.isEmpty && overdue.starts == 1)
    guard case .run(let second) = state.takeWaiting(for: workers[1]) else { _ = Issue.record("one waits"); return }
    #expect(second === jobs[1])
    #expect((state.alive, state.late) == (1, 1))
    let later = state.overdue(at: .seconds(9)).running.map(\.name)
    #expect(later == ["b"])
    #expect((state.alive, state.late) == (0, 2))
    guard case .refuse(let error) = state.add(jobs[2], deadline: .seconds(20), at: .seconds(9)) else {
      _ = Issue.record("nobody is left"); return
    }
    #expect(error == KeyCustodyError(.unavailable, PKCS11SessionPool.hanging, "") && error.retryAfter != nil)
    guard case .rest = state.finish(workers[0]) else { _ = Issue.record("there is room for it"); return }
    guard case .end = state.finish(workers[1]) else { _ = Issue.record("there is no room for it"); return }
    #expect((state.alive, state.late) == (1, 0))
  }

  @Test("A worker for which the token has no session leaves its work to the others, and later there is another")
  func noSession() {
    var state = PoolState<Thing, Thing>(limit: 2, lateLimit: 2, queueLimit: 2)
    let jobs = ["a", "b", "c"].map(Thing.init)
    let workers = ["v", "w"].map(Thing.init)
    for (job, worker) in zip(jobs, workers) {
      guard case .start = state.add(job, deadline: .seconds(9), at: .zero) else {
        _ = Issue.record("no worker"); return
      }
      _ = state.takeWaiting(for: worker)
    }
    let first = state.giveUp(workers[1], at: .zero)
    #expect(first.rescuer == nil && first.stranded.isEmpty && state.waiting == 1 && state.alive == 1)
    // Nobody is left: all are told.
    let second = state.giveUp(workers[0], at: .zero)
    #expect(second.rescuer == nil && second.stranded.map(\.name) == ["a", "b"])
    guard case .start = state.add(jobs[2], deadline: .seconds(9), at: .zero) else {
      _ = Issue.record("nobody is left"); return
    }
  }

  /// Holds the only session of a provider until it is told to let go.
  final class Holder: Sendable {
    private let gate = Gate()
    private let task: Task<Void, any Error>

    init(_ provider: PKCS11KeyProvider) async throws {
      let started = AsyncStream.makeStream(of: Void.self)
      task = Task { [gate] in
        try await provider.perform(CallContext(purpose: .probe, deadline: .seconds(1_000_000_000))) {
          _ throws(PKCS11Failure) in
          started.continuation.yield()
          gate.wait()
        }
      }
      for await _ in started.stream { break }
    }

    func end() async throws {
      gate.open()
      try await task.value
    }
  }

  /// Blocks a session's thread, as a slow device does.
  final class Gate: Sendable {
    private let isOpen = Mutex(false)
    func open() { isOpen.withLock { $0 = true } }
    func wait() { while !isOpen.withLock({ $0 }) { sched_yield() } }
  }

  @Test("E4: a waiter whose deadline passes gets timeout, and its work is never begun")
  func deadline() async throws {
    let token = try await SoftHSM.makeToken()
    let clock = ManualClock()
    let provider = try await Backends.keys(token, sessions: 1, environment: RuntimeEnvironment(time: clock))
    let holder = try await Holder(provider)
    let late = KeyCustodyError(.timeout, .deadline, "")
    // Passed already: nothing waits.
    await #expect(throws: late) {
      try await provider.probe(nil, context: CallContext(purpose: .probe, deadline: clock.running()))
    }
    let waiting = Task {
      try await provider.probe(
        nil, context: CallContext(purpose: .probe, deadline: clock.running() + .seconds(5)))
    }
    while provider.pool.waiting == 0 { await Task.yield() }
    clock.advance(by: .seconds(6))
    await #expect(throws: late) { try await waiting.value }
    try await holder.end()
    try await provider.probe(nil, context: Backends.context)
    await provider.close()
  }

  @Test("A waiter that is cancelled leaves the queue")
  func cancelled() async throws {
    try await Backends.withKeys(sessions: 1) { provider, _ in
      let holder = try await Holder(provider)
      let waiting = Task { try await provider.probe(nil, context: Backends.context) }
      waiting.cancel()
      await #expect(throws: KeyCustodyError(.timeout, .init("cancelled"), "")) { try await waiting.value }
      try await holder.end()
      try await provider.probe(nil, context: Backends.context)
    }
  }

  @Test("Closing lets running work end, answers those who wait, and refuses what comes")
  func closing() async throws {
    let provider = try await Backends.keys(try await SoftHSM.makeToken(), sessions: 1)
    let holder = try await Holder(provider)
    let closing = Task { await provider.close() }
    let closed = KeyCustodyError(.unavailable, .closed, "")
    // Waiting or coming too late: either way the answer is the same.
    await #expect(throws: closed) { try await provider.probe(nil, context: Backends.context) }
    try await holder.end()
    await closing.value
    await provider.close()
    await #expect(throws: closed) { try await provider.probe(nil, context: Backends.context) }
  }

  @Test("A session closed behind the provider's back is opened anew and the call succeeds")
  func lostSession() async throws {
    try await Backends.withKeys(sessions: 1) { provider, _ in
      let key = try await provider.make(.aes(bits: 256), .wrapping)
      let secret = try SystemRandom().secret(32)
      let wrapped = try await provider.wrap(secret, key, .aes256KW)
      _ = try await provider.perform(Backends.context) { (session) throws(PKCS11Failure) in session.close() }
      let isSame = try await provider.unwrap(wrapped, key, .aes256KW).isEqual(to: secret)
      #expect(isSame)
    }
  }
}
