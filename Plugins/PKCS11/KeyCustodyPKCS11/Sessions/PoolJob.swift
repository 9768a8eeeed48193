import KeyCustody
import Synchronization

/// A piece of work on its way to a session, and the task that waits for it: no longer than to its deadline, even when
/// the call never comes back.
final class PoolJob: Sendable {
  typealias Waiter = CheckedContinuation<KeyCustodyError?, Never>
  /// The moment, in running time, at which the task stops waiting.
  let deadline: Duration
  /// Runs on a session's thread, leaves its result where the task finds it, and returns what went wrong.
  ///
  /// Throws only for want of a session.
  let work: @Sendable (inout SessionCaller, PoolJob) throws(PKCS11Failure) -> KeyCustodyError?

  private enum State {
    case new
    case waiting(Waiter)
    case answered
  }
  private let state = Mutex(State.new)

  init(
    deadline: Duration,
    _ work: @escaping @Sendable (inout SessionCaller, PoolJob) throws(PKCS11Failure) -> KeyCustodyError?
  ) {
    self.deadline = deadline
    self.work = work
  }

  /// Whether somebody still waits.
  var isWanted: Bool { state.withLock { if case .answered = $0 { false } else { true } } }

  /// Lets a task wait.
  func wait(_ waiter: Waiter) { state.withLock { $0 = .waiting(waiter) } }

  /// Answers the task; only the first answer counts.
  func answer(_ error: KeyCustodyError?) {
    let waiter = state.withLock { state -> Waiter? in
      defer { state = .answered }
      guard case .waiting(let waiter) = state else { return nil }
      return waiter
    }
    waiter?.resume(returning: error)
  }
}

/// Where work leaves its result for the task that waits for it.
///
/// A result that nobody takes is destroyed with the box, a secret cleared.
final class ResultBox<Value: ~Copyable & Sendable>: Sendable {
  private let value = Mutex<Value?>(nil)

  func put(_ new: consuming Value) {
    var new = Optional(new)
    value.withLock { $0 = new.take() }
  }

  func take() -> Value? { value.withLock { $0.take() } }
}
