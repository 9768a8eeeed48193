import KeyCustody
import Synchronization

/// Answers requests whose time is over though what they wait for hangs.
///
/// One task looks after all of them: a timer for each would cost more than many of them do.
final class Watch: Sendable {
  private struct Watched {
    let deadline: Duration
    let expire: @Sendable () -> Void
  }
  private struct State {
    var watched: [UInt64: Watched] = [:]
    var next: UInt64 = 0
    var isLooking = false
  }
  private let state = Mutex(State())
  private let time: any TimeSource
  private static let interval = Duration.milliseconds(100)

  init(time: any TimeSource) { self.time = time }

  /// Runs `work` and gives its answer; where that comes too late, `work` itself goes on.
  ///
  /// - Parameter executor: where `work` runs; `nil` for anywhere.
  /// - Throws: `timeout` (`deadline`).
  func answer<Answer: Sendable>(
    by deadline: Duration, on executor: (any TaskExecutor)?, _ work: @escaping @Sendable () async -> Answer
  ) async throws(KeyCustodyError) -> Answer {
    let answer = FirstAnswer<Answer>()
    let number = state.withLock { state in
      state.next += 1
      state.watched[state.next] = Watched(deadline: deadline) { answer.give(Self.late) }
      if !state.isLooking {
        state.isLooking = true
        Task { await look() }
      }
      return state.next
    }
    defer { state.withLock { _ = $0.watched.removeValue(forKey: number) } }
    Task.immediate(executorPreference: executor) { answer.give(await work()) }
    return try await answer.take()
  }

  private static let late = KeyCustodyError(
    .timeout, .deadline, "The time allowed for this request was over before it was done.",
    remedy: "Look at the result before repeating; the vault's backends answer slowly, or not at all.")

  private func look() async {
    while state.withLock({ state in
      state.isLooking = !state.watched.isEmpty
      return state.isLooking
    }) {
      let now = time.running()
      for watched in state.withLock({ $0.watched.values.filter { $0.deadline <= now } }) {
        watched.expire()
      }
      do { try await time.wait(until: time.running() + Self.interval) } catch {
        // The next request begins it again.
        return state.withLock { $0.isLooking = false }
      }
    }
  }
}
