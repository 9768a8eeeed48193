/// The outcome of a list of behaviours on one subject, as a table: for those who run the kit without a test harness.
///
/// ```swift
/// let report = try await ConformanceReport.run(KeyProviderConformance.all, on: subject)
/// print(report)
/// exit(report.isConforming ? 0 : 1)
/// ```
public struct ConformanceReport: Sendable, CustomStringConvertible {
  /// How one behaviour ended.
  public enum Verdict: Sendable, Hashable {
    /// It holds.
    case passed
    /// It does not concern the subject, and why.
    case notApplicable(String)
    /// It is broken, and what was seen.
    case violated(String)
  }
  /// One behaviour and how it ended.
  public struct Line: Sendable, Hashable {
    /// The behaviour's name.
    public let name: String
    /// The behaviour's requirement.
    public let requirement: String
    /// How it ended.
    public let verdict: Verdict
    /// How many runs with a fault beneath the backend it held in; 0 for behaviours without faults.
    public let faultRuns: Int
  }

  /// Every behaviour, in the order of the list.
  public let lines: [Line]

  /// Tries behaviours one after another.
  ///
  /// - Throws: ``ConformanceSetupFailure`` when the subject makes no backend; `CancellationError`.
  public static func run<Subject>(
    _ behaviors: [ConformanceBehavior<Subject>], on subject: Subject
  ) async throws -> ConformanceReport {
    var lines: [Line] = []
    for behavior in behaviors {
      let verdict: Verdict
      var runs = 0
      do {
        let result = try await behavior.run(subject)
        runs = result.faultRuns
        switch result {
        case .passed, .passedUnderFaults: verdict = .passed
        case .notApplicable(let why): verdict = .notApplicable(why)
        }
      } catch let violation as ConformanceViolation {
        verdict = .violated(violation.message)
      }
      lines.append(Line(name: behavior.name, requirement: behavior.requirement, verdict: verdict, faultRuns: runs))
    }
    return ConformanceReport(lines: lines)
  }

  /// Whether nothing is broken.
  public var isConforming: Bool { violations.isEmpty }
  /// What is broken.
  public var violations: [Line] {
    lines.filter { if case .violated = $0.verdict { true } else { false } }
  }

  /// How many runs with a fault there were in all.
  public var faultRuns: Int { lines.map(\.faultRuns).reduce(0, +) }

  /// The table: one line a behaviour, then how many there are of each kind.
  public var description: String {
    let rows = lines.map { line in
      switch line.verdict {
      case .passed where line.faultRuns > 0:
        "passed           \(line.requirement): \(line.name), \(line.faultRuns) fault runs"
      case .passed: "passed           \(line.requirement): \(line.name)"
      case .notApplicable(let why): "not applicable   \(line.requirement): \(line.name): \(why)"
      case .violated(let what): "VIOLATED         \(line.requirement): \(line.name): \(what)"
      }
    }
    let passed = lines.filter { $0.verdict == .passed }.count
    let broken = violations.count
    let absent = lines.count - passed - broken
    let runs = faultRuns > 0 ? ", \(faultRuns) fault runs" : ""
    let summary = "\(passed) passed, \(absent) not applicable, \(broken) violated\(runs)"
    return (rows + [summary]).joined(separator: "\n")
  }
}
