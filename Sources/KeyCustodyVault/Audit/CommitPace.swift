#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// How long a write of the audit log waits for others to share it.
///
/// A write costs the disk and the processor much the same for one caller as for ten. Where several came at once the last
/// time, more are likely to be on their way: the next write waits for them as long as the last one took. Whoever is
/// alone never waits.
struct CommitPace: Sendable {
  /// The longest that is waited.
  static let longest = Duration.milliseconds(1)
  /// How long the next write is to wait; `nil` for not at all.
  private(set) var delay: Duration?

  /// Learns from a write.
  ///
  /// - Parameter callers: how many waited for it.
  mutating func wrote(for callers: Int, in duration: Duration) {
    delay = callers > 1 && duration > .zero ? min(duration, Self.longest) : nil
  }
}

/// The time that writes of the audit log take, finer than a ``TimeSource`` tells it.
struct CommitStopwatch: Sendable {
  /// The time since some moment.
  var now: @Sendable () -> Duration
  /// Holds the calling thread up, which must be one that may block.
  var pause: @Sendable (Duration) -> Void

  /// The system's.
  static let system = CommitStopwatch(
    now: {
      var time = timespec()
      unsafe clock_gettime(CLOCK_MONOTONIC, &time)
      return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    },
    pause: { duration in
      var rest = timespec(
        tv_sec: 0, tv_nsec: Int(min(duration, CommitPace.longest).components.attoseconds / 1_000_000_000))
      unsafe nanosleep(&rest, nil)
    })
}
