import KeyCustody

/// Whether calls go to a token at all: after it failed they are answered at once, until a repair succeeds.
///
/// Repairs wait ever longer, up to a second: short enough for full service soon after the token is back, long enough to
/// leave a broken one alone.
struct CircuitBreaker: Sendable {
  private var failures = 0
  /// Why the token can't be used, and when it is tried again.
  private(set) var open: (cause: KeyCustodyError, until: Duration)?

  private static let first: Duration = .milliseconds(50)
  private static let longest: Duration = .seconds(1)

  /// What a call is told now; `nil` when it may go on.
  func refusal(at now: Duration) -> KeyCustodyError? {
    guard let open else { return nil }
    let wait = max(open.until - now, .milliseconds(10))
    let cause = open.cause
    return KeyCustodyError(
      cause.code, cause.reason, cause.message, remedy: cause.remedy,
      retryAfter: cause.code == .unavailable ? wait : nil,
      diagnostic: cause.diagnostic)
  }

  /// Notes a repair that failed.
  mutating func fail(_ cause: KeyCustodyError, at now: Duration) {
    let wait = min(Self.longest, Self.first * (1 << min(failures, 5)))
    failures += 1
    open = (cause, now + wait)
  }

  /// Notes that the token works.
  mutating func reset() { self = Self() }
}
