struct Unexpected: Error, CustomStringConvertible {
  let description: String
}

/// What a row's ratio means, and what it is to reach.
enum Goal {
  /// Our time over the baseline's: less is better. `extra` is in nanoseconds on top of the multiple.
  case time(atMost: Double, extra: Double = 0)
  /// Our speed over the baseline's: more is better.
  case speed(atLeast: Double)
  /// Our time over that of somebody to be compared with, without a goal.
  case comparison
}

let clock = ContinuousClock()

/// Nanoseconds for each of `count` runs.
func time(_ count: Int, _ body: () async throws -> Void) async rethrows -> Double {
  let start = clock.now
  try await body()
  return (clock.now - start) / .nanoseconds(1) / Double(count)
}

/// What the rounds of a row gave, in nanoseconds for each run.
private struct Measured {
  let pairs: [(ours: Double, baseline: Double)]
  let goal: Goal

  /// From the lowest.
  var ratios: [Double] {
    pairs.map { pair in
      if case .speed = goal { pair.baseline / pair.ours } else { pair.ours / pair.baseline }
    }.sorted()
  }
  var ours: Double { median(pairs.map(\.ours)) }
  var baseline: Double { median(pairs.map(\.baseline)) }

  /// The goal as a ratio, and whether it is reached; nothing where there is none.
  var verdict: String {
    switch goal {
    case .time(let most, let extra):
      let bound = most + extra / baseline
      return "goal=\(shown(bound)) \(median(ratios) <= bound ? "ok" : "short")"
    case .speed(let least): return "goal=\(shown(least)) \(median(ratios) >= least ? "ok" : "short")"
    case .comparison: return "goal=none"
    }
  }

  var sense: String {
    if case .speed = goal { "(speed, more is better)" } else { "(time, less is better)" }
  }
}

private func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

/// With as many decimals as a ratio close to its goal needs.
private func shown(_ value: Double, decimals: Double = 1000) -> String { "\((value * decimals).rounded() / decimals)" }

/// Runs both in turn and prints the row.
///
/// Both give nanoseconds for each run, whatever the ratio says.
func row(
  _ row: String, _ name: String, _ baselineName: String, goal: Goal, unit: String = "us", scale: Double = 1000,
  rounds: Int = Options.current.rounds, ours: () async throws -> Double, baseline: () async throws -> Double
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
  try report(row, name, baselineName, goal: goal, unit: unit, scale: scale, pairs)
}

/// Prints a row of what was measured, in nanoseconds for each run.
func report(
  _ row: String, _ name: String, _ baselineName: String, goal: Goal, unit: String = "us", scale: Double = 1000,
  _ pairs: [(ours: Double, baseline: Double)]
) throws {
  guard pairs.allSatisfy({ $0.ours > 0 && $0.baseline > 0 }) else {
    throw Unexpected(description: "\(name): a measurement failed.")
  }
  let measured = Measured(pairs: pairs, goal: goal)
  let ratios = measured.ratios
  print(
    "\(row) \(name) ratio=\(shown(median(ratios))) \(measured.verdict)",
    "range=\(shown(ratios[0]))..\(shown(ratios[ratios.count - 1]))",
    "ours=\(shown(measured.ours / scale, decimals: 100))\(unit)",
    "\(baselineName)=\(shown(measured.baseline / scale, decimals: 100))\(unit)", measured.sense)
}

/// Prints a row that has a limit and no baseline: the median of what was measured.
func limit(_ row: String, _ name: String, _ values: [Double], atMost most: Double, unit: String) {
  let values = values.sorted()
  let middle = median(values)
  print(
    "\(row) \(name) ours=\(shown(middle, decimals: 10))\(unit) goal=\(shown(most))\(unit)",
    middle <= most ? "ok" : "short",
    "range=\(shown(values[0], decimals: 10))..\(shown(values[values.count - 1], decimals: 10)) (less is better)")
}
