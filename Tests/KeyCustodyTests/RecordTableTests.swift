import KeyCustody
import KeyCustodyTesting
import Testing

@Suite("Record names")
struct RecordKeyTests {
  @Test(
    "Segments of the allow-list are taken",
    arguments: [
      "a", "a/b", "A.b_c-d~e/0", "...a", "-", "~", String(repeating: "x", count: 200),
      String(repeating: "x", count: 200) + "/" + String(repeating: "y", count: 199),
    ])
  func good(_ text: String) throws {
    #expect(try RecordKey(text).description == text)
  }

  @Test(
    "Names that could leave their folder, or be read differently elsewhere, are refused",
    arguments: [
      "", "/", "/a", "a/", "a//b", ".", "..", "...", "a/..", "../a", "a/./b", "a b", "a\\b", "a\u{0}", "a\n", "ä",
      "a%b",
      "a:b", "a*", "é", "а", String(repeating: "x", count: 201), String(repeating: "a/", count: 200) + "a",
    ])
  func bad(_ text: String) {
    #expect(throws: KeyCustodyError(.invalidInput, .badName, "")) { try RecordKey(text) }
  }

  @Test("Names are compared and ordered byte by byte")
  func ordered() throws {
    let names = try ["A", "B", "a", "a-b", "a.b", "a/b", "a0", "aB", "a_b", "ab", "a~"].map { try RecordKey($0) }
    #expect(names.reversed().sorted() == names)
    #expect(try RecordKey("a") != RecordKey("A"))
  }
}

@Suite("Record table")
struct RecordTableTests {
  private func record(_ key: String, _ revision: UInt64, _ value: [UInt8] = []) throws -> PolicyRecord {
    PolicyRecord(key: try RecordKey(key), revision: StoreRevision(revision), value: value)
  }

  @Test("A change is planned at the next revision when the expected one is there")
  func plans() throws {
    var table = RecordTable()
    let a = try RecordKey("a")
    guard case .proceed(StoreRevision(1)) = table.plan(a, expecting: nil) else {
      return #expect(Bool(false), "a creation")
    }
    try table.put(record("a", 1))
    try table.put(record("b", 2))
    guard case .proceed(StoreRevision(3)) = table.plan(a, expecting: StoreRevision(1)) else {
      return #expect(Bool(false), "a change")
    }
    for expected in [nil, .zero, StoreRevision(2), StoreRevision(3)] as [StoreRevision?] {
      guard case .conflict(let found) = table.plan(a, expecting: expected) else {
        return #expect(Bool(false), "a conflict")
      }
      #expect(try found == record("a", 1))
    }
    guard case .conflict(nil) = table.plan(try RecordKey("c"), expecting: StoreRevision(2)) else {
      return #expect(Bool(false), "a conflict with nothing")
    }
    #expect(table.revision == StoreRevision(2))
    #expect(table.count == 2)
  }

  @Test("Planning changes nothing; the revision grows by writes and removals alone")
  func revisions() throws {
    var table = RecordTable([try record("a", 5)], revision: StoreRevision(9))
    #expect(table.revision == StoreRevision(9))
    _ = table.plan(try RecordKey("b"), expecting: nil)
    #expect(table.revision == StoreRevision(9))
    table.remove(try RecordKey("a"), at: StoreRevision(10))
    #expect(table.revision == StoreRevision(10))
    #expect(try table[RecordKey("a")] == nil)
    #expect(table.count == 0)
    #expect(try RecordTable([record("a", 5)]).revision == StoreRevision(5))
  }

  @Test("Pages are in byte order, by textual prefix, after any key")
  func pages() throws {
    var table = RecordTable()
    let names = ["a/1", "a/2", "a/3", "a0", "b", "A"]
    for (number, name) in names.enumerated() { try table.put(record(name, UInt64(number + 1))) }
    func page(_ prefix: String, _ after: String? = nil, _ limit: Int = .max) throws -> [String] {
      table.page(prefix: prefix, after: try after.map { try RecordKey($0) }, limit: limit).map(\.key.description)
    }
    #expect(try page("") == ["A", "a/1", "a/2", "a/3", "a0", "b"])
    #expect(try page("a") == ["a/1", "a/2", "a/3", "a0"])
    #expect(try page("a/") == ["a/1", "a/2", "a/3"])
    #expect(try page("a/", "a/1", 1) == ["a/2"])
    #expect(try page("a/", "a/15") == ["a/2", "a/3"])
    #expect(try page("a/", "A") == ["a/1", "a/2", "a/3"])
    #expect(try page("a/", "z") == [])
    #expect(try page("b", "a/1") == ["b"])
    #expect(try page("zz") == [])
    #expect(try page("", nil, 0) == [])
    #expect(try page("", nil, -1) == [])
    try table.put(record("a/15", 7))
    table.remove(try RecordKey("a/2"), at: StoreRevision(8))
    #expect(try page("a/") == ["a/1", "a/15", "a/3"])
  }

  @Test("A watcher is told puts and removals since its revision, in order, newest state only")
  func changes() throws {
    var table = RecordTable()
    try table.put(record("a", 1))
    try table.put(record("b", 2))
    try table.put(record("a", 3, [3]))
    table.remove(try RecordKey("b"), at: StoreRevision(4))
    let b = try RecordKey("b")
    let a3 = StoreChange.put(try record("a", 3, [3]))
    #expect(table.changes(since: .zero) == [a3, .deleted(b, StoreRevision(4))])
    #expect(table.changes(since: StoreRevision(2)) == [a3, .deleted(b, StoreRevision(4))])
    #expect(table.changes(since: StoreRevision(3)) == [.deleted(b, StoreRevision(4))])
    #expect(table.changes(since: StoreRevision(4)) == [])
    try table.put(record("b", 5))
    #expect(try table.changes(since: StoreRevision(3)) == [.put(record("b", 5))])
  }

  @Test("E8: a watcher since before the table was opened is told to read again, a new one is not")
  func resynchronizes() throws {
    let table = RecordTable([try record("a", 3)], revision: StoreRevision(7))
    #expect(table.changes(since: StoreRevision(6)) == [.resynchronize(StoreRevision(7))])
    #expect(table.changes(since: StoreRevision(7)) == [])
    #expect(try table.changes(since: StoreRevision(2)) == [.resynchronize(StoreRevision(7)), .put(record("a", 3))])
    #expect(try table.changes(since: .zero) == [.put(record("a", 3))])
  }

  @Test("E8: when deletions are forgotten, whoever may have missed one is told so")
  func forgetsManyDeletions() throws {
    var table = RecordTable()
    for number in 1...10_001 { table.remove(try RecordKey("k\(number)"), at: StoreRevision(UInt64(number))) }
    #expect(table.changes(since: StoreRevision(5000)) == [.resynchronize(StoreRevision(10_001))])
    #expect(table.changes(since: StoreRevision(10_001)) == [])
  }

  @Test("Any sequence of changes gives the table that a dictionary would", arguments: UInt64(0)..<8)
  func agreesWithModel(_ seed: UInt64) throws {
    let random = SeededRandom(seed: seed)
    var table = RecordTable()
    var model: [String: UInt64] = [:]
    var told: [String: UInt64] = [:]
    var seen = StoreRevision.zero
    for step in 1...400 {
      let name = "k/\(random.next() % 12)"
      let revision = StoreRevision(UInt64(step))
      if random.next() % 3 == 0 {
        table.remove(try RecordKey(name), at: revision)
        model[name] = nil
      } else {
        try table.put(record(name, UInt64(step)))
        model[name] = UInt64(step)
      }
      guard random.next() % 5 == 0 else { continue }
      for change in table.changes(since: seen) {
        switch change {
        case .put(let record): told[record.key.description] = record.revision.number
        case .deleted(let key, _): told[key.description] = nil
        case .resynchronize: Issue.record("Nothing was forgotten.")
        }
      }
      seen = table.revision
      #expect(told == model)
      let page = table.page(prefix: "k/1", after: nil, limit: .max)
      #expect(page.map(\.key.description) == model.keys.filter { $0.hasPrefix("k/1") }.sorted())
    }
  }

  @Test("A value over the limit is refused, one at the limit is not")
  func limits() throws {
    try PolicyStoreLimits.check([UInt8](repeating: 0, count: 256 << 10))
    #expect(throws: KeyCustodyError(.invalidInput, .wrongSize, "")) {
      try PolicyStoreLimits.check([UInt8](repeating: 0, count: 256 << 10 + 1))
    }
  }
}
