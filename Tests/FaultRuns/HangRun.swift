import Foundation
import KeyCustody
import KeyCustodyTestSupport

/// A load while single calls, and then all, don't come back.
struct HangRun {
  let options: Options

  private static let rules = [
    "hang C_Decrypt nth=1", "hang C_UnwrapKey nth=1", "hang C_Sign nth=1", "hang C_FindObjects nth=1",
    "hang C_GetAttributeValue nth=1", "hang *",
  ]

  /// How long a request may take: the deadline of 1 s, and slack.
  private static let limit: Duration = .milliseconds(1500)
  private static let least = 2

  func run() async throws -> Verdict {
    // Longer than the limit: a request that is answered only when its call comes back must not pass for one in time.
    let seconds = max(try options.number("seconds", 3), Self.least)
    let stand = try await Stand(options, timeout: 1)
    try await stand.pass(.seconds(2))
    let threads = Self.threads
    var verdict = Verdict()
    for rule in Self.rules {
      stand.load.meter.forgetTimes()
      try stand.module.command(rule)
      try await stand.pass(.seconds(seconds))
      let counts = stand.load.meter.counts
      let hanging = try stand.module.report().inside
      let most = Self.threads
      let back = try await stand.restore(["clear", "release"])
      let left = try await Self.settled(to: threads)
      // Taken now, so that those are among them who were answered only because the call came back.
      let worst = stand.load.meter.counts.percentile(1)
      say("hang: '\(rule)' for \(seconds) s, \(hanging) calls inside, \(most) threads; \(counts.line)")
      verdict.demandTime(
        worst <= Self.limit,
        "every request answered in \(worst.inSeconds) s (a deadline of 1, at most \(Self.limit.inSeconds))")
      verdict.demandTime(
        back.map { $0 <= .seconds(5) } ?? false,
        "full service \(back?.inSeconds ?? "-") s after 'release' (at most 5)")
      verdict.demand(left <= threads, "\(left) threads afterwards, \(threads) before")
    }
    let codes = stand.load.meter.counts.retriesLine
    say("  \(codes)")
    let closing = try await stand.end()
    try stand.judge(&verdict, closing: closing)
    return verdict
  }

  /// The number of our own threads: how many the system's pool keeps for tasks is its own affair.
  private static var threads: Int {
    SoftHSM.names(in: "/proc/self/task").count {
      (try? String(contentsOfFile: "/proc/self/task/\($0)/comm", encoding: .utf8)) == "key-custody\n"
    }
  }

  /// The number of threads once those that are over have gone.
  private static func settled(to before: Int) async throws -> Int {
    let time = SystemTime()
    let end = time.running() + .seconds(5)
    var count = threads
    while count > before, time.running() < end {
      try await time.wait(until: time.running() + .milliseconds(50))
      count = Self.threads
    }
    return count
  }
}
