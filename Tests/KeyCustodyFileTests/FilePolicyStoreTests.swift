import KeyCustody
import KeyCustodyFile
import KeyCustodyTestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What is special to records in files; what every policy store does is in the conformance kit.
struct FilePolicyStoreTests {
  private func put(_ records: any PolicyStore, _ key: String, _ value: [UInt8]) async throws -> StoreRevision {
    guard case .stored(let revision) = try await records.compareAndSet(try RecordKey(key), expecting: nil, value: value)
    else { throw KeyCustodyError(.fault, .conflict, key) }
    return revision
  }

  @Test("A second opening is busy, and says what to do; after closing it works")
  func exclusive() async throws {
    let store = try FileStore()
    let first = try await store.openRecords()
    let error = await #expect(throws: KeyCustodyError.of(.busy, .init("locked"))) { try await store.openRecords() }
    #expect(error?.message.contains(store.records) == true)
    #expect(error?.message.contains("elsewhere in this process") == true)
    #expect(error?.remedy.contains("a folder of its own") == true)
    await first.close()
    await (try await store.openRecords()).close()
  }

  @Test("A damaged record is refused by name, alone and in lists, and others are served")
  func damagedRecord() async throws {
    let store = try FileStore()
    let first = try await store.openRecords()
    for key in ["a/1", "a/2", "a/3", "b/1"] { _ = try await put(first, key, Array(key.utf8)) }
    await first.close()
    let name = "records/records/a,2.record"
    let whole = try store.folder.read(name)
    var variants: [[UInt8]] = [[], try store.folder.read("records/records/a,1.record"), whole + [0]]
    variants += whole.indices.map { index in
      var changed = whole
      changed[index] ^= 1 << UInt8(index % 8)
      return changed
    }
    variants += (1..<whole.count).map { Array(whole.prefix($0)) }
    let damaged = KeyCustodyError.of(.integrityFailure, .damaged)
    for variant in variants {
      try store.folder.write(variant, to: name)
      let records = try await store.openRecords()
      let error = await #expect(throws: damaged) { try await records.read(try RecordKey("a/2")) }
      #expect(error?.message.contains(name) == true)
      await #expect(throws: damaged) { try await records.list(prefix: "a/", after: nil, limit: 10) }
      await #expect(throws: damaged) { try await records.list(prefix: "", after: nil, limit: 2) }
      await #expect(throws: damaged) {
        try await records.compareAndSet(try RecordKey("a/2"), expecting: nil, value: [])
      }
      #expect(try await records.read(try RecordKey("a/3"))?.value == Array("a/3".utf8))
      #expect(try await records.list(prefix: "b/", after: nil, limit: 10).count == 1)
      #expect(try await records.list(prefix: "a/", after: nil, limit: 1).count == 1)
      #expect(try await records.list(prefix: "a/", after: try RecordKey("a/2"), limit: 9).count == 1)
      await records.close()
    }
    print("damaged record files refused: \(variants.count)")
    try store.folder.write(whole, to: name)
    let again = try await store.openRecords()
    #expect(try await again.list(prefix: "a/", after: nil, limit: 10).count == 3)
    await again.close()
  }

  @Test("Revisions grow even when the file that reserves them is lost or damaged")
  func lostRevisions() async throws {
    let store = try FileStore()
    var last = StoreRevision.zero
    for damage: [UInt8]? in [nil, [], [1, 2, 3]] {
      let records = try await store.openRecords()
      for number in 0..<3 {
        let key = "r/\(number)/\(last)"
        let revision = try await put(records, key, [])
        #expect(revision > last)
        last = revision
        // The newest is deleted, so that no record tells how far the store had come.
        let outcome = try await records.delete(try RecordKey(key), expecting: revision)
        guard case .stored(let gone) = outcome else {
          Issue.record("\(outcome)")
          return
        }
        #expect(gone > last)
        last = gone
      }
      await records.close()
      if let damage {
        try store.folder.write(damage, to: "records/revision")
      } else {
        try POSIXFileSystem().remove(store.records + "/revision")
      }
    }
  }

  @Test("Keys that differ in case alone, long keys and hidden-looking keys are files of their own")
  func names() async throws {
    let store = try FileStore()
    let long = String(repeating: "Ab", count: 95)
    let keys = [
      "a", "A", "a/B", "A/b", "aB/x", "Ab/x", ".hidden", "x.record", "-", "~", "x..y", "_", long,
      long + "/" + long.lowercased(),
      long + "/" + long, "tail/" + String(repeating: "z", count: 195), "tail/" + String(repeating: "z", count: 196),
    ]
    let first = try await store.openRecords()
    for key in keys { _ = try await put(first, key, Array(key.utf8)) }
    await first.close()
    let files = try POSIXFileSystem().names(in: store.records + "/records")
    #expect(Set(files.map { $0.lowercased() }).count == keys.count)
    #expect(files.allSatisfy { $0.utf8.count < 255 })
    let again = try await store.openRecords()
    for key in keys { #expect(try await again.read(try RecordKey(key))?.value == Array(key.utf8)) }
    #expect(
      try await again.list(prefix: "", after: nil, limit: 100).map(\.key.description)
        == keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
    await again.close()
  }

  @Test("2,000 hostile names: each is refused, or is a file within the folder")
  func hostileNames() async throws {
    let store = try FileStore()
    let records = try await store.openRecords()
    let parts = [
      "..", ".", "a", "/", "\\", "\0", "%2e%2e%2f", "%00", "\u{202e}", "é", "CON", "~", "-rf", ",", "+", "!", " ", "\n",
      "*",
      "'", "\"", ";", "$(x)", "A", ".tmp",
    ]
    var tried = 0
    var taken = 0
    for first in parts {
      for second in parts {
        for third in ["", "/", "/..", "x"] where tried < 2000 {
          tried += 1
          let text = first + second + third
          guard let key = try? RecordKey(text) else { continue }
          if case .stored = try await records.compareAndSet(key, expecting: nil, value: Array(text.utf8)) { taken += 1 }
        }
      }
    }
    print("hostile names: \(tried) tried, \(taken) taken as records")
    let system = POSIXFileSystem()
    #expect(try system.names(in: store.records + "/records").count == taken)
    #expect(try system.names(in: store.records).sorted() == ["lock", "records", "revision", "store.json"])
    #expect(try system.names(in: store.folder.path).sorted() == ["key-file", "records"])
    #expect(tried == 2000 && taken > 10)
    await records.close()
  }

  @Test("Folders have mode 700 and files 600, and a record that others may change is refused with the cure")
  func permissions() async throws {
    let store = try FileStore()
    let first = try await store.openRecords()
    _ = try await put(first, "a", [1])
    await first.close()
    let path = store.records + "/records/a.record"
    #expect(try POSIXFileSystem().status(path, followingLink: false)?.permissions == 0o600)
    #expect(try POSIXFileSystem().status(store.records, followingLink: false)?.permissions == 0o700)
    unsafe chmod(path, 0o620)
    let records = try await store.openRecords()
    let error = await #expect(throws: KeyCustodyError.of(.denied, .init("unsafe-permissions"))) {
      try await records.read(try RecordKey("a"))
    }
    #expect(error?.remedy.contains("chmod go= '\(path)'") == true)
    await records.close()
  }

  @Test("The write of a full value survives reopening, byte for byte")
  func largestValue() async throws {
    let store = try FileStore()
    let value = try SystemRandom().bytes(PolicyStoreLimits.valueSize)
    let first = try await store.openRecords()
    _ = try await put(first, "large", value)
    await first.close()
    let again = try await store.openRecords()
    #expect(try await again.read(try RecordKey("large"))?.value == value)
    await again.close()
  }

  @Test("A store that was closed opens again while a copy of the process that fork made lives on")
  func closedDuringFork() async throws {
    let store = try FileStore()
    let records = try await store.openRecords()
    // Swift hides `fork`, since a child of many threads may do little; this one does nothing.
    let symbol = try unsafe #require(dlsym(nil, "fork"))
    typealias Fork = @convention(c) () -> pid_t
    let child = unsafe unsafeBitCast(symbol, to: Fork.self)()
    if child == 0 { while true { pause() } }
    defer {
      kill(child, SIGKILL)
      var status: Int32 = 0
      while unsafe waitpid(child, &status, 0) == -1 && errno == EINTR {}
    }
    await records.close()
    await #expect(throws: Never.self) { await (try store.openRecords()).close() }
  }
}
