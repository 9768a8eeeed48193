import KeyCustody

extension SealedTableConformance {
  /// One row at a time.
  static let rows: [TableBehavior] = [
    .init("What is written is read and listed as it was written", writtenIsRead),
    .init("A row that is written again has another revision, also after it was removed", revisionsNeverComeAgain),
    .init("Replacing keeps the label, and is done at the revision expected alone", replacing),
    .init("Any text is a name of its own", anyNameIsKept),
    .init("Resources are apart, whatever the case of their names", resourcesAreApart),
    .init("What is not there is neither read nor replaced, and removing it is no error", absentIsAbsent),
    .init("The largest row is taken, and one byte more refused without a change", sizesAreKept),
    .init("Removing all of a resource leaves the others", removeAll),
    .init("Rows outlive closing", rowsOutliveClosing),
    .init("A closed table refuses every call", closedRefuses),
  ]

  @Sendable private static func writtenIsRead(_ trial: TableTrial) async throws {
    for size in [1, 16, 100, 4000, 5000, 70_000] {
      let (name, content) = ("size \(size)", [UInt8](repeating: UInt8(size & 0xff), count: size))
      let label = Array("{\"size\":\(size)}".utf8)
      try await trial.put(name, content, label: label, under: 7)
      let found = try await trial.found(name)
      try expect(found.sealed == TableTrial.sealed(content, under: 7), "'\(name)' is read otherwise than written.")
      try expect(found.label == label, "The label of '\(name)' is read otherwise than written.")
      let row = try unwrapped(try await trial.all().first { $0.name == name }, "'\(name)' is not listed.")
      let due = SealedRow(name: name, revision: found.revision, label: label, sealed: found.sealed)
      try expect(row == due, "'\(name)' is listed as \(row); \(due) is due.")
    }
  }

  @Sendable private static func revisionsNeverComeAgain(_ trial: TableTrial) async throws {
    var seen: Set<UInt64> = []
    for round in 0..<12 {
      try await trial.put("again", [UInt8(round)])
      let found = try await trial.found("again")
      try expect(found.sealed.last == UInt8(round), "The row was not written again.")
      try expect(seen.insert(found.revision).inserted, "The revision \(found.revision) came twice.")
      if round % 3 == 1 {
        _ = try await trial.replace("again", at: found.revision, [UInt8(round)])
        let replaced = try await trial.found("again").revision
        try expect(seen.insert(replaced).inserted, "The revision \(replaced) came twice.")
      }
      if round % 3 == 2 { try await trial.remove("again") }
    }
  }

  @Sendable private static func replacing(_ trial: TableTrial) async throws {
    try await trial.put("value", [1], label: [7, 7])
    let first = try await trial.found("value")
    let isDone = try await trial.replace("value", at: first.revision, [2])
    let second = try await trial.found("value")
    try expect(isDone && second.sealed == TableTrial.sealed([2], under: 2), "The row was not replaced.")
    try expect(second.label == [7, 7], "The label was changed.")
    let again = try await trial.replace("value", at: first.revision, [3])
    let same = try await trial.found("value")
    try expect(!again && same == second, "A row was replaced at a revision that it no longer is at.")
    let rows = try await trial.all()
    try expect(rows.map(\.rootKey) == [TableTrial.rootKey(2)], "The row is listed under \(rows.map(\.rootKey)).")
    try expect(rows.map(\.revision) == [second.revision], "The row is listed at another revision.")
  }

  static let oddNames = [
    "plain", "with/slash", "../../etc/passwd", "..", ".", "a", "A", "a ", " a", "spaces and\nlines", "%", "_", "\\",
    "'",
    "\"", "ünïcode ☃", "u\u{308}ni", "üni", "nul\u{0}byte", "nul", "\u{0}", "\u{7f}", "\u{ffff}", "\u{10000}",
    String(repeating: "x", count: 512), String(repeating: "x", count: 511), String(repeating: "ü", count: 256),
  ]

  @Sendable private static func anyNameIsKept(_ trial: TableTrial) async throws {
    try await trial.fill(oddNames)
    for name in oddNames {
      let found = try await trial.found(name)
      try expect(found.sealed == TableTrial.sealed(Array(name.utf8)), "'\(name.debugDescription)' has another's value.")
    }
    let due = oddNames.sorted(by: isBefore)
    for limit in [1, 5, 1000] {
      let names = try await trial.all(limit: limit).map(\.name)
      try expect(isSame(names, due), "By \(limit), \(names) are listed; \(due) are due.")
    }
    for name in oddNames where name.utf8.count % 2 == 1 { try await trial.remove(name) }
    let left = try await trial.all().map(\.name)
    try expect(isSame(left, due.filter { $0.utf8.count % 2 == 0 }), "After removing some, \(left) are left.")
  }

  @Sendable private static func resourcesAreApart(_ trial: TableTrial) async throws {
    let other = try trial.of("notes-2")
    try await trial.put("value", [1])
    try await other.put("value", [2])
    try await trial.of("NOTES").put("shouted", [3])
    try expect(try await trial.found("value").sealed.last == 1, "A row is another resource's.")
    try expect(try await other.found("value").sealed.last == 2, "A row is another resource's.")
    let names = try await trial.all().map(\.name)
    try expect(names == ["shouted", "value"], "The resource lists \(names).")
    try await other.remove("value")
    try expect(try await trial.read("value") != nil, "Removing took another resource's row.")
  }

  @Sendable private static func absentIsAbsent(_ trial: TableTrial) async throws {
    try expect(try await trial.read("none") == nil, "An absent row was read.")
    try expect(try await trial.all().isEmpty, "An empty table lists rows.")
    try expect(try await !trial.replace("none", at: 1, [1]), "An absent row was replaced.")
    try await trial.remove("none")
    try await trial.put("gone", [1])
    let revision = try await trial.found("gone").revision
    try await trial.remove("gone")
    try expect(try await trial.read("gone") == nil, "A removed row was read.")
    try expect(try await !trial.replace("gone", at: revision, [1]), "A removed row was replaced.")
    try expect(try await trial.all().isEmpty, "A removed row is listed.")
  }

  @Sendable private static func sizesAreKept(_ trial: TableTrial) async throws {
    let label = [UInt8](repeating: 0x7b, count: SealedTableLimits.labelSize)
    let room = SealedTableLimits.sealedSize - SealedTableLimits.headSize
    let content = [UInt8](repeating: 5, count: room)
    try await trial.put("large", content, label: label)
    let found = try await trial.found("large")
    try expect(found.sealed == TableTrial.sealed(content) && found.label == label, "The largest row was changed.")
    let (table, resource) = (trial.table, trial.resource)
    let tooLarge = TableTrial.sealed(content + [5])
    let error = try await refused(.invalidInput, .wrongSize, "A row of one byte too many") {
      () async throws(KeyCustodyError) in
      try await table.put(tooLarge, label: [], as: "large", of: resource)
    }
    try expect(error.remedy.contains("FolderSealedStore"), "The error does not say where large data goes.")
    try await refused(.invalidInput, .wrongSize, "A replacement of one byte too many") {
      () async throws(KeyCustodyError) in
      _ = try await table.replace(tooLarge, as: "large", of: resource, expecting: found.revision)
    }
    try await refused(.invalidInput, .wrongSize, "A label of one byte too many") { () async throws(KeyCustodyError) in
      try await table.put(TableTrial.sealed([1]), label: label + [1], as: "large", of: resource)
    }
    for name in ["", String(repeating: "x", count: 513)] {
      try await refused(.invalidInput, .wrongSize, "A name of \(name.utf8.count) bytes") {
        () async throws(KeyCustodyError) in
        try await table.put(TableTrial.sealed([1]), label: [], as: name, of: resource)
      }
    }
    try expect(try await trial.found("large") == found, "A refused change changed something.")
  }

  @Sendable private static func removeAll(_ trial: TableTrial) async throws {
    let names = (0..<1100).map { "item-\(10_000 + $0)" }
    try await trial.fill(names)
    let other = try trial.of("other")
    try await other.put("kept")
    let (table, resource) = (trial.table, trial.resource)
    for _ in 0..<2 {
      try await working("Removing all") { () async throws(KeyCustodyError) in try await table.removeAll(of: resource) }
      try expect(try await trial.all().isEmpty, "Rows are left.")
    }
    try expect(try await other.read("kept") != nil, "Another resource's row went too.")
  }

  @Sendable private static func rowsOutliveClosing(_ trial: TableTrial) async throws {
    try trial.bench.requirePersistence()
    try await trial.fill(oddNames, label: [1, 2, 3], under: 4)
    try await trial.remove("plain")
    let before = try await trial.all()
    let again = try await trial.reopened()
    try expect(try await again.all() == before, "Other rows are there after opening again.")
    let found = try await again.found("a")
    try expect(try await again.replace("a", at: found.revision, [9]), "A row is at another revision than it says.")
  }

  @Sendable private static func closedRefuses(_ trial: TableTrial) async throws {
    try await trial.put("value")
    let (table, resource) = (trial.table, trial.resource)
    await table.close()
    await table.close()
    let calls: [(String, @Sendable () async throws(KeyCustodyError) -> Void)] = [
      ("Reading", { () async throws(KeyCustodyError) in _ = try await table.read("value", of: resource) }),
      (
        "Listing",
        { () async throws(KeyCustodyError) in
          _ = try await table.page(of: resource, after: nil, excluding: nil, limit: 1)
        }
      ),
      (
        "Writing",
        { () async throws(KeyCustodyError) in
          try await table.put(TableTrial.sealed([1]), label: [], as: "value", of: resource)
        }
      ),
      (
        "Replacing",
        { () async throws(KeyCustodyError) in
          _ = try await table.replace(TableTrial.sealed([1]), as: "value", of: resource, expecting: 1)
        }
      ),
      ("Removing", { () async throws(KeyCustodyError) in try await table.remove("value", of: resource) }),
      ("Removing all", { () async throws(KeyCustodyError) in try await table.removeAll(of: resource) }),
    ]
    for (name, call) in calls { try await refused(.unavailable, .closed, "\(name) after closing", call) }
  }
}
