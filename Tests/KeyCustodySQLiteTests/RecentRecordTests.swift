import GRDB
import KeyCustody
import KeyCustodyTestSupport
import Testing

@testable import KeyCustodySQLite

/// Records that are kept in memory after they were read.
struct RecentRecordTests {
  @Test("What was read before or while a change was made is not kept after it")
  func overtaken() throws {
    let recent = RecentRecords { SIMD8(repeating: 1) }
    let key = try RecordKey("a/b")
    let (old, new) = (
      PolicyRecord(key: key, revision: StoreRevision(1), value: [1]),
      PolicyRecord(key: key, revision: StoreRevision(2), value: [2])
    )
    let early = recent.moment
    recent.begin([.put(new)])
    let meanwhile = recent.moment
    // The change is not made yet: this is what a reader finds.
    recent.keep(old, readAt: meanwhile)
    #expect(recent.find(key) == nil)
    recent.end()
    for moment in [early, meanwhile] {
      recent.keep(old, readAt: moment)
      #expect(recent.find(key) == nil)
    }
    recent.keep(new, readAt: recent.moment)
    #expect(recent.find(key) == new)
    recent.begin([.deleted(key, StoreRevision(3))])
    #expect(recent.find(key) == nil)
    recent.end()
    #expect(recent.find(key) == nil)
  }

  @Test("What another program writes to the database is seen at once, though the record was read before")
  func otherProgram() async throws {
    let database = try DatabaseStore()
    defer { withExtendedLifetime(database) {} }
    let store = try await database.open()
    let (gone, kept) = (try RecordKey("a/gone"), try RecordKey("a/kept"))
    for key in [gone, kept] { try await store.put(key.description, [1]) }
    for key in [gone, kept, gone, kept] { #expect(try await store.read(key)?.value == [1]) }
    // Through a connection of its own, as another process would have one.
    try database.tamper { try $0.execute(sql: "DELETE FROM records WHERE key = 'a/gone'") }
    #expect(try await store.read(gone) == nil)
    #expect(try await store.read(kept)?.value == [1])
    try database.tamper { try $0.execute(sql: "UPDATE records SET value = x'02' WHERE key = 'a/kept'") }
    await #expect(throws: KeyCustodyError.of(.integrityFailure, .damaged)) { try await store.read(kept) }
    await store.close()
  }

  @Test("Only so many bytes are kept")
  func room() throws {
    let recent = RecentRecords { SIMD8(repeating: 1) }
    let moment = recent.moment
    var kept: [RecordKey] = []
    for number in 0..<200 {
      let key = try RecordKey("a/\(number)")
      recent.keep(
        PolicyRecord(key: key, revision: StoreRevision(1), value: [UInt8](repeating: 1, count: 100_000)), readAt: moment
      )
      kept.append(key)
      #expect(recent.find(key) != nil)
    }
    #expect(kept.filter { recent.find($0) != nil }.count <= 42)
  }

  @Test("Who was answered reads their own change, and no reader ever sees a record go back")
  func freshness() async throws {
    let database = try DatabaseStore()
    defer { withExtendedLifetime(database) {} }
    let store = try await database.open()
    let key = try RecordKey("a/b")
    guard case .stored(var revision) = try await store.compareAndSet(key, expecting: nil, value: [0]) else {
      Issue.record("nothing was there")
      return
    }
    let first = revision
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<4 {
        group.addTask {
          var last = first
          while let record = try await store.read(key) {
            #expect(record.revision >= last)
            last = record.revision
            // A record that is kept is read without waiting: leave room for the writer.
            await Task.yield()
          }
        }
      }
      for number in 1...200 {
        guard
          case .stored(let next) = try await store.compareAndSet(
            key, expecting: revision, value: [UInt8(truncatingIfNeeded: number)])
        else {
          Issue.record("a conflict with nobody")
          break
        }
        revision = next
        let found = try await store.read(key)
        #expect(found == PolicyRecord(key: key, revision: next, value: [UInt8(truncatingIfNeeded: number)]))
      }
      _ = try await store.delete(key, expecting: revision)
      #expect(try await store.read(key) == nil)
      try await group.waitForAll()
    }
    await store.close()
    await #expect(throws: KeyCustodyError.of(.unavailable, .closed)) { try await store.read(key) }
  }
}
