import KeyCustody
import KeyCustodyTesting
import Testing

@testable import KeyCustodyServices

struct RecordCacheTests {
  @Test("E6: an older record is not kept when another resource was deleted while the newer one was read")
  func outdated() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource("notes")
    let path = try KeyCustody.path(notes.id)
    let old = try #require(try await bench.custody.resources.readRevised(path))
    try await bench.custody.change(notes.id) { $0.mode = .enabling }
    let new = try #require(try await bench.custody.resources.readRevised(path))
    let cache = RecordCache()
    let before = cache.deletions
    #expect(cache.remember(old, readAt: before).isNews)
    cache.forget(try ResourceID("other"), isDeleted: true)
    #expect(cache.remember(new, readAt: before).isNews)
    #expect(cache[notes.id] == nil, "neither is known for sure")
  }

  @Test("E6: who reads an older state than this process has seen reads again, and is told when it stays so")
  func older() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource("notes")
    let path = try KeyCustody.path(notes.id)
    let old = try #require(try await bench.custody.policyStores["state"]?.read(path))
    try await bench.custody.change(notes.id) { $0.followsNewest = true }
    bench.hooks.answer(old, times: 3)
    #expect(try await bench.custody.record(notes.id).followsNewest == true, "the fourth answer is the newer")
    bench.hooks.answer(old, times: .max)
    #expect(await failure { _ = try await bench.custody.record(notes.id) } == error(.busy, .conflict))
    bench.hooks.answer(old, times: 0)
    try await notes.roundTrip()
  }

  @Test("Of many resources so many are remembered, and of these the ones in use")
  func bounded() async throws {
    let bench = try await ServiceBench()
    let used = try await bench.makeResource("used")
    let found = try #require(try await bench.custody.resources.readRevised(try KeyCustody.path(used.id)))
    let cache = RecordCache(maximumRecent: 10)
    _ = cache.remember(found, readAt: 0)
    for number in 0..<100 {
      let other = try await bench.custody.createResource(
        ResourceID("other-\(number)"), tenant: TenantID("contoso"), profile: try .language())
      let record = try #require(try await bench.custody.resources.readRevised(try KeyCustody.path(other.id)))
      _ = cache.remember(record, readAt: 0)
      #expect(cache[used.id] != nil && cache[other.id] != nil && cache.count <= 20)
    }
    #expect(try cache[ResourceID("other-0")] == nil)
    cache.forget(used.id)
    #expect(cache[used.id] == nil)
  }

  @Test("E12: upkeep leaves in memory what is in use, and nothing else")
  func upkeep() async throws {
    let bench = try await ServiceBench()
    let (used, unused) = (try await bench.makeResource("used"), try await bench.makeResource("unused"))
    bench.custody.cache.forgetAll()
    _ = try await used.seal([1], as: "value")
    try await bench.custody.rotateServiceKeys()
    #expect(try await bench.custody.upkeep().resources == 2)
    #expect(bench.custody.cache[used.id] != nil && bench.custody.cache[unused.id] == nil)
    #expect(try await unused.open(try await unused.seal([2], as: "value"), as: "value") == [2])
  }
}
