import KeyCustody

extension SealedTableConformance {
  /// Paging.
  static let listing: [TableBehavior] = [
    .init("Pages of any size give every row once, in the order of the bytes", pagesGiveAll),
    .init("A page after a name that is not there begins behind it", pageAfterAbsentName),
    .init("A limit of zero gives nothing, one over the page size no more than a page", limitsAreKept),
    .init("Leaving out a root key leaves out no row of another", excluding),
    .init("What is renewed while it is listed by the old root key comes to an end", renewingPageByPage),
    .init("A listing during writes has no row twice and leaves none out", listingDuringWrites),
  ]

  private static let names = [
    "a", "a-b", "a.b", "a/b", "a/b/c", "a0", "aB", "a_b", "ab", "a~b", "b", "B", "Z", "é", "e\u{301}", "z", "\u{ffff}",
    "\u{10000}",
  ]

  @Sendable private static func pagesGiveAll(_ trial: TableTrial) async throws {
    try await trial.fill(names.shuffledForTests)
    let due = names.sorted(by: isBefore)
    for limit in [1, 2, 7, names.count, 1000] {
      let listed = try await trial.all(limit: limit).map(\.name)
      try expect(isSame(listed, due), "By \(limit), \(listed) are listed; \(due) are due.")
    }
  }

  @Sendable private static func pageAfterAbsentName(_ trial: TableTrial) async throws {
    try await trial.fill(["b1", "b3", "b5", "c"])
    for after in ["a", "b", "b0", "b1", "b2", "b3", "b4", "b5", "b6", "c", "d", "\u{0}"] {
      let listed = try await trial.page(after: after).map(\.name)
      let due = ["b1", "b3", "b5", "c"].filter { isBefore(after, $0) }
      try expect(listed == due, "After '\(after)', \(listed) are listed; \(due) are due.")
    }
  }

  @Sendable private static func limitsAreKept(_ trial: TableTrial) async throws {
    try await trial.fill((0..<SealedTableLimits.pageSize + 20).map { "item-\(10_000 + $0)" })
    try expect(try await trial.page(limit: 0).isEmpty, "With a limit of 0 there are rows.")
    for limit in [SealedTableLimits.pageSize + 1, .max] {
      let count = try await trial.page(limit: limit).count
      try expect(
        (1...SealedTableLimits.pageSize).contains(count), "With a limit of \(limit) a page has \(count) rows.")
    }
    let count = try await trial.all().count
    try expect(count == SealedTableLimits.pageSize + 20, "By pages \(count) rows are listed.")
  }

  @Sendable private static func excluding(_ trial: TableTrial) async throws {
    for (index, name) in names.enumerated() { try await trial.put(name, under: UInt8(index % 4)) }
    for key in UInt8(0)...4 {
      let due = names.enumerated().filter { $0.offset % 4 != Int(key) }.map(\.element).sorted(by: isBefore)
      for limit in [1, 3, 100] {
        let listed = try await trial.all(excluding: key, limit: limit).map(\.name)
        try expect(isSame(listed, due), "By \(limit) without \(key), \(listed) are listed; \(due) are due.")
      }
    }
    let alone = try trial.of("alone")
    try await alone.fill(["a", "b", "c"], under: 9)
    try expect(try await alone.all(excluding: 9).isEmpty, "Rows under a root key that is left out are listed.")
  }

  @Sendable private static func renewingPageByPage(_ trial: TableTrial) async throws {
    try await trial.fill((0..<50).map { "item-\(100 + $0)" }, under: 1)
    var renewed = 0
    var last: String?
    while case let page = try await trial.page(after: last, excluding: 2, limit: 7), let end = page.last {
      for row in page where row.rootKey != TableTrial.rootKey(2) {
        let isDone = try await trial.replace(row.name, at: row.revision, [1], under: 2)
        try expect(isDone, "'\(row.name)' could not be replaced at the revision that it is listed at.")
        renewed += 1
      }
      last = end.name
    }
    try expect(renewed == 50, "\(renewed) of 50 rows were found.")
    try expect(try await trial.all(excluding: 2).isEmpty, "Rows are left under the old root key.")
  }

  @Sendable private static func listingDuringWrites(_ trial: TableTrial) async throws {
    let fixed = (0..<40).map { "fixed-\(100 + $0)" }
    try await trial.fill(fixed)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for round in 0..<60 {
          let name = "fixed-\(100 + round % 40)-more"
          try await trial.put(name, under: UInt8(round % 3))
          if round % 2 == 0 { try await trial.remove(name) }
          try await trial.put("fixed-\(100 + round % 40)", [UInt8(round)], under: UInt8(round % 3))
        }
      }
      group.addTask {
        for _ in 0..<10 {
          let listed = try await trial.all(limit: 9).map(\.name)
          try expect(Set(listed).count == listed.count, "A row is listed twice: \(listed).")
          try expect(listed == listed.sorted(by: isBefore), "The listing is out of order: \(listed).")
          try expect(Set(fixed).isSubset(of: listed), "Rows that were there all the time are not listed.")
        }
      }
      try await group.waitForAll()
    }
  }
}
