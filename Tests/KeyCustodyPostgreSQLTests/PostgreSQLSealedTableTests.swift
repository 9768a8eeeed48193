import Foundation
import KeyCustody
import KeyCustodyPostgreSQL
import KeyCustodySubjects
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

/// What is special to sealed records on a server; what every table does is in the conformance kit.
struct PostgreSQLSealedTableTests {
  private let notes: ResourceID

  init() throws { notes = try ResourceID("notes") }

  /// What looks as if it were sealed.
  private static func sealed(_ mark: UInt8, size: Int = 100) -> [UInt8] {
    Array("KCR".utf8) + [1] + [UInt8](repeating: 1, count: 8) + [UInt8](repeating: mark, count: size)
  }

  @Test("Of many that open an empty schema at once, one makes the table, and a policy store lives beside it")
  func openedAtOnce() async throws {
    let store = try ServerStore()
    let tables = try await withThrowingTaskGroup(of: (any SealedTable)?.self) { group in
      for number in 0..<8 {
        group.addTask {
          if number < 6 { return try await store.openTable(["connections": 1]) }
          let records = try await store.open(["connections": 1])
          try await records.put("beside/\(number)")
          await records.close()
          return nil
        }
      }
      return try await group.reduce(into: [any SealedTable]()) { if let table = $1 { $0.append(table) } }
    }
    let identities = Set(tables.compactMap { ($0 as? PostgreSQLSealedTable)?.identity })
    #expect(tables.count == 6 && identities.count == 1)
    try await tables[0].put(Self.sealed(1), label: [], as: "a", of: notes)
    #expect(try await tables[5].read("a", of: notes)?.sealed == Self.sealed(1))
    #expect(try store.ask("SELECT count(*) FROM $.sealed") == "1")
    for table in tables { await table.close() }
  }

  @Test("A table of a later version or of another program is refused; none is made where that is not allowed")
  func formats() async throws {
    let store = try ServerStore()
    await #expect(throws: KeyCustodyError.of(.unavailable, .unreachable)) {
      try await store.openTable(["create": false])
    }
    let table = try await store.openTable()
    await table.close()
    try store.ask("UPDATE $.sealed_format SET version = 2")
    let error = await #expect(throws: KeyCustodyError.of(.integrityFailure, .unknownFormat)) {
      try await store.openTable()
    }
    #expect(error?.message.contains("table of sealed records") == true)
    try store.ask("ALTER TABLE $.sealed_format RENAME COLUMN version TO other")
    await #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue)) { try await store.openTable() }
  }

  @Test("Who may make no schema is told so, and may use one that is there")
  func rights() async throws {
    let store = try ServerStore()
    let guest = "guest_\(UInt64.random(in: 0...UInt64.max))"
    try store.ask("CREATE ROLE \(guest) LOGIN")
    let asGuest: [String: ConfigurationValue] = ["url": .string("\(store.server.url())&user=\(guest)")]
    let error = await #expect(throws: KeyCustodyError.of(.unavailable, .unreachable)) {
      try await store.openTable(asGuest)
    }
    #expect(error?.message.contains("may not use the tables") == true)
    #expect(error?.remedy.contains("GRANT") == true)
    try store.ask("CREATE SCHEMA $; GRANT ALL ON SCHEMA $ TO \(guest)")
    let table = try await store.openTable(asGuest)
    try await table.put(Self.sealed(1), label: [], as: "a", of: notes)
    await table.close()
    try store.ask("DROP SCHEMA $ CASCADE; DROP ROLE \(guest)")
  }

  @Test("Sessions that the server ends, again and again, are noticed by nobody who reads or changes")
  func endedSessions() async throws {
    let store = try ServerStore()
    let table = try await store.openTable()
    for number in UInt8(1)...10 {
      try store.endSessions()
      try await table.put(Self.sealed(number), label: [number], as: "a", of: notes)
      try store.endSessions()
      let found = try #require(try await table.read("a", of: notes))
      #expect(found.label == [number])
      try store.endSessions()
      #expect(try await table.replace(Self.sealed(0), as: "a", of: notes, expecting: found.revision))
      try store.endSessions()
      #expect(try await table.page(of: notes, after: nil, excluding: nil, limit: 10).map(\.name) == ["a"])
      try store.endSessions()
      try await table.remove("a", of: notes)
    }
    await table.close()
  }

  @Test("A server that is away is unavailable, and everything goes on when it is back; another table is refused then")
  func away() async throws {
    let store = try ServerStore(PostgreSQLServer())
    let table = try await store.openTable()
    try await table.put(Self.sealed(1), label: [1], as: "a", of: notes)
    let administrator = try BlockingWorker()
    try await administrator.run { try store.server.shutDown() }
    let away = KeyCustodyError.of(.unavailable, .unreachable)
    for _ in 0..<3 {
      let error = await #expect(throws: away) { try await table.read("a", of: notes) }
      #expect(error?.retryAfter != nil)
      await #expect(throws: away) { try await table.put(Self.sealed(2), label: [], as: "b", of: notes) }
      await #expect(throws: away) { try await table.remove("a", of: notes) }
    }
    try await administrator.run { try store.server.start() }
    #expect(try await persistently { try await table.read("a", of: notes) }?.label == [1])
    try await persistently { try await table.put(Self.sealed(2), label: [2], as: "b", of: notes) }
    try store.ask("UPDATE $.sealed_store SET uuid = decode(repeat('00', 16), 'hex')")
    try store.endSessions()
    await #expect(throws: KeyCustodyError.of(.integrityFailure, .backendMismatch)) {
      try await persistently { try await table.read("a", of: notes) }
    }
    await table.close()
  }

  @Test(
    "With each request to the server failing in turn, a change is done or not, as it is told",
    arguments: [FaultKind.refused, .answerLost, .sessionsLost])
  func faults(_ kind: FaultKind) async throws {
    let store = try ServerStore()
    let socket = try TemporaryFolder()
    let steered = try SteeredServer(before: store.server.folder, in: socket.path)
    let address: [String: ConfigurationValue] = [
      "url": .string("postgresql://postgres@/postgres?host=\(socket.path)"), "timeout": 8, "connections": 1,
    ]
    let table = try await store.openTable(address)
    let other = try await store.openTable()
    try await table.put(Self.sealed(0), label: [0], as: "row", of: notes)
    var told = 0
    for call in 1...6 {
      for round in UInt8(0)..<4 {
        let mark = UInt8(call) * 10 + round
        let before = try await persistently { try await other.read("row", of: notes) }
        try await persistently { _ = try await table.read("row", of: notes) }
        steered.faults.inject(kind, call: call)
        var error: KeyCustodyError?
        var isDone = true
        do throws(KeyCustodyError) {
          switch round {
          case 0, 3: try await table.put(Self.sealed(mark), label: [mark], as: "row", of: notes)
          case 1:
            isDone = try await table.replace(
              Self.sealed(mark), as: "row", of: notes, expecting: before?.revision ?? 0)
          default: try await table.remove("row", of: notes)
          }
        } catch let failure { error = failure }
        steered.faults.heal()
        let after = try await other.read("row", of: notes)
        guard let error else {
          #expect(isDone)
          #expect(round == 2 ? after == nil : after?.sealed.last == mark, "call \(call), round \(round)")
          continue
        }
        told += 1
        if error.code != .timeout { #expect(after == before, "call \(call), round \(round): \(error)") }
      }
    }
    print("\(told) of 24 changes were told to have failed, with \(kind)")
    await table.close()
    await other.close()
  }

  @Test(
    "A row whose clear part was altered is named to whoever reads or lists it, never left out",
    arguments: [
      "revision = 5", "label = '\\x08'", "head = '\\x4b4352010202020202020202'", "size = 5", "digest = '\\x00'",
      "sealed = '\\x00'",
    ])
  func damagedRow(_ change: String) async throws {
    let store = try ServerStore()
    let table = try await store.openTable()
    for name in ["a", "b", "c"] { try await table.put(Self.sealed(1), label: [7], as: name, of: notes) }
    try store.ask("UPDATE $.sealed SET \(change) WHERE name = 'b'")
    let damaged = KeyCustodyError.of(.integrityFailure, .damaged)
    let error = await #expect(throws: damaged) { try await table.read("b", of: notes) }
    #expect(error?.message.contains("'b' of 'notes'") == true)
    for rootKey in [nil, [UInt8](repeating: 9, count: 8)] where !change.hasPrefix("sealed") {
      await #expect(throws: damaged) {
        try await table.page(of: notes, after: nil, excluding: rootKey, limit: 10)
      }
    }
    #expect(try await table.read("c", of: notes)?.label == [7])
    await table.close()
  }

  @Test("Rows under a root key that is left out are found by the index, not read")
  func plan() async throws {
    let store = try ServerStore()
    let table = try await store.openTable()
    try store.ask(
      """
      INSERT INTO $.sealed SELECT 'notes', ('item-' || n)::bytea, n, '\\x4b4352010101010101010101', 100, '', '', ''
      FROM generate_series(1, 20000) n; ANALYZE $.sealed
      """)
    let found = try await table.page(of: notes, after: nil, excluding: [UInt8](repeating: 1, count: 8), limit: 100)
    // A row that was read would be damage: none of these has a digest.
    #expect(found.isEmpty)
    await table.close()
  }
}
