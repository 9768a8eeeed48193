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
  @Test("What is free is lent; who comes later waits in order; who waits too long or is too many leaves")
  func rules() {
    var state = LendingState<Int, String>(idle: [1], queueLimit: 2)
    guard case .lend(1) = state.enter(1, "a") else { return #expect(Bool(false), "the free item was not lent") }
    guard case .wait = state.enter(2, "b"), case .wait = state.enter(3, "c"),
      case .refuse(let error) = state.enter(4, "d")
    else { return #expect(Bool(false), "the queue takes two") }
    #expect(error.code == .busy && error.retryAfter != nil)
    #expect(state.leave(2) == "b")
    #expect(state.leave(2) == nil)
    #expect(state.give(back: 1) == "c")
    #expect(state.lent == 1)
    #expect(state.give(back: 1) == nil)
    #expect(state.lent == 0)
    #expect(state.takeIdle() == 1)
    guard case .wait = state.enter(5, "e") else { return #expect(Bool(false), "nothing is free") }
    #expect(state.close() == ["e"])
    #expect(state.give(back: 1) == nil)
    #expect(state.takeIdle() == nil)
    guard case .refuse(let closed) = state.enter(6, "f") else { return #expect(Bool(false), "closed") }
    #expect(closed == KeyCustodyError(.unavailable, .closed, ""))
  }

  /// Holds the only session of a provider until it is told to let go.
  final class Holder: Sendable {
    private let gate = Gate()
    private let task: Task<Void, any Error>

    init(_ provider: PKCS11KeyProvider) async throws {
      let started = AsyncStream.makeStream(of: Void.self)
      task = Task { [gate] in
        try await provider.perform(Backends.context) { _ throws(PKCS11Failure) in
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
    await clock.waiters(atLeast: 1)
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
