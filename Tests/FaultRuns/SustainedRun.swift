import KeyCustody
import KeyCustodyTestSupport

/// A load for a while on a token that stumbles, forgets its sessions and its login, and vanishes.
struct SustainedRun {
  let options: Options

  /// One call in fifty fails, in several ways; sessions and logins go; the token goes in all three ways.
  static let rules = [
    "fail * p=0.006 seed=1 rv=DEVICE_ERROR", "fail * p=0.004 seed=2 rv=GENERAL_ERROR",
    "fail * p=0.003 seed=3 rv=FUNCTION_FAILED", "fail * p=0.003 seed=4 rv=SESSION_HANDLE_INVALID",
    "fail * p=0.002 seed=5 rv=DEVICE_ERROR when=after", "fail * p=0.001 seed=6 rv=USER_NOT_LOGGED_IN",
    "fail * p=0.001 seed=7 rv=OBJECT_HANDLE_INVALID", "drop every=5000", "logout every=7000",
    "vanish ms=300 mode=removed every=20000", "vanish ms=300 mode=empty every=23000",
    "vanish ms=300 mode=deaf every=29000", "maxsessions n=4",
  ]

  func run() async throws -> Verdict {
    let seconds = try options.number("seconds", 120)
    let stand = try await Stand(options, timeout: 5)
    try await stand.pass(.seconds(1))
    try stand.module.command("reset")
    let before = stand.load.meter.counts
    stand.load.meter.forgetTimes()
    let without = options.text("without")
    for rule in Self.rules where without.map({ !rule.contains($0) }) ?? true { try stand.module.command(rule) }
    try await stand.pass(.seconds(seconds))
    let counts = stand.load.meter.counts
    let report = try stand.module.report()
    let back = try await stand.restore(["clear", "return"])
    let closing = try await stand.end()
    var verdict = Verdict()
    say("sustained: \(seconds) s, \(counts.line)")
    let rate = (counts.done - before.done) / seconds
    say("  \(counts.retriesLine)")
    let injected = report.injected.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
    say("  injected \(report.injections): \(injected)")
    try stand.judge(&verdict, closing: closing)
    // Patient clients hide a token that is starved of sessions.
    verdict.demandTime(rate >= 100, "\(rate) operations/s under faults, \(report.calls) PKCS#11 calls (at least 100)")
    let p99 = counts.percentile(0.99)
    verdict.demandTime(p99 <= .seconds(1), "p99 of an attempt \(p99.inSeconds) s (at most 1)")
    verdict.demandTime(
      back.map { $0 <= .seconds(5) } ?? false,
      "full service \(back?.inSeconds ?? "-") s after the faults (at most 5)")
    return verdict
  }
}
