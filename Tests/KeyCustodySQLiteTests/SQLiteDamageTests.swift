import Foundation
import GRDB
import KeyCustody
import KeyCustodySQLite
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

/// Damage is named, and never read as "there is nothing".
struct SQLiteDamageTests {
  private static let damaged = KeyCustodyError.of(.integrityFailure, .damaged)
  private static let keys = (0..<60).map { "keys/\(100 + $0)" }

  @Test("RELIABILITY 36: a file that was cut, emptied or overwritten is refused by name")
  func wholeFile() async throws {
    let store = try DatabaseStore()
    let whole = try await store.filled(Self.keys, size: 500)
    var variants: [[UInt8]] = [[], [0], Array(repeating: 0, count: whole.count), Array("not a database".utf8)]
    variants += stride(from: 512, to: whole.count, by: 4096).map { Array(whole.prefix($0)) }
    variants += stride(from: 4096, to: whole.count, by: 4096).map { Array(whole.prefix($0)) }
    variants += stride(from: 0, to: whole.count, by: 4096).map { start in
      var changed = whole
      changed.replaceSubrange(start..<start + 4096, with: repeatElement(0, count: 4096))
      return changed
    }
    for variant in variants {
      try store.folder.write(variant, to: "records.sqlite")
      try await Self.expectNamed(store, variant.count)
    }
    print("files cut, emptied or overwritten: \(variants.count), each refused by name")
    try store.folder.write(whole, to: "records.sqlite")
    let again = try await store.open()
    #expect(try await again.all().count == Self.keys.count)
    await again.close()
  }

  /// Opens a damaged store: either it is refused, or the record that is damaged is; nothing is missing silently.
  private static func expectNamed(_ store: DatabaseStore, _ what: Int) async throws {
    do {
      let records = try await store.open()
      let error = await #expect(throws: KeyCustodyError.self, "\(what)") { try await records.all() }
      #expect(error == damaged && error?.message.contains(store.path) == true)
      await records.close()
    } catch let error as KeyCustodyError {
      #expect(error == damaged && error.message.contains(store.path), "\(error.debugDescription)")
    }
  }

  @Test("RELIABILITY 36: of every bit flipped, none gives a wrong record or hides one")
  func flippedBits() async throws {
    let store = try DatabaseStore()
    let whole = try await store.filled(Self.keys)
    let first = try await store.open()
    let due = try await first.all()
    await first.close()
    var random = Dice(seed: 5)
    let count = 400
    var (refused, named, harmless) = (0, 0, 0)
    for _ in 0..<count {
      var changed = whole
      changed[Int.random(in: 0..<whole.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      try store.folder.write(changed, to: "records.sqlite")
      let records: any PolicyStore
      do { records = try await store.open() } catch {
        let error = try #require(error as? KeyCustodyError)
        #expect([.integrityFailure, .unavailable].contains(error.code), "\(error.debugDescription)")
        refused += 1
        continue
      }
      var isNamed = false
      for record in due {
        do { #expect(try await records.read(record.key) == record) } catch {
          #expect(error == Self.damaged, "\(error)")
          isNamed = true
        }
      }
      do { #expect(try await records.all() == due) } catch {
        #expect(error as? KeyCustodyError == Self.damaged, "\(error)")
        #expect(isNamed)
      }
      if isNamed { named += 1 } else { harmless += 1 }
      await records.close()
    }
    #expect(refused > 0 && named > 0)
    print(
      "\(count) flipped bits: \(refused) databases refused, \(named) with a record refused, \(harmless) in free space")
  }

  @Test("A damaged record is refused by name, alone and in lists; others are served, and changes go on")
  func damagedRecord() async throws {
    let store = try DatabaseStore()
    _ = try await store.filled(Self.keys)
    try store.tamper { database in
      try database.execute(sql: "UPDATE records SET value = x'00' WHERE key = ?", arguments: [Self.keys[7]])
    }
    let records = try await store.open()
    let key = try RecordKey(Self.keys[7])
    let error = await #expect(throws: Self.damaged) { try await records.read(key) }
    #expect(error?.message.contains("'\(key)'") == true)
    await #expect(throws: Self.damaged) { try await records.list(prefix: "", after: nil, limit: 1000) }
    await #expect(throws: Self.damaged) { try await records.compareAndSet(key, expecting: nil, value: []) }
    await #expect(throws: Self.damaged) { try await records.delete(key, expecting: StoreRevision(8)) }
    #expect(try await records.read(try RecordKey(Self.keys[8])) != nil)
    #expect(try await records.list(prefix: "", after: key, limit: 1000).count == Self.keys.count - 8)
    #expect(try await records.read(try RecordKey("absent")) == nil)
    var changes = try await records.watch(since: StoreRevision(3)).makeAsyncIterator()
    #expect(await changes.next() == .resynchronize(StoreRevision(60)), "who watches reads again, and is told")
    try await records.put("more")
    await records.close()
    let again = try await store.open()
    #expect(try await again.read(try RecordKey("more")) != nil)
    await again.close()
  }

  @Test("Where the key of a record is damaged, nothing is said to be absent")
  func damagedKey() async throws {
    let store = try DatabaseStore()
    _ = try await store.filled(Self.keys)
    try store.tamper { database in
      try database.execute(sql: "UPDATE records SET key = 'keys/1071' WHERE key = ?", arguments: [Self.keys[7]])
    }
    let records = try await store.open()
    await #expect(throws: Self.damaged) { try await records.read(try RecordKey(Self.keys[7])) }
    await #expect(throws: Self.damaged) { try await records.put("new") }
    #expect(try await records.read(try RecordKey(Self.keys[8])) != nil)
    await records.close()
  }

  @Test("A record that is missing, put back, or of another time is found out at opening")
  func missingRecords() async throws {
    let store = try DatabaseStore()
    let whole = try await store.filled(Self.keys)
    for statement in [
      "DELETE FROM records WHERE key = 'keys/107'",
      "UPDATE records SET (value, digest, revision) = (SELECT value, digest, revision FROM records WHERE key = 'keys/108') WHERE key = 'keys/107'",
      "INSERT INTO records (key, revision, value, digest) SELECT 'keys/999', revision, value, digest FROM records LIMIT 1",
      "UPDATE store SET revision = revision - 1", "DELETE FROM store", "DROP TABLE records",
      "DROP INDEX records_by_key",
      "UPDATE store SET sum = zeroblob(32)",
    ] {
      try store.folder.write(whole, to: "records.sqlite")
      try store.tamper { try $0.execute(sql: statement) }
      try await Self.expectNamed(store, 0)
    }
    try FileManager.default.removeItem(atPath: store.path)
    try store.folder.write([1], to: "records.sqlite-wal")
    await #expect(throws: Self.damaged) { try await store.open() }
  }

  @Test("A database of another program, and one of a newer format, are refused and left as they are")
  func foreign() async throws {
    let store = try DatabaseStore()
    try store.tamper { try $0.execute(sql: "CREATE TABLE theirs (a); PRAGMA application_id = 7") }
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: store.path)
    let theirs = try store.folder.read("records.sqlite")
    let error = await #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue)) {
      try await store.open()
    }
    #expect(error?.message.contains("another program") == true)
    #expect(try store.folder.read("records.sqlite") == theirs)
    try FileManager.default.removeItem(atPath: store.path)
    _ = try await store.filled(["a"])
    try store.tamper { try $0.execute(sql: "PRAGMA user_version = 2; PRAGMA wal_checkpoint(TRUNCATE)") }
    let newer = await #expect(throws: KeyCustodyError.of(.integrityFailure, .unknownFormat)) { try await store.open() }
    #expect(newer?.message.contains("format 2") == true)
  }

  @Test("A full disk refuses what needs room, says so, and loses nothing; with room again it goes on")
  func full() async throws {
    let store = try DatabaseStore()
    let records = try await SQLitePolicyStore(path: store.path, system: POSIXFileSystem(), pageLimit: 40)
    var revisions: [String: StoreRevision] = [:]
    var refused = 0
    await withTaskGroup(of: (String, Result<StoreRevision, any Error>).self) { group in
      for number in 0..<200 {
        group.addTask {
          let key = "full/\(number)"
          do { return (key, .success(try await records.put(key, [UInt8](repeating: 1, count: 1000)))) } catch {
            return (key, .failure(error))
          }
        }
      }
      for await (key, outcome) in group {
        switch outcome {
        case .success(let revision): revisions[key] = revision
        case .failure(let error):
          #expect(error as? KeyCustodyError == .of(.unavailable, .init("no-space")), "\(error)")
          refused += 1
        }
      }
    }
    #expect(refused > 50 && revisions.count > 20)
    #expect(try await records.all().count == revisions.count)
    // Neighbours in the file, so that whole pages become free.
    let oldest = revisions.sorted { $0.value < $1.value }.prefix(12)
    for (key, revision) in oldest { _ = try await records.delete(try RecordKey(key), expecting: revision) }
    try await records.put("full/again", [UInt8](repeating: 1, count: 900))
    await records.close()
    let again = try await store.open()
    #expect(try await again.all().count == revisions.count - 11)
    try await again.put("full/more", [UInt8](repeating: 1, count: 5000))
    await again.close()
    print("full: \(revisions.count) records written, \(refused) refused, none lost")
  }

  @Test("A file that is taken away or exchanged while it is open takes no further change")
  func vanished() async throws {
    let store = try DatabaseStore()
    let records = try await store.open()
    try await records.put("a")
    let gone = KeyCustodyError.of(.unavailable, .unreachable)
    try FileManager.default.moveItem(atPath: store.path, toPath: "\(store.path).moved")
    let error = await #expect(throws: gone) { try await records.put("b") }
    #expect(error?.message.contains("not at") == true)
    try store.folder.write([1], to: "records.sqlite")
    await #expect(throws: gone) { try await records.put("b") }
    try FileManager.default.removeItem(atPath: store.path)
    try FileManager.default.moveItem(atPath: "\(store.path).moved", toPath: store.path)
    try await records.put("b")
    await records.close()
  }

  @Test("A database that another program holds locked is busy, and nothing has happened")
  func lockedByAnother() async throws {
    let store = try DatabaseStore()
    let records = try await store.open()
    var configuration = Configuration()
    configuration.allowsUnsafeTransactions = true
    let other = try DatabaseQueue(path: store.path, configuration: configuration)
    try await other.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
    await #expect(throws: KeyCustodyError.of(.busy, .init("locked"))) { try await records.put("a") }
    #expect(try await records.read(try RecordKey("a")) == nil, "who reads waits for nobody")
    try await other.writeWithoutTransaction { try $0.execute(sql: "ROLLBACK") }
    try await records.put("a")
    try other.close()
    await records.close()
  }
}
