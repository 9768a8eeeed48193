#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// How long a write of the audit log waits for others to share it.
///
/// A write costs the disk and the processor much the same for one caller as for ten. Where several came at once the last
/// time, and that is not long ago, more are likely to be on their way: the next write waits for them as long as the last
/// one took. Whoever is alone does not wait.
struct CommitPace: Sendable {
  /// The longest that is waited.
  static let longest = Duration.milliseconds(1)
  /// For how long it counts that several came at once.
  static let memory = Duration.milliseconds(10)
  /// How long the last write took, where several waited for it.
  private var shared: Duration?
  private var end = Duration.zero

  /// How long a write that begins now is to wait; `nil` for not at all.
  func delay(at now: Duration) -> Duration? { now - end < Self.memory ? shared : nil }

  /// Learns from a write that has just ended.
  ///
  /// - Parameter callers: how many waited for it.
  mutating func wrote(for callers: Int, in duration: Duration, at end: Duration) {
    shared = callers > 1 && duration > .zero ? min(duration, Self.longest) : nil
    self.end = end
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
      // Unsafe for its pointer alone, to a time that outlives the call.
      unsafe nanosleep(&rest, nil)
    })
}
