import KeyCustody

extension PolicyStoreConformance {
  /// Revisions, and what survives reopening.
  static let revisions: [StoreBehavior] = [
    .init("Revisions grow with every change of any record", "PolicyStore", revisionsGrow),
    .init("The current revision is that of the newest change", "PolicyStore", currentRevisionIsNewest),
    .init("Refused changes and reads do not move the revision", "PolicyStore", refusalsDoNotCount),
    .init("Reading and listing agree on records and revisions", "PolicyStore", readAndListAgree),
  ]

  /// Closing, opening again.
  static let lifetime: [StoreBehavior] = [
    .init("The identity is named and survives reopening", "DESIGN 3", identitySurvives),
    .init("Two stores share nothing", "DESIGN 3", storesAreSeparate),
    .init("Records survive reopening", "PolicyStore", recordsSurvive),
    .init("Deletes survive reopening", "PolicyStore", deletesSurvive),
    .init("Revisions grow across reopening", "PolicyStore", revisionsGrowAcrossReopening),
    .init(
      "Revisions grow after the newest record was deleted and the store reopened", "PolicyStore",
      revisionsGrowAfterDelete),
    .init("After close every method is unavailable (closed)", "PolicyStore", closedIsUnavailable),
    .init("Closing twice does no harm", "PolicyStore", closingTwiceIsHarmless),
  ]

  @Sendable private static func revisionsGrow(_ trial: StoreTrial) async throws {
    var last = try await trial.currentRevision()
    func grows(_ revision: StoreRevision, _ doing: String) throws {
      try expect(revision > last, "\(doing) was at revision \(revision), after \(last).")
      last = revision
    }
    let one = try await trial.put("a")
    try grows(one.revision, "Creating 'a'")
    let two = try await trial.put("b")
    try grows(two.revision, "Creating 'b'")
    let changed = try await trial.put(one.key, [2], over: one.revision)
    try grows(changed.revision, "Changing 'a'")
    try grows(try await trial.remove(two), "Deleting 'b'")
    try grows(try await trial.put("c").revision, "Creating 'c'")
    try grows(try await trial.remove(changed), "Deleting 'a'")
    try grows(try await trial.put("a").revision, "Creating 'a' again")
  }

  @Sendable private static func currentRevisionIsNewest(_ trial: StoreTrial) async throws {
    let record = try await trial.put("a")
    var current = try await trial.currentRevision()
    try expect(current == record.revision, "After a write at \(record.revision) the revision is \(current).")
    let gone = try await trial.remove(record)
    current = try await trial.currentRevision()
    try expect(current == gone, "After a delete at \(gone) the revision is \(current).")
  }

  @Sendable private static func refusalsDoNotCount(_ trial: StoreTrial) async throws {
    let record = try await trial.put("a")
    _ = try await trial.compareAndSet(record.key, nil, [2])
    _ = try await trial.delete(record.key, .zero)
    _ = try await trial.read(record.key)
    _ = try await trial.list()
    let current = try await trial.currentRevision()
    try expect(current == record.revision, "Conflicts and reads moved the revision to \(current).")
  }

  @Sendable private static func readAndListAgree(_ trial: StoreTrial) async throws {
    for number in 0..<8 {
      var record = try await trial.put("r/\(number)", [0])
      if number % 2 == 0 { record = try await trial.put(record.key, [1], over: record.revision) }
      if number % 3 == 2 { try await trial.remove(record) }
    }
    for record in try await trial.list(prefix: "r/") { try await trial.expectRecord(record, "as listed") }
  }

  @Sendable private static func identitySurvives(_ trial: StoreTrial) async throws {
    let before = trial.store.identity
    try expect(!before.kind.isEmpty && !before.instance.isEmpty, "The identity '\(before)' has an empty part.")
    let after = try await trial.reopened().store.identity
    try expect(after == before, "The identity was '\(before)' and is '\(after)' after reopening.")
  }

  @Sendable private static func storesAreSeparate(_ trial: StoreTrial) async throws {
    let other = try await StoreTrial(trial.subject)
    try await trial.put("a")
    let (left, right) = (trial.store.identity, other.store.identity)
    let leaked = try await other.list()
    await other.bench.finish()
    try expect(left != right, "Two stores both call themselves '\(left)'.")
    try expect(leaked.isEmpty, "A record written to one store is in another.")
  }

  @Sendable private static func recordsSurvive(_ trial: StoreTrial) async throws {
    try trial.bench.requirePersistence()
    var records: [PolicyRecord] = []
    for number in 0..<20 {
      let record = try await trial.put("s/\(number)", [UInt8](repeating: UInt8(number), count: number * 100))
      records.append(number % 2 == 0 ? record : try await trial.put(record.key, [7], over: record.revision))
    }
    let again = try await trial.reopened()
    for record in records { try await again.expectRecord(record, "after reopening") }
    let listed = try await again.list()
    try expect(listed == records.sorted { $0.key < $1.key }, "After reopening the store lists \(listed.map(\.key)).")
  }

  @Sendable private static func deletesSurvive(_ trial: StoreTrial) async throws {
    try trial.bench.requirePersistence()
    let kept = try await trial.put("a", [1])
    let lost = try await trial.put("b", [2])
    try await trial.remove(lost)
    let again = try await trial.reopened()
    try await again.expectAbsent(lost.key, "deleted before reopening")
    try await again.expectRecord(kept, "after reopening")
    let listed = try await again.list()
    try expect(listed == [kept], "After reopening the store lists \(listed.map(\.key)).")
  }

  @Sendable private static func revisionsGrowAcrossReopening(_ trial: StoreTrial) async throws {
    try trial.bench.requirePersistence()
    let first = try await trial.put("a")
    let newest = try await trial.put("b")
    let again = try await trial.reopened()
    let current = try await again.currentRevision()
    try expect(current >= newest.revision, "The revision was \(newest.revision) and is \(current) after reopening.")
    let next = try await again.put(first.key, [2], over: first.revision)
    try expect(
      next.revision > newest.revision, "A write after \(newest.revision) and reopening is at \(next.revision).")
  }

  @Sendable private static func revisionsGrowAfterDelete(_ trial: StoreTrial) async throws {
    try trial.bench.requirePersistence()
    try await trial.put("a")
    let newest = try await trial.put("b")
    let gone = try await trial.remove(newest)
    let again = try await trial.reopened()
    let current = try await again.currentRevision()
    try expect(
      current >= gone, "The newest change was a delete at \(gone); after reopening the revision is \(current).")
    let next = try await again.put("b", [3])
    try expect(next.revision > gone, "The delete was at \(gone); after reopening a write is at \(next.revision).")
    let outcome = try await again.delete(newest.key, newest.revision)
    try again.expectConflict(outcome, with: next, "Deleting the record's earlier life")
  }

  @Sendable private static func closedIsUnavailable(_ trial: StoreTrial) async throws {
    let record = try await trial.put("a")
    await trial.store.close()
    try await trial.expectClosed(record)
  }

  @Sendable private static func closingTwiceIsHarmless(_ trial: StoreTrial) async throws {
    let record = try await trial.put("a")
    await trial.store.close()
    await trial.store.close()
    try await trial.expectClosed(record)
  }
}

extension StoreTrial {
  /// Every method must say that the store is closed.
  func expectClosed(_ record: PolicyRecord) async throws {
    try await refused(.unavailable, .closed, "Reading after close") { () async throws(KeyCustodyError) in
      _ = try await store.read(record.key)
    }
    try await refused(.unavailable, .closed, "Writing after close") { () async throws(KeyCustodyError) in
      _ = try await store.compareAndSet(record.key, expecting: record.revision, value: [2])
    }
    try await refused(.unavailable, .closed, "Deleting after close") { () async throws(KeyCustodyError) in
      _ = try await store.delete(record.key, expecting: record.revision)
    }
    try await refused(.unavailable, .closed, "Listing after close") { () async throws(KeyCustodyError) in
      _ = try await store.list(prefix: "", after: nil, limit: 10)
    }
    try await refused(.unavailable, .closed, "Watching after close") { () async throws(KeyCustodyError) in
      _ = try await store.watch(since: .zero)
    }
    try await refused(.unavailable, .closed, "Asking for the revision after close") {
      () async throws(KeyCustodyError) in
      _ = try await store.currentRevision()
    }
  }
}
