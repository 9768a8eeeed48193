import KeyCustody

extension SealedTableConformance {
  /// Many callers at once.
  static let concurrency: [TableBehavior] = [
    .init("Of concurrent replacements at one revision exactly one is done", oneReplacementIsDone),
    .init("32 writers that count by replacing lose no count", countersAreExact),
    .init("A reader finds label and sealed bytes that were written together", readersSeeWholeRows),
    .init("A value that is written is not overwritten by a renewal of the one before", renewalsNeverWin),
  ]

  @Sendable private static func oneReplacementIsDone(_ trial: TableTrial) async throws {
    for round in 0..<6 {
      let name = "race-\(round)"
      try await trial.put(name)
      let revision = try await trial.found(name).revision
      let winners = try await withThrowingTaskGroup(of: UInt8?.self) { group in
        for number in UInt8(0)..<8 {
          group.addTask { try await trial.replace(name, at: revision, [number]) ? number : nil }
        }
        return try await group.reduce(into: [UInt8]()) { if let number = $1 { $0.append(number) } }
      }
      try expect(winners.count == 1, "\(winners.count) of 8 concurrent replacements were done.")
      try expect(try await trial.found(name).sealed.last == winners[0], "The row is not the winner's.")
    }
  }

  @Sendable private static func countersAreExact(_ trial: TableTrial) async throws {
    try await trial.put("counter", [0])
    let (writers, rounds) = (32, 2)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<writers {
        group.addTask {
          for _ in 0..<rounds {
            while case let found = try await trial.found("counter"),
              try await !trial.replace("counter", at: found.revision, [(found.sealed.last ?? 0) + 1])
            {}
          }
        }
      }
      try await group.waitForAll()
    }
    let total = try await trial.found("counter").sealed.last
    try expect(total == UInt8(writers * rounds), "\(writers * rounds) increments counted \(total ?? 0).")
  }

  @Sendable private static func readersSeeWholeRows(_ trial: TableTrial) async throws {
    try await trial.put("row", [UInt8](repeating: 0, count: 6000), label: [0])
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in UInt8(0)..<2 {
        group.addTask {
          for round in UInt8(0)..<30 {
            let mark = writer * 100 + round
            try await trial.put("row", [UInt8](repeating: mark, count: 5000 + Int(mark) * 40), label: [mark])
          }
        }
      }
      for _ in 0..<2 {
        group.addTask {
          for _ in 0..<40 {
            let found = try await trial.found("row")
            let isWhole = found.sealed.dropFirst(12).allSatisfy { $0 == found.label.first }
            try expect(isWhole, "A row was read of which the parts are of different times.")
          }
        }
      }
      try await group.waitForAll()
    }
  }

  @Sendable private static func renewalsNeverWin(_ trial: TableTrial) async throws {
    try await trial.put("value", [0], label: [0])
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for round in UInt8(1)...40 { try await trial.put("value", [round], label: [round]) }
      }
      group.addTask {
        for _ in 0..<80 {
          let found = try await trial.found("value")
          let content = Array(found.sealed.dropFirst(12).prefix(1))
          _ = try await trial.replace("value", at: found.revision, content)
        }
      }
      try await group.waitForAll()
    }
    let found = try await trial.found("value")
    try expect(found.sealed.dropFirst(12).first == 40 && found.label == [40], "An older value came back.")
  }
}
