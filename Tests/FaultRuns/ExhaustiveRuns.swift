import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import Synchronization

/// The scenario once for every call it makes and every fault: none may lose, invent or alter a key.
struct ExhaustiveRuns {
  /// What befalls one call.
  struct Fault: Sendable {
    let name: String
    let rule: String
    /// Whether the process dies of it, so that the scenario needs one of its own.
    var kills: Bool { rule.hasPrefix("kill") }

    func line(_ nth: Int) -> String {
      let words = rule.split(separator: " ", maxSplits: 1)
      return "\(words[0]) * nth=\(nth) \(words[1])"
    }

    static let all = [
      Fault(name: "device-error", rule: "fail rv=DEVICE_ERROR when=before"),
      Fault(name: "session-invalid", rule: "fail rv=SESSION_HANDLE_INVALID when=before"),
      Fault(name: "removed", rule: "fail rv=DEVICE_REMOVED when=before"),
      Fault(name: "answer-lost", rule: "fail rv=DEVICE_ERROR when=after"),
      Fault(name: "kill-before", rule: "kill when=before"),
      Fault(name: "kill-after", rule: "kill when=after"),
    ]
  }

  private struct Counts {
    var next = 0
    var clean = 0
    /// Runs that made fewer calls than the run without faults did, thrice.
    var notReached = 0
    /// Runs whose fault befell another call than the run without faults has in its place.
    var elsewhere = 0
    var problems = 0
    var slowest: Duration = .zero
  }

  /// What the workers share.
  private final class Tally: Sendable {
    private let state = Mutex(Counts())
    var counts: Counts { state.withLock { $0 } }

    func take(of count: Int) -> Int? {
      state.withLock { counts in
        guard counts.next < count else { return nil }
        defer { counts.next += 1 }
        return counts.next
      }
    }

    func note(_ outcome: ExhaustiveWorker.Outcome, expected: String, _ took: Duration, of count: Int) {
      let line = state.withLock { counts -> String? in
        if outcome.problems.isEmpty {
          if outcome.isReached { counts.clean += 1 } else { counts.notReached += 1 }
        }
        if let call = outcome.call, call != expected { counts.elsewhere += 1 }
        counts.problems += outcome.problems.count
        counts.slowest = max(counts.slowest, took)
        return counts.next % 100 == 0 ? "  \(counts.next)/\(count) begun, \(counts.clean) clean" : nil
      }
      if let line { say(line) }
    }
  }

  let options: Options
  private let time = SystemTime()

  init(_ options: Options) { self.options = options }

  func run() async throws -> Verdict {
    let start = time.running()
    let material = try SoftwareKey.generate(.rsa(bits: 2048), random: SystemRandom()).serialized().plain
    var workers: [ExhaustiveWorker] = []
    for _ in 0..<(try options.number("workers", 2)) {
      workers.append(try await ExhaustiveWorker(material, isVerbose: options.isVerbose))
    }
    // A token's first opening makes what later ones find, and looking for a token asks all there are: so count last.
    for worker in workers { _ = try await worker.cleanRun() }
    let calls = try await workers[0].cleanRun()
    say("exhaustive: the scenario makes \(calls.count) calls; \(Self.mostCalled(calls))")
    let stride = try options.number("stride", 1)
    let only = options.text("fault")
    let chosen = options.text("nth").map { Set($0.split(separator: ",").compactMap { Int($0) }) }
    let faults = Fault.all.filter { only == nil || $0.name == only }
    var jobs: [(fault: Fault, nth: Int)] = []
    for (index, fault) in faults.enumerated() {
      for number in 1...calls.count where chosen.map({ $0.contains(number) }) ?? ((number + index * 5) % stride == 0) {
        jobs.append((fault, number))
      }
    }
    let tally = try await runAll(jobs, calls, workers)
    let took = time.running() - start
    say(
      "exhaustive: \(tally.clean)/\(jobs.count) runs clean (\(calls.count) calls x \(faults.count) faults"
        + "\(stride > 1 ? ", every \(stride)th" : "")), \(tally.problems) problems, slowest run "
        + "\(tally.slowest.inSeconds) s, \(took.inSeconds) s in all")
    var verdict = Verdict()
    verdict.demand(
      tally.problems == 0 && tally.clean + tally.notReached == jobs.count && tally.clean > 0,
      "\(tally.problems) problems")
    // What is never reached proves nothing, so there may be few of them.
    verdict.demand(
      tally.notReached * 20 < jobs.count,
      "\(tally.notReached) not reached (less than 1 in 20); of the others that run "
        + "in this process \(tally.elsewhere) hit another call than the run without faults has there")
    return verdict
  }

  private func runAll(
    _ jobs: [(fault: Fault, nth: Int)], _ calls: [String], _ workers: [ExhaustiveWorker]
  ) async throws -> Counts {
    let tally = Tally()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for worker in workers {
        group.addTask {
          while let index = tally.take(of: jobs.count) {
            let (fault, nth) = jobs[index]
            let begin = time.running()
            let outcome = await worker.run(fault, nth)
            let took = time.running() - begin
            for problem in outcome.problems {
              say("  FAILED \(fault.line(nth)) (\(outcome.call ?? calls[nth - 1])): \(problem)")
            }
            tally.note(outcome, expected: calls[nth - 1], took, of: jobs.count)
          }
        }
      }
      try await group.waitForAll()
    }
    return tally.counts
  }

  private static func mostCalled(_ calls: [String]) -> String {
    let counts = Dictionary(grouping: calls) { $0 }.mapValues(\.count).sorted { $0.value > $1.value }
    return counts.prefix(5).map { "\($0.value) \($0.key)" }.joined(separator: ", ")
  }
}

extension Duration {
  /// Seconds with two places.
  var inSeconds: String {
    let hundredths = Int(self / .milliseconds(10))
    return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
  }
}
