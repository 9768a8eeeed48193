import Synchronization

/// Until when a root key may be used, and from when on a use should have its lease renewed: what every plain call looks
/// at, so without a lock.
final class LeaseTerms: Sendable {
  private let deadline = Atomic<Int64>(LeaseTerms.none)
  private let renewal = Atomic<Int64>(.max)
  private let renew = Mutex<(@Sendable () -> Void)?>(nil)

  func extend(until deadline: Duration, renewal: Duration, renew: @escaping @Sendable () -> Void) {
    self.renew.withLock { $0 = renew }
    self.renewal.store(Self.ticks(renewal), ordering: .releasing)
    self.deadline.store(Self.ticks(deadline), ordering: .releasing)
  }

  func suspend() { deadline.store(Self.suspended, ordering: .releasing) }

  /// Whether its access must be checked before the key is used once more.
  var isSuspended: Bool { deadline.load(ordering: .acquiring) == Self.suspended }

  /// Whether there is or was a lease.
  var isGranted: Bool { deadline.load(ordering: .acquiring) != Self.none }

  /// Whether the lease lives at `now`, in ``ticks(_:)``; has it renewed when it is time.
  @inline(__always)
  func isLiving(at now: Int64) -> Bool {
    guard now < deadline.load(ordering: .acquiring) else { return false }
    let due = renewal.load(ordering: .relaxed)
    if now > due { askForRenewal(at: now, due) }
    return true
  }

  /// One of those who come now has it renewed; the others go on, and try again when it should have been done.
  private func askForRenewal(at now: Int64, _ due: Int64) {
    if renewal.compareExchange(expected: due, desired: now + Self.pause, ordering: .relaxed).exchanged {
      renew.withLock { $0 }?()
    }
  }

  /// Deadlines that no time comes before: of a lease that is suspended, and of a key that has none.
  private static let suspended = Int64.min
  private static let none = Int64.min + 1
  private static let pause = ticks(.seconds(1))

  /// Running time in units of 2^30 attoseconds, about a nanosecond: 64 bits hold three centuries, and no division is
  /// needed.
  static func ticks(_ time: Duration) -> Int64 { Int64(clamping: time.attoseconds >> 30) }
}
