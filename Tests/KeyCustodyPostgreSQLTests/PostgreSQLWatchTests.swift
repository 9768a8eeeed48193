import KeyCustody
import KeyCustodyPostgreSQL
import KeyCustodyTestSupport
import Testing

/// Several stores on one database: what one changes, the others see.
struct PostgreSQLWatchTests {
  @Test(
    "E8: a store is told of what another one on the same database changes, by the server or by looking itself",
    arguments: [true, false])
  func otherProcess(notifies: Bool) async throws {
    let store = try ServerStore()
    // With notifications nothing but these can wake the one that watches.
    let more: [String: ConfigurationValue] =
      notifies ? ["pollMilliseconds": 60_000] : ["notifications": false, "pollMilliseconds": 20]
    let (left, right) = (try await store.open(more), try await store.open(more))
    var changes = try await right.watch(since: .zero).makeAsyncIterator()
    let clock = ContinuousClock()
    var longest = Duration.zero
    for number in 0..<20 {
      let key = try RecordKey("a/\(number)")
      let start = clock.now
      let revision = try await left.put(key.description)
      #expect(await changes.next() == .put(PolicyRecord(key: key, revision: revision, value: [1])))
      longest = max(longest, clock.now - start)
      guard case .stored(let gone) = try await left.delete(key, expecting: revision) else {
        Issue.record("a record that was just made is there")
        continue
      }
      #expect(await changes.next() == .deleted(key, gone))
      #expect(try await right.read(key) == nil)
      #expect(try await right.currentRevision() == gone)
    }
    await left.close()
    await right.close()
    print("notifications \(notifies): the other store was told within \(longest)")
  }

  @Test("Under changes of four stores at once, no revision is left out and none comes after a higher one")
  func noGaps() async throws {
    let store = try ServerStore()
    var stores: [any PolicyStore] = []
    for number in 0..<4 {
      stores.append(try await store.open(["notifications": .boolean(number % 2 == 0), "pollMilliseconds": 10]))
    }
    let streams = [
      try await stores[0].watch(since: .zero), try await stores[1].watch(since: .zero),
      try await stores[3].watch(since: .zero),
    ]
    let count = 4 * 8 * 15
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (number, store) in stores.enumerated() {
        for task in 0..<8 {
          group.addTask {
            for change in 0..<15 { try await store.put("n/\(number)/\(task)/\(change)") }
          }
        }
      }
      for stream in streams {
        group.addTask {
          var last: UInt64 = 0
          for await change in stream {
            guard case .put(let record) = change else { continue }
            #expect(record.revision.number == last + 1)
            last = record.revision.number
            if last == count { return }
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(try await stores[2].currentRevision().number == count)
    for store in stores { await store.close() }
  }

  @Test("64 writers in two stores that count by compare-and-set lose no count")
  func counters() async throws {
    let store = try ServerStore()
    let stores = [try await store.open(), try await store.open()]
    let key = try RecordKey("counter")
    try await stores[0].put("counter", [0])
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<64 {
        group.addTask {
          let store = stores[number % 2]
          var seen = try #require(try await store.read(key))
          while case .conflict(let found) = try await store.compareAndSet(
            key, expecting: seen.revision, value: [seen.value[0] + 1])
          { seen = try #require(found) }
        }
      }
      try await group.waitForAll()
    }
    #expect(try await stores[1].read(key)?.value == [64])
    for store in stores { await store.close() }
  }

  @Test("Deletions are remembered up to a limit; before that a watcher reads again")
  func history() async throws {
    let store = try ServerStore()
    let configuration = KeyCustodyConfiguration(store.server.settings(schema: store.schema))
    var settings = try PostgreSQLSettings(configuration.root, RuntimeEnvironment())
    settings.deletionLimit = 50
    let records = try await PostgreSQLPolicyStore(settings)
    try await records.put("stays")
    let start = try await records.currentRevision()
    for number in 0..<70 {
      let revision = try await records.put("gone/\(number)")
      _ = try await records.delete(try RecordKey("gone/\(number)"), expecting: revision)
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
    let left = try #require(Int(try store.ask("SELECT count(*) FROM $.deletions")))
    #expect(left <= 51)
    await again.close()
  }
}
