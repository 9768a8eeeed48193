import Synchronization

/// Tells many who wait when their deadlines have come, by one timer for all of them.
///
/// A timer that is cancelled stays with the system until its time, and costs as much as the shortest work: most work is
/// done long before its deadline, so that one timer serves thousands.
package final class DeadlineWatch: Sendable {
  private struct State {
    var waiting: [UInt64: (deadline: Duration, tell: @Sendable () -> Void)] = [:]
    var next: UInt64 = 0
    /// When the timer ends; `nil`: there is none.
    var timer: (end: Duration, number: UInt64)?
    /// How many timers there were.
    var timers: UInt64 = 0
  }
  private let state = Mutex(State())
  private let time: any TimeSource

  /// A watch by that clock.
  package init(_ time: any TimeSource) { self.time = time }

  /// Has somebody told at a deadline, unless they are removed before; answers what to remove.
  package func add(_ deadline: Duration, _ tell: @escaping @Sendable () -> Void) -> UInt64 {
    state.withLock { state in
      state.next += 1
      state.waiting[state.next] = (deadline, tell)
      if state.timer.map({ deadline < $0.end }) ?? true { start(deadline, &state) }
      return state.next
    }
  }

  /// Has nobody told any more.
  package func remove(_ entry: UInt64) {
    // What it holds goes outside the lock.
    _ = state.withLock { $0.waiting.removeValue(forKey: entry) }
  }

  /// Starts a timer; one that ends later comes to nothing.
  private func start(_ end: Duration, _ state: inout State) {
    state.timers += 1
    let number = state.timers
    state.timer = (end, number)
    Task { [weak self, time] in
      let isOver = (try? await time.wait(until: end)) != nil
      self?.ended(number, isOver: isOver)
    }
  }

  private func ended(_ number: UInt64, isOver: Bool) {
    // A clock that does not wait is asked again by whoever comes next.
    guard isOver else { return state.withLock { if $0.timer?.number == number { $0.timer = nil } } }
    let now = time.running()
    let late = state.withLock { state -> [@Sendable () -> Void] in
      let late = state.waiting.filter { $0.value.deadline <= now }
      for entry in late.keys { state.waiting[entry] = nil }
      if state.timer?.number == number {
        if let next = state.waiting.values.map(\.deadline).min() { start(next, &state) } else { state.timer = nil }
      }
      return late.values.map(\.tell)
    }
    for tell in late { tell() }
  }
}
