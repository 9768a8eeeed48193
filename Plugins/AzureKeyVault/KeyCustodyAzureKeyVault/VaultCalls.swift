import KeyCustody
import KeyCustodyCrypto
import Synchronization

/// Runs calls to vaults, each to its deadline, until it is closed.
final class VaultCalls: Sendable {
  static let closedError = KeyCustodyError(.unavailable, .closed, "What talks to the vault was closed.")

  private let time: any TimeSource
  private let timeout: Duration
  private let watch: DeadlineWatch
  private let isClosed = Mutex(false)

  /// - Parameter timeout: how long a call may take; an earlier deadline of its context counts.
  init(_ time: any TimeSource, timeout: Duration) {
    self.time = time
    self.timeout = timeout
    watch = DeadlineWatch(time)
  }

  /// Does work by the call's deadline, or the timeout's where that is earlier; the answer is on time though it may hang.
  ///
  /// - Parameter vault: who is asked, as messages have it.
  func run<Result: ~Copyable & Sendable>(
    _ vault: String, _ context: CallContext?,
    _ work: @escaping @Sendable (Duration) async throws(KeyCustodyError) -> sending Result
  ) async throws(KeyCustodyError) -> sending Result {
    guard !isClosed.withLock({ $0 }) else { throw Self.closedError }
    let now = time.running()
    let latest = now + timeout
    let deadline = context?.deadline.map { min($0, latest) } ?? latest
    guard now < deadline else {
      throw KeyCustodyError(
        .timeout, .deadline, "The time allowed for this operation was over before it began; nothing was done.",
        remedy: "Allow more time, or lower the load.")
    }
    let answer = FirstAnswer<Result>()
    // Not this task: a caller who gives up leaves what was begun, and what others wait for, alone.
    let task = Task {
      do throws(KeyCustodyError) { answer.give(try await work(deadline)) } catch {
        answer.give(self.isClosed.withLock { $0 } ? Self.closedError : error)
      }
    }
    defer { task.cancel() }
    return try await answer.take(
      by: deadline, watch,
      late: KeyCustodyError(
        .timeout, .deadline, "The vault '\(vault)' was not done in time; it may have done what was asked.",
        remedy: "Allow more time, or look at why it answers slowly."))
  }

  /// Refuses calls from now on; `false` when that was so before.
  func close() -> Bool { !isClosed.withLock { isClosed in exchange(&isClosed, with: true) } }
}
