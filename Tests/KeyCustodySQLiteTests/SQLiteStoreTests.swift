import Foundation
import GRDB
import KeyCustody
import KeyCustodySQLite
import KeyCustodyTestSupport
import Testing

/// What is special to records in a database; what every policy store does is in the conformance kit.
struct SQLiteStoreTests {
  @Test("A configuration needs the path, and takes no key that nothing reads")
  func configuration() async throws {
    let store = try DatabaseStore()
    await #expect(throws: KeyCustodyError.of(.invalidInput, .unknownConfigurationKey)) {
      try await store.open(["directory": "x"])
    }
    let missing = KeyCustodyError.of(.invalidInput, .missingConfigurationKey)
    await #expect(throws: missing) {
      try await [SQLitePlugin.plugin].openPolicyStore(
        KeyCustodyConfiguration(["plugin": "sqlite"]).root, RuntimeEnvironment())
    }
    #expect(!FileManager.default.fileExists(atPath: store.path), "nothing is touched before the settings are right")
    await #expect(throws: KeyCustodyError.of(.unavailable, .unreachable)) { try await store.open(["create": false]) }
    #expect(!FileManager.default.fileExists(atPath: store.path))
  }

  @Test("The file is private, ours by its numbers, and kept with a log that waits for the disk")
  func form() async throws {
    let store = try DatabaseStore()
    let first = try await store.open()
    try await first.put("a")
    for suffix in ["", "-wal", "-shm", ".lock"] {
      let attributes = try FileManager.default.attributesOfItem(atPath: store.path + suffix)
      #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600, "records.sqlite\(suffix)")
    }
    await first.close()
    #expect(first.identity.kind == "sqlite" && first.identity.instance.count == 32)
    #expect(try FileManager.default.contentsOfDirectory(atPath: store.folder.path).count == 2, "the log is gone")
    #expect(try store.ask("PRAGMA application_id") == "\(0x4b43_5053)")
    #expect(try store.ask("PRAGMA user_version") == "1")
    #expect(try store.ask("PRAGMA journal_mode") == "wal")
  }

  @Test("A second opening is busy and says what to do, in this process and by name in another one")
  func exclusive() async throws {
    let store = try DatabaseStore()
    let first = try await store.open()
    let error = await #expect(throws: KeyCustodyError.of(.busy, .init("locked"))) { try await store.open() }
    #expect(error?.message.contains("elsewhere in this process") == true)
    #expect(error?.remedy.contains("a file of its own") == true)
    await first.close()
    let process = Process()
    process.executableURL = URL(filePath: try Executable("KeyCustodySQLiteProbe").path)
    process.arguments = [store.path, "hold"]
    let (input, output) = (Pipe(), Pipe())
    process.standardInput = input
    process.standardOutput = output
    try process.run()
    #expect(String(decoding: output.fileHandleForReading.availableData, as: UTF8.self) == "open\n")
    let refused = await #expect(throws: KeyCustodyError.of(.busy, .init("locked"))) { try await store.open() }
    #expect(refused?.message.contains("process \(process.processIdentifier) (KeyCustodySQLi") == true)
    try input.fileHandleForWriting.close()
    process.waitUntilExit()
    await (try await store.open()).close()
  }

  @Test("A folder or file that others may change is refused")
  func permissions() async throws {
    let store = try DatabaseStore()
    _ = try await store.filled(["a"])
    let unsafe = KeyCustodyError.of(.denied, .init("unsafe-permissions"))
    for (path, mode, right) in [(store.path, 0o640, 0o600), (store.folder.path, 0o770, 0o700)] {
      try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
      await #expect(throws: unsafe, "\(path)") { try await store.open() }
      try FileManager.default.setAttributes([.posixPermissions: right], ofItemAtPath: path)
    }
    let link = try DatabaseStore()
    try FileManager.default.createSymbolicLink(atPath: link.path, withDestinationPath: store.path)
    await #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue)) { try await link.open() }
    await (try await store.open()).close()
  }

  @Test("Names that quote, climb or mean something to SQL are refused, or are records like others")
  func hostileNames() async throws {
    let store = try DatabaseStore()
    let records = try await store.open()
    let pieces = [
      "'", "\"", "`", ";", "--", "/*", "*/", "%", "_", "\\", "\u{0}", "\n", "..", ".", "/", "~", "-", "é", "ß", "İ",
      "🔑",
      " ", "\u{200b}", "\u{ff0f}", "%2e%2e", "x'00'", "NULL", "DROP TABLE records", "a", "Z", "sqlite_master", "rowid",
      "?1",
      ":key", "@a", "$a", "[", "]", "(", ")", "=", "|",
    ]
    var random = SystemRandomNumberGenerator()
    var names: Set<String> = []
    while names.count < 2000 {
      names.insert((0..<Int.random(in: 1...5, using: &random)).map { _ in pieces.randomElement() ?? "a" }.joined())
    }
    var taken: Set<String> = []
    for name in names {
      guard let key = try? RecordKey(name) else {
        // As a prefix it may be anything.
        let listed = try await records.list(prefix: name, after: nil, limit: 1000)
        #expect(listed.allSatisfy { $0.key.description.utf8.starts(with: name.utf8) })
        continue
      }
      taken.insert(name)
      try await records.put(key.description, Array(name.utf8))
    }
    let found = try await records.all()
    #expect(found.map(\.key) == found.map(\.key).sorted())
    #expect(Set(found.map(\.key.description)) == taken)
    #expect(found.allSatisfy { $0.value == Array($0.key.description.utf8) })
    await records.close()
    #expect(try FileManager.default.contentsOfDirectory(atPath: store.folder.path).count == 2)
    print("hostile names: \(names.count), \(taken.count) of them are names of records")
  }

  @Test("A store whose table was made when values came before digests is opened, read and written as any other")
  func olderOrder() async throws {
    let database = try DatabaseStore()
    _ = try await database.filled(["a", "b", "c"], size: 6000)
    try database.tamper { database in
      try database.execute(
        sql: """
          ALTER TABLE records RENAME TO later;
          CREATE TABLE records (key TEXT NOT NULL, revision INTEGER NOT NULL, value BLOB NOT NULL, digest BLOB NOT NULL);
          INSERT INTO records (key, revision, value, digest) SELECT key, revision, value, digest FROM later;
          DROP TABLE later;
          CREATE UNIQUE INDEX records_by_key ON records (key);
          """)
    }
    let store = try await database.open()
    #expect(try await store.read(try RecordKey("b"))?.value.count == 6000)
    _ = try await store.put("d")
    await store.close()
    let again = try await database.open()
    #expect(try await again.list(prefix: "", after: nil, limit: 10).map(\.key.description) == ["a", "b", "c", "d"])
    await again.close()
  }

  @Test("Where the index leads from a name to another's record, nothing is said to be absent")
  func swappedIndex() async throws {
    let database = try DatabaseStore()
    _ = try await database.filled(["a", "b", "c"])
    try database.tamper { database in
      // The index of a table with the same names at other places is put in place of the store's.
      try database.execute(
        sql: """
          CREATE TABLE other (key TEXT NOT NULL);
          INSERT INTO other (key) VALUES ('b'), ('a'), ('c');
          CREATE UNIQUE INDEX other_by_key ON other (key);
          PRAGMA writable_schema = ON;
          UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'other_by_key')
            WHERE name = 'records_by_key';
          DELETE FROM sqlite_master WHERE name = 'other_by_key';
          PRAGMA writable_schema = RESET;
          """)
    }
    let store = try await database.open()
    #expect(try await store.read(try RecordKey("c")) != nil)
    for key in ["a", "b", "absent"] {
      await #expect(throws: KeyCustodyError.of(.integrityFailure, .damaged), "\(key)") {
        try await store.read(try RecordKey(key))
      }
    }
    await store.close()
  }

  @Test("Deletions are remembered over reopening, up to ten thousand of them; before that a watcher reads again")
  func history() async throws {
    let store = try DatabaseStore()
    let records = try await store.open()
    let count = 10_100
    try await records.put("stays")
    let start = try await records.currentRevision()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<64 {
        group.addTask {
          for number in stride(from: task, to: count, by: 64) {
            let key = try RecordKey("gone/\(number)")
            let revision = try await records.put(key.description)
            _ = try await records.delete(key, expecting: revision)
          }
        }
      }
      try await group.waitForAll()
    }
    let late = try await records.currentRevision()
    let last = try await records.put("last")
    _ = try await records.delete(try RecordKey("last"), expecting: last)
    await records.close()
    let again = try await store.open()
    var old = try await again.watch(since: start).makeAsyncIterator()
    if case .resynchronize(let revision) = await old.next() {
      #expect(revision > start && revision < late)
    } else {
      Issue.record("a watcher since before what is remembered must read again")
    }
    var new = try await again.watch(since: late).makeAsyncIterator()
    #expect(await new.next() == .deleted(try RecordKey("last"), StoreRevision(last.number + 1)))
    await again.close()
  }

  @Test(
    "A hundred thousand records are written, opened, read and listed in a time that does not grow with their square")
  func manyRecords() async throws {
    let store = try DatabaseStore()
    let records = try await store.open()
    let count = 100_000
    let clock = ContinuousClock()
    let writing = try await clock.measure {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for task in 0..<256 {
          group.addTask {
            for number in stride(from: task, to: count, by: 256) {
              try await records.put("many/\(number)", [UInt8](repeating: 7, count: 200))
            }
          }
        }
        try await group.waitForAll()
      }
    }
    await records.close()
    var opened: (any PolicyStore)?
    let opening = try await clock.measure { opened = try await store.open() }
    let again = try #require(opened)
    var found = 0
    let reading = try await clock.measure {
      for number in 0..<1000 where try await again.read(try RecordKey("many/\(number)")) != nil { found += 1 }
    }
    #expect(found == 1000)
    var listed = 0
    let listing = try await clock.measure { listed = try await again.all().count }
    #expect(listed == count)
    await again.close()
    // Not optimized here, and beside other tests: a bound against reading them in a way that grows with their square.
    #expect(opening < .seconds(20))
    print(
      "\(count) records: written in \(writing), opened in \(opening), 1000 read in \(reading), listed in \(listing)")
  }
}
