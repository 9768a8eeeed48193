import KeyCustody
import Synchronization

/// Holds work back to so many items and bytes a second.
final class Pace: Sendable {
  private let time: any TimeSource
  private let itemsPerSecond: Double?
  private let bytesPerSecond: Double?
  /// Until when what was let through takes at this pace.
  private let due: Mutex<Duration>
  /// How much may come at once after a pause.
  private static var burst: Duration { .seconds(1) }

  init(itemsPerSecond: Int?, bytesPerSecond: Int64?, time: any TimeSource) {
    self.time = time
    self.itemsPerSecond = itemsPerSecond.map { Double(max($0, 1)) }
    self.bytesPerSecond = bytesPerSecond.map { Double(max($0, 1)) }
    due = Mutex(time.running())
  }

  /// Waits until one more item of that size may be worked on.
  func take(bytes: Int64) async throws(KeyCustodyError) {
    let cost = max(itemsPerSecond.map { 1 / $0 } ?? 0, bytesPerSecond.map { Double(bytes) / $0 } ?? 0)
    guard cost > 0 else { return }
    let now = time.running()
    let start = due.withLock { due in
      due = max(due, now - Self.burst) + .seconds(cost)
      return due - .seconds(cost)
    }
    guard start > now else { return }
    do { try await time.wait(until: start) } catch { throw KeyCustodyError.jobEnded }
  }
}

extension KeyCustodyError {
  /// The worker was told to end.
  static var jobEnded: KeyCustodyError {
    KeyCustodyError(
      .unavailable, .closed, "The conversion was ended before it was over.",
      remedy: "Resume it: 'keycustody resource resume', or let the service's jobs run.")
  }
}
