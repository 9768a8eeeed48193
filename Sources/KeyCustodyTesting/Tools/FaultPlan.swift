public import KeyCustody
import Synchronization

/// Which calls of which operations fail, and how: shared by a faulting wrapper and the test that steers it.
///
/// Calls of each operation are counted from 1. To try a whole scenario with a fault at every point, count its calls in a
/// first run without faults (``calls(of:)``), then run it once for each call with ``fail(_:call:_:with:)``.
public final class FaultPlan<Operation: Hashable & Sendable>: Sendable {
  /// When a call fails.
  public enum Moment: Sendable, Hashable {
    /// Before the backend is asked: nothing happened.
    case before
    /// After the backend has done it: the answer is lost.
    case after
  }
  private struct Fault {
    var operation: Operation?
    var calls: PartialRangeFrom<Int>
    var count: Int
    var moment: Moment
    var error: KeyCustodyError
  }
  private struct State {
    var faults: [Fault] = []
    var calls: [Operation: Int] = [:]
  }
  private let state = Mutex(State())
  private let faults: FaultSwitch?

  /// A plan without faults.
  ///
  /// - Parameter faults: makes the kit's faults too, for a backend that stands on the provider or store wrapped.
  public init(_ faults: FaultSwitch? = nil) { self.faults = faults }

  /// Lets the `call`th call of an operation fail (the first is 1), counted from the plan's beginning or last ``reset()``.
  public func fail(_ operation: Operation, call: Int, _ moment: Moment = .before, with error: KeyCustodyError) {
    state.withLock {
      $0.faults.append(Fault(operation: operation, calls: call..., count: 1, moment: moment, error: error))
    }
  }

  /// Lets the next `count` calls of an operation fail.
  public func failNext(
    _ operation: Operation, count: Int = 1, _ moment: Moment = .before, with error: KeyCustodyError
  ) {
    state.withLock { state in
      let next = state.calls[operation, default: 0] + 1
      state.faults.append(Fault(operation: operation, calls: next..., count: count, moment: moment, error: error))
    }
  }

  /// Lets every call fail, of one operation or (`nil`) of all, until ``reset()``.
  public func failAlways(_ operation: Operation? = nil, _ moment: Moment = .before, with error: KeyCustodyError) {
    state.withLock {
      $0.faults.append(Fault(operation: operation, calls: 1..., count: .max, moment: moment, error: error))
    }
  }

  /// Forgets every fault and starts counting again.
  public func reset() { state.withLock { $0 = State() } }

  /// How many calls of an operation there were.
  public func calls(of operation: Operation) -> Int { state.withLock { $0.calls[operation, default: 0] } }

  /// Counts a call and says what it is to fail with, before and after the inner call; waits where it is to hang.
  func enter(_ operation: Operation, grows: Bool = false) async -> (before: KeyCustodyError?, after: KeyCustodyError?) {
    switch await faults?.enterSuspending(grows: grows) {
    case .fail: return (KeyCustodyError(.unavailable, .unreachable, "What lies beneath does not work."), nil)
    case .workThenFail: return (nil, KeyCustodyError(.timeout, .unreachable, "The answer from beneath was lost."))
    case nil, .work, .lookEmpty, .corrupt, .cut, .logOut: break
    }
    return state.withLock { state in
      let call = state.calls[operation, default: 0] + 1
      state.calls[operation] = call
      let hits = state.faults.filter { fault in
        (fault.operation ?? operation) == operation && fault.calls.contains(call)
          && call - fault.calls.lowerBound < fault.count
      }
      return (hits.first { $0.moment == .before }?.error, hits.first { $0.moment == .after }?.error)
    }
  }

  /// Counts a call, fails where the plan says so, else does the work.
  func run<Value: ~Copyable>(
    _ operation: Operation, grows: Bool = false, _ body: () async throws(KeyCustodyError) -> Value
  ) async throws(KeyCustodyError) -> Value {
    let faults = await enter(operation, grows: grows)
    if let error = faults.before { throw error }
    let value = try await body()
    if let error = faults.after { throw error }
    return value
  }
}
