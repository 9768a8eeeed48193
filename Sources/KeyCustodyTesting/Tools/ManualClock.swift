public import KeyCustody
import Synchronization

/// A clock that stands still until it is moved.
///
/// Wall time and running time move together by ``advance(by:)``; ``setWallTime(_:)`` moves the wall time alone, as a
/// person does who sets a machine's clock. Whoever waits is resumed in the order of the deadlines, and only by
/// ``advance(by:)``: a test that waits for ``waiters(atLeast:)`` first is deterministic.
public final class ManualClock: TimeSource {
  private struct Waiter {
    let id: Int
    let deadline: Duration
    let continuation: CheckedContinuation<Void, any Error>
  }
  private struct Observer {
    let count: Int
    let continuation: CheckedContinuation<Void, Never>
  }
  private struct State {
    var wall: Timestamp
    var running: Duration
    var nextID = 0
    var waiters: [Waiter] = []
    var cancelled: Set<Int> = []
    var observers: [Observer] = []
  }
  private let state: Mutex<State>

  /// A clock that shows `wall` (unless told otherwise 2026-01-01T00:00:00Z) and has been running for `running`.
  public init(wall: Timestamp = Timestamp(seconds: 1_767_225_600), running: Duration = .seconds(1000)) {
    state = Mutex(State(wall: wall, running: running))
  }

  /// The wall time set.
  public func now() -> Timestamp { state.withLock { $0.wall } }
  /// The running time set.
  public func running() -> Duration { state.withLock { $0.running } }

  /// How many are waiting.
  public var waiterCount: Int { state.withLock { $0.waiters.count } }

  /// Moves the wall time alone, in either direction.
  public func setWallTime(_ moment: Timestamp) { state.withLock { $0.wall = moment } }

  /// Moves both times forward and resumes whoever waited for a moment up to the new one.
  public func advance(by duration: Duration) {
    precondition(duration >= .zero, "Running time only moves forward.")
    let due = state.withLock { state -> [Waiter] in
      state.wall = state.wall + duration
      state.running += duration
      let running = state.running
      let due = state.waiters.filter { $0.deadline <= running }.sorted { ($0.deadline, $0.id) < ($1.deadline, $1.id) }
      state.waiters.removeAll { $0.deadline <= running }
      return due
    }
    for waiter in due { waiter.continuation.resume() }
  }

  /// Waits until ``running()`` has been moved to `deadline`.
  public func wait(until deadline: Duration) async throws(CancellationError) {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    do {
      try await withTaskCancellationHandler {
        try await withCheckedThrowingContinuation { continuation in
          enter(Waiter(id: id, deadline: deadline, continuation: continuation))
        }
      } onCancel: {
        cancel(id)
      }
    } catch {
      throw CancellationError()
    }
  }

  /// Waits until at least so many are waiting for this clock.
  public func waiters(atLeast count: Int) async {
    await withCheckedContinuation { continuation in
      let isThere = state.withLock { state in
        if state.waiters.count >= count { return true }
        state.observers.append(Observer(count: count, continuation: continuation))
        return false
      }
      if isThere { continuation.resume() }
    }
  }

  private func enter(_ waiter: Waiter) {
    enum Entry { case reached, cancelled, waiting([Observer]) }
    let entry = state.withLock { state -> Entry in
      if state.cancelled.remove(waiter.id) != nil { return .cancelled }
      if waiter.deadline <= state.running { return .reached }
      state.waiters.append(waiter)
      let count = state.waiters.count
      let satisfied = state.observers.filter { $0.count <= count }
      state.observers.removeAll { $0.count <= count }
      return .waiting(satisfied)
    }
    switch entry {
    case .reached: waiter.continuation.resume()
    case .cancelled: waiter.continuation.resume(throwing: CancellationError())
    case .waiting(let observers): for observer in observers { observer.continuation.resume() }
    }
  }

  private func cancel(_ id: Int) {
    let waiter = state.withLock { state -> Waiter? in
      guard let index = state.waiters.firstIndex(where: { $0.id == id }) else {
        state.cancelled.insert(id)
        return nil
      }
      return state.waiters.remove(at: index)
    }
    waiter?.continuation.resume(throwing: CancellationError())
  }
}
