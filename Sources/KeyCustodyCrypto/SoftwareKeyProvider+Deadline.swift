import KeyCustody
import Synchronization

extension SoftwareKeyProvider {
  /// Runs blocking work, unless its time is over when its turn comes; answers by the deadline though the work may hang.
  func run<Result: ~Copyable & Sendable>(
    _ lane: SoftwareKeyWorkers.Lane, _ context: CallContext?,
    _ work: @escaping @Sendable () throws(KeyCustodyError) -> sending Result
  ) async throws(KeyCustodyError) -> sending Result {
    guard let deadline = context?.deadline else {
      return try await workers.run(lane) { () throws(KeyCustodyError) in
        try self.begin(nil, context)
        return try self.health.observe(work)
      }
    }
    let answer = FirstAnswer<Result>()
    // Nobody waits for the work itself, which may never end.
    workers.perform(lane) {
      do throws(KeyCustodyError) {
        try self.begin(nil, context)
        answer.give(try self.health.observe(work))
      } catch { answer.give(error) }
    }
    return try await answer.take(
      by: deadline, watch,
      late: KeyCustodyError(
        .timeout, .deadline, "The time allowed for this operation was over before it was done.",
        remedy: "Look at what the keys are kept in: it answers slowly, or not at all."))
  }
}

/// Tells when a store stops answering, and when it answers again.
final class SoftwareKeyHealth: Sendable {
  private let isAway = Mutex(false)
  private let broadcaster: EventBroadcaster<KeyProviderEvent>

  init(_ broadcaster: EventBroadcaster<KeyProviderEvent>) { self.broadcaster = broadcaster }

  /// Does work, and tells of what it shows.
  func observe<Result: ~Copyable>(
    _ work: () throws(KeyCustodyError) -> sending Result
  ) throws(KeyCustodyError) -> sending Result {
    do throws(KeyCustodyError) {
      let result = try work()
      if isAway.withLock({ isAway in exchange(&isAway, with: false) }) { broadcaster.send(.available) }
      return result
    } catch {
      let isUnreachable = error.code == .unavailable && error.reason == .unreachable
      if isUnreachable, !isAway.withLock({ isAway in exchange(&isAway, with: true) }) {
        broadcaster.send(.unavailable(reason: error.message))
      }
      throw error
    }
  }
}
