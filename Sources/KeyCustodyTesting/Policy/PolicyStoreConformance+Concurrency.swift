import KeyCustody

extension PolicyStoreConformance {
  /// Many callers at once.
  static let concurrency: [StoreBehavior] = [
    .init("64 writers that count by compare-and-set lose no count", "PolicyStore", countersAreExact),
    .init("Of concurrent creators of one record exactly one wins", "PolicyStore", oneCreatorWins),
    .init("Of concurrent writers and deleters exactly one wins", "PolicyStore", oneChangeWins),
    .init("Concurrent changes have revisions of their own", "PolicyStore", revisionsAreUnique),
    .init("A listing during writes has no record twice and leaves none out", "PolicyStore", listingDuringWrites),
  ]

  @Sendable private static func countersAreExact(_ trial: StoreTrial) async throws {
    let key = try trial.key("counter")
    let start = try await trial.put(key, [0, 0])
    let (writers, rounds) = (64, 2)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<writers {
        group.addTask {
          var seen = start
          for _ in 0..<rounds {
            while true {
              let next = number(seen.value) + 1
              let value = [UInt8(next >> 8), UInt8(next & 0xff)]
              switch try await trial.compareAndSet(key, seen.revision, value) {
              case .stored(let revision): seen = PolicyRecord(key: key, revision: revision, value: value)
              case .conflict(let found):
                seen = try unwrapped(found, "A counter that nobody deletes conflicted with nothing.")
                continue
              }
              break
            }
          }
        }
      }
      try await group.waitForAll()
    }
    let total = number(try await trial.read(key)?.value ?? [])
    try expect(total == writers * rounds, "\(writers * rounds) increments counted \(total).")
  }

  private static func number(_ value: [UInt8]) -> Int { value.reduce(0) { $0 << 8 | Int($1) } }

  @Sendable private static func oneCreatorWins(_ trial: StoreTrial) async throws {
    for round in 0..<8 {
      let key = try trial.key("race/\(round)")
      let outcomes = try await outcomes(of: 8) { number in try await trial.compareAndSet(key, nil, [UInt8(number)]) }
      let winners = outcomes.filter { if case .stored = $0.outcome { true } else { false } }
      try expect(winners.count == 1, "\(winners.count) of 8 concurrent creators were told that they won.")
      let found = try await trial.read(key)
      try expect(found?.value == [UInt8(winners[0].number)], "The record is not the winner's.")
      for (_, outcome) in outcomes {
        if case .conflict(let record) = outcome {
          try expect(record == found, "A loser was told \(told(record)); \(told(found)) won.")
        }
      }
    }
  }

  @Sendable private static func oneChangeWins(_ trial: StoreTrial) async throws {
    for round in 0..<8 {
      let record = try await trial.put("race/\(round)", [0])
      let outcomes = try await outcomes(of: 8) { number in
        number % 2 == 0
          ? try await trial.delete(record.key, record.revision)
          : try await trial.compareAndSet(record.key, record.revision, [UInt8(number)])
      }
      let winners = outcomes.filter { if case .stored = $0.outcome { true } else { false } }
      try expect(winners.count == 1, "\(winners.count) of 8 changes of one revision were made.")
      let found = try await trial.read(record.key)
      let due: [UInt8]? = winners[0].number % 2 == 0 ? nil : [UInt8(winners[0].number)]
      try expect(found?.value == due, "After the race the record is \(told(found)), not what the winner made of it.")
    }
  }

  private static func outcomes(
    of count: Int, _ change: @escaping @Sendable (Int) async throws -> StoreOutcome
  ) async throws -> [(number: Int, outcome: StoreOutcome)] {
    try await withThrowingTaskGroup(of: (number: Int, outcome: StoreOutcome).self) { group in
      for number in 0..<count { group.addTask { (number, try await change(number)) } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
  }

  @Sendable private static func revisionsAreUnique(_ trial: StoreTrial) async throws {
    let outcomes = try await outcomes(of: 64) { number in
      .stored(try await trial.put("u/\(number)", [UInt8(number)]).revision)
    }
    let revisions = outcomes.map { outcome -> StoreRevision in
      if case .stored(let revision) = outcome.outcome { revision } else { .zero }
    }
    try expect(Set(revisions).count == 64, "64 changes share \(Set(revisions).count) revisions.")
    let current = try await trial.currentRevision()
    try expect(
      current == revisions.max(), "The revision is \(current); the newest change was \(revisions.max() ?? .zero).")
  }

  @Sendable private static func listingDuringWrites(_ trial: StoreTrial) async throws {
    var resting: [RecordKey] = []
    for number in 0..<20 { resting.append(try await trial.put("l/\(10 + number)5", [0]).key) }
    let still = Set(resting)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<4 {
        group.addTask {
          for number in 0..<20 {
            let record = try await trial.put("l/\(10 + number)\(writer)", [1])
            let changed = try await trial.put(record.key, [2], over: record.revision)
            if number % 2 == 0 { try await trial.remove(changed) }
          }
        }
      }
      for limit in [3, 7, 1000] {
        group.addTask {
          for _ in 0..<5 {
            let listed = try await trial.listAll(prefix: "l/", limit: limit).map(\.key)
            try expect(Set(listed).count == listed.count, "A listing during writes has a record twice.")
            let missing = still.subtracting(listed)
            try expect(missing.isEmpty, "A listing during writes leaves out \(missing.sorted()), which nobody touched.")
          }
        }
      }
      try await group.waitForAll()
    }
  }
}
