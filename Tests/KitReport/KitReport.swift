import KeyCustodySubjects
import KeyCustodyTesting

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Runs the conformance kit, faults included, on every backend of ours, and prints how each behaviour ended on each.
///
/// Names of backends as arguments restrict it to those. Ends with 1 when anything is violated.
@main
enum KitReport {
  static func main() async throws {
    // Each behaviour has a backend of its own, so the tables may be made at once.
    async let keys = table(
      "Key providers", KeyProviderConformance.all + KeyProviderConformance.faults, Subjects.keyProviders)
    async let stores = table(
      "Policy stores", PolicyStoreConformance.all + PolicyStoreConformance.faults, Subjects.policyStores)
    async let sealed = table("Tables of sealed records", SealedTableConformance.all, Subjects.sealedTables)
    async let identities = table(
      "Identity providers", IdentityProviderConformance.all + IdentityProviderConformance.faults,
      try Subjects.identityProviders())
    let tables = [try await keys, try await stores, try await sealed, try await identities]
    for table in tables { print(table.text) }
    exit(tables.allSatisfy(\.isConforming) ? 0 : 1)
  }

  /// Makes one table, a column for each subject; whether nothing is violated.
  private static func table<Subject: Sendable>(
    _ title: String, _ behaviors: [ConformanceBehavior<Subject>], _ all: [Subjects.Named<Subject>]
  ) async throws -> (text: String, isConforming: Bool) {
    let names = CommandLine.arguments.dropFirst()
    let subjects = all.filter { names.isEmpty || names.contains($0.name) }
    guard !subjects.isEmpty else { return ("", true) }
    let columns = try await withThrowingTaskGroup(of: (index: Int, report: ConformanceReport).self) { group in
      for (index, named) in subjects.enumerated() {
        group.addTask { (index, try await .run(behaviors, on: named.subject)) }
      }
      var reports = try await group.reduce(into: []) { $0.append($1) }
      reports.sort { $0.index < $1.index }
      return reports.map { (name: subjects[$0.index].name, report: $0.report) }
    }
    let width = 18
    var lines = ["", title, columns.map { padded($0.name, width) }.joined() + "behaviour"]
    for index in behaviors.indices {
      let cells = columns.map { padded(cell($0.report.lines[index]), width) }
      lines.append(cells.joined() + behaviors[index].name)
    }
    for (name, report) in columns {
      lines.append("\n\(name): \(summary(report))")
      for (why, names) in notApplicable(report) {
        lines.append("  not applicable, \(why):\n    \(names.joined(separator: "\n    "))")
      }
      for line in report.violations { lines.append("  VIOLATED \(line.name): \(line.verdict)") }
    }
    return (lines.joined(separator: "\n"), columns.allSatisfy(\.report.isConforming))
  }

  private static func cell(_ line: ConformanceReport.Line) -> String {
    switch line.verdict {
    case .passed: line.faultRuns > 0 ? "passed (\(line.faultRuns))" : "passed"
    case .notApplicable: "-"
    case .violated: "VIOLATED"
    }
  }

  private static func summary(_ report: ConformanceReport) -> String {
    let passed = report.lines.filter { $0.verdict == .passed }.count
    let violated = report.violations.count
    return "\(passed) passed, \(report.lines.count - passed - violated) not applicable, \(violated) violated, "
      + "\(report.faultRuns) fault runs"
  }

  /// The behaviours that are not applicable, by the reason.
  private static func notApplicable(_ report: ConformanceReport) -> [(why: String, names: [String])] {
    var names: [String: [String]] = [:]
    for line in report.lines {
      if case .notApplicable(let why) = line.verdict { names[why, default: []].append(line.name) }
    }
    return names.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }
}
