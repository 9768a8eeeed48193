import KeyCustody
import KeyCustodyMemory
import Testing

/// What is special to records in memory; what every policy store does is in the conformance kit.
struct MemoryPolicyStoreTests {
  private func open(_ plugin: MemoryPlugin) async throws -> any PolicyStore {
    let section = KeyCustodyConfiguration(["plugin": "memory"]).root
    return try await [plugin.plugin].openPolicyStore(section, RuntimeEnvironment())
  }

  @Test("Records and revisions outlive a store's closing within one plugin value, and no further")
  func reopening() async throws {
    let plugin = MemoryPlugin()
    let key = try RecordKey("vaults/one")
    let first = try await open(plugin)
    #expect(try await first.compareAndSet(key, expecting: nil, value: [1]) == .stored(StoreRevision(1)))
    await first.close()
    await #expect(throws: KeyCustodyError(.unavailable, .closed, "")) { try await first.read(key) }

    let second = try await open(plugin)
    #expect(try await second.read(key)?.value == [1])
    #expect(try await second.currentRevision() == StoreRevision(1))
    let other = try await open(MemoryPlugin())
    #expect(try await other.read(key) == nil)
    #expect(other.identity != second.identity)
    await second.close()
    await other.close()
  }

  @Test("A watcher that begins amid changes misses none and sees none twice")
  func watchWithoutGap() async throws {
    let store = try MemoryPolicyStore()
    let last = 2000
    let writer = Task {
      for number in 1...last {
        _ = try await store.compareAndSet(try RecordKey("r/\(number)"), expecting: nil, value: [])
      }
    }
    var seen: [UInt64] = []
    for await change in try await store.watch(since: .zero) {
      guard case .put(let record) = change else { continue }
      seen.append(record.revision.number)
      if seen.count == last { break }
    }
    try await writer.value
    #expect(seen == (1...UInt64(last)).map { $0 })
    await store.close()
  }

  @Test("Closing one store ends its own streams and leaves another's")
  func closingEndsOwnStreams() async throws {
    let plugin = MemoryPlugin()
    let (first, second) = (try await open(plugin), try await open(plugin))
    var ended = try await first.watch(since: .zero).makeAsyncIterator()
    var alive = try await second.watch(since: .zero).makeAsyncIterator()
    await first.close()
    #expect(await ended.next() == nil)
    let key = try RecordKey("a")
    _ = try await second.compareAndSet(key, expecting: nil, value: [9])
    #expect(await alive.next() == .put(PolicyRecord(key: key, revision: StoreRevision(1), value: [9])))
    await second.close()
  }
}
