import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A moment of the wall clock: milliseconds since 1970-01-01T00:00:00Z.
public struct Timestamp: Sendable, Hashable, Comparable, Codable, CustomStringConvertible {
  /// Milliseconds since 1970, UTC.
  public var milliseconds: Int64

  /// A moment.
  public init(milliseconds: Int64) { self.milliseconds = milliseconds }
  /// A moment, from whole seconds since 1970; what 64 bits can't hold becomes the first or last moment there is.
  public init(seconds: Int64) {
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1000)
    milliseconds = overflow ? (seconds < 0 ? .min : .max) : product
  }
  /// Reads the bare number.
  public init(from decoder: any Decoder) throws {
    milliseconds = try decoder.singleValueContainer().decode(Int64.self)
  }
  /// Writes the bare number.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(milliseconds)
  }

  /// Whole seconds since 1970, rounded down: the unit of JWT and of the Key Vault wire form.
  public var seconds: Int64 { Int64((Double(milliseconds) / 1000).rounded(.down)) }
  /// Earlier before later.
  public static func < (left: Self, right: Self) -> Bool { left.milliseconds < right.milliseconds }
  /// A later (or, with a negative duration, earlier) moment.
  public static func + (moment: Self, duration: Duration) -> Self {
    let parts = duration.components
    let whole = Self(seconds: parts.seconds).milliseconds
    let (sum, overflow) = moment.milliseconds.addingReportingOverflow(whole)
    guard !overflow else { return Self(milliseconds: whole < 0 ? .min : .max) }
    let (exact, beyond) = sum.addingReportingOverflow(parts.attoseconds / 1_000_000_000_000_000)
    return Self(milliseconds: beyond ? sum : exact)
  }
  /// Milliseconds since 1970.
  public var description: String { "\(milliseconds) ms" }
}

/// Where wall time, running time and waiting come from.
///
/// A parameter everywhere, so that tests control it.
public protocol TimeSource: Sendable {
  /// The wall clock: what people and certificates mean by time. It may jump.
  func now() -> Timestamp
  /// Time that only moves forward, from an arbitrary start; what deadlines and leases are counted in.
  func running() -> Duration
  /// Names the start that ``running()`` counts from, where processes share it; `nil` when it is this process's own.
  var runningOrigin: String? { get }
  /// Waits until ``running()`` reaches `deadline`.
  func wait(until deadline: Duration) async throws(CancellationError)
}

extension TimeSource {
  /// None that others share.
  public var runningOrigin: String? { nil }
}

/// The machine's clocks: `CLOCK_REALTIME`, and `CLOCK_BOOTTIME` where a suspended machine keeps counting.
///
/// Running time is exact to a tick of the kernel (1 to 10 ms): within one it may stand still, and never runs ahead.
public struct SystemTime: TimeSource {
  /// The machine's clocks.
  public init() {}
  /// `CLOCK_REALTIME`.
  public func now() -> Timestamp {
    let time = Self.read(CLOCK_REALTIME)
    return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
  }
  /// `CLOCK_BOOTTIME`, read once a tick: counts on through a suspend, so that no lease outlives its deadline asleep by
  /// more than the rest of a tick after waking.
  public func running() -> Duration { .nanoseconds(RunningTime.withinTick()) }
  /// Sleeps on the continuous clock.
  public func wait(until deadline: Duration) async throws(CancellationError) {
    let remaining = deadline - .nanoseconds(RunningTime.exact())
    guard remaining > .zero else { return }
    do { try await Task.sleep(for: remaining) } catch { throw CancellationError() }
    // From here on `running()` answers no less, whatever the tick.
    _ = RunningTime.exact()
  }
  fileprivate static func read(_ clock: clockid_t) -> timespec {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    return time
  }
}

/// Running time in nanoseconds, read exactly once a tick.
///
/// Every use of a lease asks for it, and the exact clock costs as much as a tenth of a short record, a coarse one a
/// quarter of that. A process that `fork` makes goes on with what its parent read: it is the same machine's time.
private enum RunningTime {
  /// The latest exact reading of all; it only grows, whoever comes late.
  private static let latest = Atomic<Int64>(.min)
  /// A tick in or after which ``latest`` was read.
  private static let tick = Atomic<Int64>(.min)

  /// The latest exact reading when it is of this tick, or a new one.
  static func withinTick() -> Int64 {
    let now = nanoseconds(CLOCK_MONOTONIC_COARSE)
    if tick.load(ordering: .acquiring) == now { return latest.load(ordering: .relaxed) }
    // In this order: who finds the tick finds a reading that was made in it.
    let reading = exact()
    tick.store(now, ordering: .releasing)
    return reading
  }

  /// A new exact reading.
  static func exact() -> Int64 {
    let reading = nanoseconds(CLOCK_BOOTTIME)
    latest.max(reading, ordering: .relaxed)
    return reading
  }

  private static func nanoseconds(_ clock: clockid_t) -> Int64 {
    let time = SystemTime.read(clock)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }
}

/// Where random bytes come from.
public protocol RandomSource: Sendable {
  /// Fills a buffer with bytes nobody can predict.
  ///
  /// - Throws: `fault` when the source fails; the buffer must then not be used.
  func fill(_ buffer: inout MutableRawSpan) throws(KeyCustodyError)
}

extension RandomSource {
  /// Fresh random bytes for public use (identifiers, salts, nonces).
  public func bytes(_ count: Int) throws(KeyCustodyError) -> [UInt8] {
    var result = [UInt8](repeating: 0, count: count)
    var span = result.mutableSpan
    var bytes = unsafe span.mutableBytes
    try fill(&bytes)
    return result
  }
  /// Fresh random bytes for secret use.
  public func secret(_ count: Int) throws(KeyCustodyError) -> SecretBytes {
    try SecretBytes(count: count) { (span: inout MutableRawSpan) throws(KeyCustodyError) in try fill(&span) }
  }
}

/// The kernel's generator.
public struct SystemRandom: RandomSource {
  /// The kernel's generator.
  public init() {}
  /// Fills the buffer; the kernel's generator can't run dry once the machine is up.
  ///
  /// - Throws: `fault` where the system lets this process have none of it.
  public func fill(_ buffer: inout MutableRawSpan) throws(KeyCustodyError) {
    let code = unsafe buffer.withUnsafeMutableBytes { bytes -> Int32 in
      // getentropy(3) gives up to 256 bytes at a time.
      for start in stride(from: 0, to: bytes.count, by: 256) {
        let piece = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[start..<min(start + 256, bytes.count)])
        if unsafe getentropy(piece.baseAddress, piece.count) != 0 { return errno }
      }
      return 0
    }
    guard code == 0 else {
      throw KeyCustodyError(
        .fault, .internalFault, "The system gave no random bytes.",
        remedy: "Let the process use getrandom(2): a seccomp filter may forbid it.", diagnostic: "errno \(code)")
    }
  }
}
