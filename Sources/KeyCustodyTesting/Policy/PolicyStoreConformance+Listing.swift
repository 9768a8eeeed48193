import KeyCustody

extension PolicyStoreConformance {
  /// Paging by prefix.
  static let listing: [StoreBehavior] = [
    .init("A listing is in byte order of the keys", "PolicyStore", listingIsInByteOrder),
    .init("A prefix is text, not a path", "PolicyStore", prefixIsText),
    .init("Pages of any size give every record once", "PolicyStore", pagesGiveAll),
    .init("A listing after a key that does not exist begins behind it", "PolicyStore", listingAfterAbsentKey),
    .init("A limit of zero gives nothing, one over the page size no more than a page", "PolicyStore", limitsAreKept),
    .init("More than a page of records is listed page by page", "PolicyStore", manyPages),
  ]

  private static let names = [
    "a", "a-b", "a.b", "a/b", "a/b/c", "a/b0", "a/c", "a0", "aB", "a_b", "ab", "a~b", "b", "B", "A/b", "vaults/1",
    "vaults/10", "vaults/2", "vaults2/1",
  ]

  @Sendable private static func listingIsInByteOrder(_ trial: StoreTrial) async throws {
    for name in names.shuffledForTests { try await trial.put(name) }
    let listed = try await trial.list().map(\.key.description)
    let due = names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    try expect(listed == due, "The store lists \(listed); \(due) is due.")
  }

  @Sendable private static func prefixIsText(_ trial: StoreTrial) async throws {
    for name in names.shuffledForTests { try await trial.put(name) }
    for prefix in ["", "a", "a/", "a/b", "a/b/", "vault", "vaults/1", "vaults/", "B", "zzz", "a/b/c/d", "%", "_", "a_"]
    {
      let listed = try await trial.list(prefix: prefix).map(\.key.description)
      let due = names.filter { $0.utf8.starts(with: prefix.utf8) }.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
      try expect(listed == due, "The prefix '\(prefix)' lists \(listed); \(due) is due.")
    }
  }

  @Sendable private static func pagesGiveAll(_ trial: StoreTrial) async throws {
    for name in names.shuffledForTests { try await trial.put(name) }
    for prefix in ["", "a", "a/", "vaults"] {
      let whole = try await trial.list(prefix: prefix)
      for limit in [1, 2, 5] {
        let paged = try await trial.listAll(prefix: prefix, limit: limit)
        try expect(
          paged == whole, "By \(limit), '\(prefix)' lists \(paged.map(\.key)); at once \(whole.map(\.key)).")
      }
    }
  }

  @Sendable private static func listingAfterAbsentKey(_ trial: StoreTrial) async throws {
    let names = ["b/1", "b/3", "b/5", "c"]
    for name in names { try await trial.put(name) }
    for after in ["a", "b", "b/0", "b/2", "b/3", "b/4", "b/5", "b/6", "bb", "c", "d"] {
      for prefix in ["", "b/"] {
        let listed = try await trial.list(prefix: prefix, after: trial.key(after)).map(\.key.description)
        let due = names.filter { $0.utf8.starts(with: prefix.utf8) && after.utf8.lexicographicallyPrecedes($0.utf8) }
        try expect(listed == due, "After '\(after)', the prefix '\(prefix)' lists \(listed); \(due) is due.")
      }
    }
  }

  @Sendable private static func limitsAreKept(_ trial: StoreTrial) async throws {
    for number in 0..<5 { try await trial.put("k/\(number)") }
    let none = try await trial.list(limit: 0)
    try expect(none.isEmpty, "With a limit of 0 the store lists \(none.count) records.")
    for limit in [PolicyStoreLimits.pageSize + 1, .max] {
      let all = try await trial.list(limit: limit)
      try expect(all.count == 5, "With a limit of \(limit) the store lists \(all.count) of 5 records.")
    }
  }

  @Sendable private static func manyPages(_ trial: StoreTrial) async throws {
    let count = PolicyStoreLimits.pageSize + 5
    guard trial.subject.capacity >= count else {
      throw NotApplicable("the backend holds at most \(trial.subject.capacity) records")
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for part in 0..<16 {
        group.addTask {
          for number in stride(from: part, to: count, by: 16) { try await trial.put("n/\(10_000 + number)") }
        }
      }
      try await group.waitForAll()
    }
    let page = try await trial.list(limit: .max)
    try expect(
      page.count <= PolicyStoreLimits.pageSize,
      "A page holds \(page.count) records, \(PolicyStoreLimits.pageSize) at most are due.")
    let all = try await trial.listAll()
    let due = (0..<count).map { "n/\(10_000 + $0)" }
    try expect(all.map(\.key.description) == due, "Of \(count) records \(all.count) are listed page by page.")
  }
}

extension [String] {
  /// Another order, always the same.
  var shuffledForTests: [String] {
    enumerated().sorted { ($0.offset &* 7919) % 31 < ($1.offset &* 7919) % 31 }.map(\.element)
  }
}
