/// A password that the server refused, and how long it is not shown again.
package struct RefusedPassword: Sendable {
  /// Tells it from another one.
  package let digest: [UInt8]
  /// How long it is not shown; `nil`: until it is another one.
  package let pause: Duration?
  private let moment: ContinuousClock.Instant

  /// Remembers a refusal.
  ///
  /// - Parameter earlier: the same password's refusal before: who checks passwords elsewhere may lock its owner out, so
  ///   that it is shown half as often each time.
  package init(_ digest: [UInt8], after earlier: RefusedPassword?, isForGood: Bool, at moment: ContinuousClock.Instant)
  {
    self.digest = digest
    self.moment = moment
    pause = isForGood ? nil : min((earlier?.pause ?? .seconds(30)) * 2, .seconds(3600))
  }

  /// Whether it is not shown yet.
  package func isKept(at now: ContinuousClock.Instant) -> Bool { pause.map { now < moment + $0 } ?? true }
}
