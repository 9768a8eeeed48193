import KeyCustody
import Synchronization

/// What the clients of a load met.
final class Meter: Sendable {
  /// The counts so far.
  struct Counts: Sendable {
    /// Answers, right or not.
    var attempts = 0
    /// Operations that were done in the end.
    var done = 0
    /// Errors that let the client repeat, by code and reason.
    var retries: [String: Int] = [:]
    /// Operations that ended without success.
    var lost: [String] = []
    /// Results that were not what they had to be.
    var wrong = 0
    /// Keys that were said not to exist.
    var notFound = 0
    /// How long each attempt took.
    var times: [Duration] = []
    /// Successes in a row.
    fileprivate var streak = 0
    fileprivate var watch: (since: Duration, goal: Int)?
    /// How long it took to so many successes in a row since they were asked for.
    var fullService: Duration?

    /// The time that so many of a hundred attempts took at most.
    func percentile(_ share: Double) -> Duration {
      let sorted = times.sorted()
      guard !sorted.isEmpty else { return .zero }
      return sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
    }
  }

  private let state = Mutex(Counts())
  private let time = SystemTime()

  var counts: Counts { state.withLock { $0 } }

  func success(_ isRight: Bool, _ took: Duration) {
    let now = time.running()
    state.withLock { counts in
      counts.attempts += 1
      counts.times.append(took)
      counts.streak += 1
      if isRight { counts.done += 1 } else { counts.wrong += 1 }
      guard let watch = counts.watch, counts.streak >= watch.goal else { return }
      counts.fullService = now - watch.since
      counts.watch = nil
    }
  }

  /// Notes an error; it is final when the client does not go on.
  func failure(_ error: KeyCustodyError, _ took: Duration, isFinal: Bool) {
    state.withLock { counts in
      counts.attempts += 1
      counts.times.append(took)
      counts.streak = 0
      if error.code == .notFound { counts.notFound += 1 }
      if isFinal {
        counts.lost.append(error.debugDescription)
      } else {
        counts.retries["\(error.code.rawValue)/\(error.reason)", default: 0] += 1
      }
    }
  }

  /// From now on so many successes in a row count as full service.
  func expectFullService(_ goal: Int = 200) {
    let now = time.running()
    state.withLock { counts in
      counts.streak = 0
      counts.fullService = nil
      counts.watch = (now, goal)
    }
  }

  /// Waits for full service; `nil` when it does not come.
  func fullService(within patience: Duration) async throws -> Duration? {
    let end = time.running() + patience
    while time.running() < end {
      if let found = counts.fullService { return found }
      try await time.wait(until: time.running() + .milliseconds(20))
    }
    return counts.fullService
  }

  /// Forgets the times, so that the next are those of what comes.
  func forgetTimes() { state.withLock { $0.times = [] } }
}

extension Meter.Counts {
  /// One line of what was done.
  var line: String {
    "\(attempts) attempts, \(done) operations done, \(lost.count) lost, \(wrong) wrong, \(notFound) not found; an attempt "
      + "took p50 \(percentile(0.5).inSeconds) p99 \(percentile(0.99).inSeconds) max \(percentile(1).inSeconds) s"
  }

  /// The retries, most frequent first.
  var retriesLine: String {
    let sorted = retries.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
    return "\(retries.values.reduce(0, +)) retries: " + sorted.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
  }
}
