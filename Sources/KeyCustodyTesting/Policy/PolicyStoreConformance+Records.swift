import KeyCustody

extension PolicyStoreConformance {
  /// Single records: reading, comparing and setting, deleting, and what they may hold.
  static let records: [StoreBehavior] = [
    .init("Reading what is not there gives nothing", "PolicyStore", absentIsNil),
    .init("A record is created when there is none", "PolicyStore", createIfAbsent),
    .init("Creating what exists conflicts and tells what is there", "PolicyStore", createOfExistingConflicts),
    .init("A write at the right revision replaces the record", "PolicyStore", rightRevisionReplaces),
    .init("A write at a wrong revision conflicts and changes nothing", "PolicyStore", wrongRevisionConflicts),
    .init("A write over a record that is not there conflicts", "PolicyStore", writeOverAbsentConflicts),
    .init("A delete at the right revision removes the record", "PolicyStore", rightRevisionDeletes),
    .init("A delete at a wrong revision conflicts and changes nothing", "PolicyStore", wrongRevisionDoesNotDelete),
    .init("A delete of what is not there conflicts with nothing", "PolicyStore", deleteOfAbsentConflicts),
    .init("A record made anew is another one than before", "PolicyStore", recreatedRecordIsNew),
    .init("Values are kept byte for byte", "PolicyStore", valuesAreBinary),
    .init("An empty value is a value", "PolicyStore", emptyValueIsKept),
    .init("A value at the limit is kept", "PolicyStore", largestValueIsKept),
    .init("A value over the limit is refused and changes nothing", "PolicyStore", tooLargeValueIsRefused),
    .init("Keys that differ only in case are different", "PolicyStore", caseMatters),
    .init("The longest and oddest keys are taken", "PolicyStore", longestKeysAreTaken),
  ]

  @Sendable private static func absentIsNil(_ trial: StoreTrial) async throws {
    try await trial.expectAbsent(trial.key("a/b"), "in an empty store")
    try await trial.put("a/b/c")
    try await trial.expectAbsent(trial.key("a/b"), "beside 'a/b/c'")
    try await trial.expectAbsent(trial.key("a/b/c/d"), "beside 'a/b/c'")
  }

  @Sendable private static func createIfAbsent(_ trial: StoreTrial) async throws {
    let record = try await trial.put("vaults/one", [1, 2, 3])
    try expect(record.revision > .zero, "The first revision is \(record.revision).")
    try await trial.expectRecord(record, "after it was created")
  }

  @Sendable private static func createOfExistingConflicts(_ trial: StoreTrial) async throws {
    let record = try await trial.put("vaults/one", [1])
    let outcome = try await trial.compareAndSet(record.key, nil, [2])
    try trial.expectConflict(outcome, with: record, "Creating a record that exists")
    try await trial.expectRecord(record, "after a second creation")
  }

  @Sendable private static func rightRevisionReplaces(_ trial: StoreTrial) async throws {
    var record = try await trial.put("a", [0])
    for number in UInt8(1)..<4 {
      let next = try await trial.put(record.key, [number], over: record.revision)
      try expect(next.revision > record.revision, "Revision \(record.revision) was followed by \(next.revision).")
      record = next
      try await trial.expectRecord(record, "after a write")
    }
  }

  @Sendable private static func wrongRevisionConflicts(_ trial: StoreTrial) async throws {
    let first = try await trial.put("a", [1])
    let second = try await trial.put(first.key, [2], over: first.revision)
    let other = try await trial.put("b", [3])
    for wrong in [first.revision, .zero, other.revision, StoreRevision(.max)] {
      let outcome = try await trial.compareAndSet(first.key, wrong, [9])
      try trial.expectConflict(outcome, with: second, "Writing at revision \(wrong) instead of \(second.revision)")
      try await trial.expectRecord(second, "after a write at a wrong revision")
    }
  }

  @Sendable private static func writeOverAbsentConflicts(_ trial: StoreTrial) async throws {
    let other = try await trial.put("other")
    let key = try trial.key("a")
    for wrong in [.zero, other.revision, StoreRevision(7)] {
      let outcome = try await trial.compareAndSet(key, wrong, [1])
      try trial.expectConflict(outcome, with: nil, "Writing at revision \(wrong) where nothing is")
      try await trial.expectAbsent(key, "after a refused write")
    }
  }

  @Sendable private static func rightRevisionDeletes(_ trial: StoreTrial) async throws {
    let record = try await trial.put("a", [1])
    let neighbour = try await trial.put("a/b", [2])
    let revision = try await trial.remove(record)
    try expect(revision > neighbour.revision, "A delete after revision \(neighbour.revision) was at \(revision).")
    try await trial.expectAbsent(record.key, "after it was deleted")
    try await trial.expectRecord(neighbour, "after 'a' was deleted")
    let left = try await trial.list()
    try expect(left == [neighbour], "After a delete the store lists \(left.map(\.key)).")
  }

  @Sendable private static func wrongRevisionDoesNotDelete(_ trial: StoreTrial) async throws {
    let first = try await trial.put("a", [1])
    let second = try await trial.put(first.key, [2], over: first.revision)
    for wrong in [first.revision, .zero, StoreRevision(.max)] {
      let outcome = try await trial.delete(first.key, wrong)
      try trial.expectConflict(outcome, with: second, "Deleting at revision \(wrong) instead of \(second.revision)")
      try await trial.expectRecord(second, "after a refused delete")
    }
  }

  @Sendable private static func deleteOfAbsentConflicts(_ trial: StoreTrial) async throws {
    let record = try await trial.put("a")
    try trial.expectConflict(
      try await trial.delete(trial.key("b"), record.revision), with: nil, "Deleting what never was")
    try await trial.remove(record)
    try trial.expectConflict(
      try await trial.delete(record.key, record.revision), with: nil, "Deleting a second time")
  }

  @Sendable private static func recreatedRecordIsNew(_ trial: StoreTrial) async throws {
    let old = try await trial.put("a", [1])
    let gone = try await trial.remove(old)
    let new = try await trial.put("a", [1])
    try expect(new.revision > gone, "A record made after revision \(gone) is at \(new.revision).")
    let outcome = try await trial.compareAndSet(old.key, old.revision, [2])
    try trial.expectConflict(outcome, with: new, "Writing over the record's earlier life")
  }

  @Sendable private static func valuesAreBinary(_ trial: StoreTrial) async throws {
    let values: [[UInt8]] = [
      Array(0...255), Array((0...255).reversed()), [0], [0, 0, 0], Array("\r\n'\"\\;--\u{0}é🔑".utf8),
      [0xff, 0xfe, 0xc0],
      [UInt8](repeating: 0, count: 5000), Array("null".utf8), Array("{}".utf8),
    ]
    for (number, value) in values.enumerated() {
      let record = try await trial.put("v/\(number)", value)
      try await trial.expectRecord(record, "as bytes")
    }
    let listed = try await trial.list(prefix: "v/").map(\.value)
    try expect(listed == values, "Listed values differ from those written.")
  }

  @Sendable private static func emptyValueIsKept(_ trial: StoreTrial) async throws {
    let record = try await trial.put("empty", [])
    try await trial.expectRecord(record, "with an empty value")
    try trial.expectConflict(
      try await trial.compareAndSet(record.key, nil, [1]), with: record, "Creating over an empty value")
    let listed = try await trial.list()
    try expect(listed == [record], "A record with an empty value is not listed as it is.")
  }

  @Sendable private static func largestValueIsKept(_ trial: StoreTrial) async throws {
    let value = (0..<PolicyStoreLimits.valueSize).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let record = try await trial.put("large", value)
    try await trial.expectRecord(record, "at the limit of size")
  }

  @Sendable private static func tooLargeValueIsRefused(_ trial: StoreTrial) async throws {
    let record = try await trial.put("a", [1])
    let before = try await trial.currentRevision()
    let value = [UInt8](repeating: 1, count: PolicyStoreLimits.valueSize + 1)
    let fresh = try trial.key("b")
    for (key, expected) in [(record.key, Optional(record.revision)), (fresh, nil)] {
      try await refused(.invalidInput, .wrongSize, "Writing \(value.count) bytes") { () async throws(KeyCustodyError) in
        _ = try await trial.store.compareAndSet(key, expecting: expected, value: value)
      }
    }
    try await trial.expectRecord(record, "after too large a value")
    try await trial.expectAbsent(fresh, "after too large a value")
    let after = try await trial.currentRevision()
    try expect(after == before, "A refused write moved the revision from \(before) to \(after).")
  }

  @Sendable private static func caseMatters(_ trial: StoreTrial) async throws {
    var records: [PolicyRecord] = []
    for (number, name) in ["t/Key", "t/key", "t/KEY", "T/key"].enumerated() {
      records.append(try await trial.put(name, [UInt8(number)]))
    }
    for record in records { try await trial.expectRecord(record, "beside others that differ only in case") }
    let listed = try await trial.list(prefix: "t/")
    try expect(listed.map(\.key.description) == ["t/KEY", "t/Key", "t/key"], "'t/' lists \(listed.map(\.key)).")
  }

  @Sendable private static func longestKeysAreTaken(_ trial: StoreTrial) async throws {
    let segment = String(repeating: "x", count: 199)
    let names = [
      "\(segment)/\(segment)y", "\(segment)/\(segment)z", String(repeating: "a/", count: 199) + "ab", "-", "~", "_",
      ".a",
      "a.", "...a", "a..b", "~tilde", "-dash/--", "CON", "nul.txt", "a.tmp", "a.json", "0",
    ]
    var records: [PolicyRecord] = []
    for (number, name) in names.enumerated() { records.append(try await trial.put(name, [UInt8(number)])) }
    for record in records { try await trial.expectRecord(record, "beside other odd keys") }
    let listed = try await trial.list()
    try expect(listed == records.sorted { $0.key < $1.key }, "Odd keys are listed as \(listed.map(\.key)).")
  }
}
