struct Unexpected: Error, CustomStringConvertible {
  let description: String
}

let isQuick = CommandLine.arguments.contains("--quick")
let rounds = isQuick ? 3 : 11
let clock = ContinuousClock()

/// Nanoseconds for each of `count` runs.
func time(_ count: Int, _ body: () async throws -> Void) async rethrows -> Double {
  let start = clock.now
  try await body()
  return (clock.now - start) / .nanoseconds(1) / Double(count)
}

/// Runs both in turn and prints the row.
func row(
  _ row: String, _ name: String, _ baselineName: String, unit: String = "us", scale: Double = 1000,
  ours: () async throws -> Double, baseline: () async throws -> Double
) async throws {
  _ = try await (ours(), baseline())
  var pairs: [(ours: Double, baseline: Double)] = []
  for round in 0..<rounds {
    // Whoever comes second finds the processor in another state: take turns.
    if round.isMultiple(of: 2) {
      let first = try await ours()
      pairs.append((first, try await baseline()))
    } else {
      let first = try await baseline()
      pairs.append((try await ours(), first))
    }
  }
  guard pairs.allSatisfy({ $0.ours > 0 && $0.baseline > 0 }) else {
    throw Unexpected(description: "\(name): a measurement failed.")
  }
  let ratios = pairs.map { $0.ours / $0.baseline }.sorted()
  func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
  func shown(_ value: Double) -> String { "\((value * 100).rounded() / 100)" }
  print(
    "\(row) \(name) ratio=\(shown(median(ratios))) range=\(shown(ratios[0]))..\(shown(ratios[ratios.count - 1]))",
    "ours=\(shown(median(pairs.map(\.ours)) / scale))\(unit)",
    "\(baselineName)=\(shown(median(pairs.map(\.baseline)) / scale))\(unit)")
}
