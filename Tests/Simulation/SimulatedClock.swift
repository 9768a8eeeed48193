import KeyCustody
import Synchronization

/// A clock that moves to the next moment somebody waits for, when nothing else is left to do.
final class SimulatedClock: TimeSource {
  private struct Waiter {
    let id: Int
    let deadline: Duration
    let continuation: CheckedContinuation<Bool, Never>
  }
  private struct State {
    var running: Duration = .seconds(1000)
    /// How far the wall clock is ahead of running time.
    var offset: Duration = .seconds(1_767_225_600)
    var nextID = 0
    var waiters: [Waiter] = []
    var cancelled: Set<Int> = []
  }
  private let state = Mutex(State())

  func now() -> Timestamp { state.withLock { Timestamp(seconds: 0) + ($0.running + $0.offset) } }
  func running() -> Duration { state.withLock { $0.running } }

  /// Sets the wall clock alone.
  func jump(by duration: Duration) { state.withLock { $0.offset += duration } }

  func wait(until deadline: Duration) async throws(CancellationError) {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    let isOver = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let now: Bool? = state.withLock { state in
          if state.cancelled.remove(id) != nil { return false }
          if deadline <= state.running { return true }
          state.waiters.append(Waiter(id: id, deadline: deadline, continuation: continuation))
          return nil
        }
        if let now { continuation.resume(returning: now) }
      }
    } onCancel: {
      let waiter = state.withLock { state -> Waiter? in
        guard let index = state.waiters.firstIndex(where: { $0.id == id }) else {
          state.cancelled.insert(id)
          return nil
        }
        return state.waiters.remove(at: index)
      }
      waiter?.continuation.resume(returning: false)
    }
    guard isOver, !Task.isCancelled else { throw CancellationError() }
  }

  /// Moves to the next moment that somebody waits for.
  ///
  /// - Returns: whether anybody waited.
  func advanceToNext() -> Bool {
    let due = state.withLock { state -> Waiter? in
      guard
        let index = state.waiters.indices.min(by: { left, right in
          let (a, b) = (state.waiters[left], state.waiters[right])
          return (a.deadline, a.id) < (b.deadline, b.id)
        })
      else { return nil }
      let waiter = state.waiters.remove(at: index)
      state.running = max(state.running, waiter.deadline)
      return waiter
    }
    due?.continuation.resume(returning: true)
    return due != nil
  }
}
