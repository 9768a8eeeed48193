import Foundation
import GRDB
import KeyCustody
import KeyCustodySQLite
import KeyCustodySubjects
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

/// What is special to sealed records in a database; what every table does is in the conformance kit.
struct SQLiteSealedTableTests {
  @Test("The file is private, ours by its numbers, kept with a log that waits for the disk, and held by one opening")
  func form() async throws {
    let database = try SealedDatabase()
    let first = try await database.open()
    try await first.put(SealedDatabase.sealed(1), label: [], as: "a", of: database.notes)
    for suffix in ["", "-wal", "-shm", ".lock"] {
      let attributes = try FileManager.default.attributesOfItem(atPath: database.path + suffix)
      #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600, "data.sqlite\(suffix)")
    }
    let error = await #expect(throws: KeyCustodyError.of(.busy, .init("locked"))) { try await database.open() }
    #expect(error?.remedy.contains("a file of its own") == true)
    await first.close()
    #expect(try database.ask("PRAGMA application_id") == "\(0x4b43_5344)")
    #expect(try database.ask("PRAGMA user_version") == "1")
    #expect(try database.ask("PRAGMA journal_mode") == "wal")
    #expect(try database.ask("PRAGMA integrity_check") == "ok")
  }

  @Test("A configuration needs the path, takes no key that nothing reads, and makes nothing where that is not allowed")
  func configuration() async throws {
    let database = try SealedDatabase()
    await #expect(throws: KeyCustodyError.of(.invalidInput, .unknownConfigurationKey)) {
      try await database.open(["directory": "x"])
    }
    await #expect(throws: KeyCustodyError.of(.unavailable, .unreachable)) { try await database.open(["create": false]) }
    #expect(!FileManager.default.fileExists(atPath: database.path))
  }

  @Test("A policy store, a database of another program or a later version is refused by what it is")
  func others() async throws {
    let database = try SealedDatabase()
    let store = try await SQLitePolicyStore(path: database.path)
    await store.close()
    let kind = await #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue)) {
      try await database.open()
    }
    #expect(kind?.message.contains("is a policy store") == true)
    try FileManager.default.removeItem(atPath: database.path)
    try await database.fill(1)
    let other = await #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue)) {
      try await SQLitePolicyStore(path: database.path)
    }
    #expect(other?.message.contains("is a table of sealed records") == true)
    try database.tamper { try $0.execute(sql: "PRAGMA user_version = 2") }
    let later = await #expect(throws: KeyCustodyError.of(.integrityFailure, .unknownFormat)) {
      try await database.open()
    }
    #expect(later?.message.contains("format 2") == true)
    try database.tamper { try $0.execute(sql: "PRAGMA application_id = 77; PRAGMA user_version = 1") }
    await #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue)) { try await database.open() }
  }

  @Test(
    "A row whose clear part was altered is named to whoever reads or lists it, never left out",
    arguments: [
      "name = x'6974656d2d31303031ff'", "name = 'item-1001'", "revision = 5", "revision = -5", "label = x'08'",
      "head = x'4b4352010202020202020202'", "size = 5", "digest = x'00'", "label = 'text'", "size = NULL OR 1",
    ])
  func damagedRow(_ change: String) async throws {
    let database = try SealedDatabase()
    try await database.fill(4)
    try database.tamper { try $0.execute(sql: "UPDATE items SET \(change) WHERE name = CAST('item-1001' AS BLOB)") }
    let table = try await database.open()
    let damaged = KeyCustodyError.of(.integrityFailure, .damaged)
    if !change.hasPrefix("name") {
      let error = await #expect(throws: damaged) { try await table.read("item-1001", of: database.notes) }
      #expect(error?.message.contains("'item-1001' of 'notes'") == true)
    }
    for rootKey in [nil, [UInt8](repeating: 9, count: 8)] {
      await #expect(throws: damaged) {
        try await table.page(of: database.notes, after: nil, excluding: rootKey, limit: 10)
      }
    }
    #expect(try await table.read("item-1002", of: database.notes)?.sealed == SealedDatabase.sealed(2))
    await table.close()
  }

  @Test("Sealed bytes of another length or head than the row says are damage; a page that is overwritten is too")
  func damagedBytes() async throws {
    let database = try SealedDatabase()
    try await database.fill(300)
    try database.tamper {
      try $0.execute(sql: "UPDATE items SET sealed = x'00' WHERE name = CAST('item-1001' AS BLOB)")
    }
    let damaged = KeyCustodyError.of(.integrityFailure, .damaged)
    let table = try await database.open()
    await #expect(throws: damaged) { try await table.read("item-1001", of: database.notes) }
    await table.close()
    let whole = try database.folder.read("data.sqlite")
    var found = 0
    for page in stride(from: 4096, to: whole.count, by: 4096) {
      var bytes = whole
      bytes.replaceSubrange(page..<page + 4096, with: [UInt8](repeating: 0xaa, count: 4096))
      try database.folder.write(bytes, to: "data.sqlite")
      let outcome = await #expect(throws: damaged) {
        let table = try await database.open()
        do {
          var last: String?
          while case let page = try await table.page(of: database.notes, after: last, excluding: nil, limit: 50),
            let end = page.last
          {
            last = end.name
          }
          for key in UInt8(1)...2 {
            let other = [UInt8](repeating: key, count: 8)
            _ = try await table.page(of: database.notes, after: nil, excluding: other, limit: 1000)
          }
          for number in 0..<300 where number != 1 {
            _ = try await table.read("item-\(1000 + number)", of: database.notes)
          }
          try await table.put(SealedDatabase.sealed(1), label: [7], as: "item-1001", of: database.notes)
          try await table.removeAll(of: database.notes)
        } catch {
          await table.close()
          throw error
        }
        await table.close()
      }
      if outcome != nil { found += 1 }
    }
    #expect(found > 5)
  }

  @Test("A full database is told, changes nothing, and takes again what there is room for")
  func full() async throws {
    let database = try SealedDatabase()
    let table = try await SQLiteSealedTable(
      path: database.path, environment: RuntimeEnvironment(), system: POSIXFileSystem(), pageLimit: 40)
    var count = 0
    let error = await #expect(throws: KeyCustodyError.of(.unavailable, .noSpace)) {
      while count < 100 {
        try await table.put(SealedDatabase.sealed(1, size: 9000), label: [], as: "item-\(count)", of: database.notes)
        count += 1
      }
    }
    #expect(error?.remedy.contains("df") == true && count > 5)
    await withTaskGroup(of: Void.self) { group in
      for number in 0..<8 {
        group.addTask {
          await #expect(throws: KeyCustodyError.of(.unavailable, .noSpace)) {
            try await table.put(
              SealedDatabase.sealed(1, size: 90_000), label: [], as: "big-\(number)", of: database.notes)
          }
        }
      }
    }
    #expect(try await table.page(of: database.notes, after: nil, excluding: nil, limit: 100).count == count)
    try await table.remove("item-0", of: database.notes)
    try await table.put(SealedDatabase.sealed(2, size: 9000), label: [], as: "item-0", of: database.notes)
    await table.close()
  }

  @Test(
    "With each call to the files failing in turn, a change is done or not, and what is told of it is so after a restart",
    arguments: [FaultKind.refused, .answerLost, .outage])
  func faults(_ kind: FaultKind) async throws {
    let folder = try TemporaryFolder()
    let files = try SteeredDatabaseFiles(in: folder.path)
    let notes = try ResourceID("notes")
    let open = {
      try await SQLiteSealedTable(
        path: folder.appending("data.sqlite"), environment: RuntimeEnvironment(), system: files.system)
    }
    var table = try await open()
    try await table.put(SealedDatabase.sealed(0), label: [0], as: "row", of: notes)
    var last: UInt8 = 0
    var (failed, unknown, isOver) = (0, 0, false)
    for call in 1...60 where !isOver {
      let mark = UInt8(call)
      let before = files.faults.calls()
      files.faults.inject(kind, call: call)
      var told: KeyCustodyError?
      do throws(KeyCustodyError) {
        try await table.put(SealedDatabase.sealed(mark), label: [mark], as: "row", of: notes)
      } catch { told = error }
      isOver = files.faults.calls() - before < call
      files.faults.heal()
      let found = try #require(try await table.read("row", of: notes))
      #expect(found.label == [found.sealed.last ?? 0])
      switch told {
      case nil: #expect(found.label == [mark])
      case let error? where error.code == .timeout:
        unknown += 1
        #expect([[last], [mark]].contains(found.label))
      case _?:
        failed += 1
        #expect(found.label == [last], "call \(call): it was said that nothing happened")
      }
      last = found.label.first ?? 0
      await table.close()
      table = try await open()
      #expect(try await table.read("row", of: notes) == found, "call \(call)")
    }
    #expect(isOver, "every call was tried")
    #expect(failed + unknown > 0)
    await table.close()
  }
}
