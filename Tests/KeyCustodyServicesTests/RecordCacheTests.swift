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
    #expect(cache.remember(old, readAt: before).record.mode == .serviceManaged)
    cache.forget(try ResourceID("other"), isDeleted: true)
    #expect(cache.remember(new, readAt: before).record.mode == .enabling)
    #expect(cache[notes.id] == nil, "neither is known for sure")
  }
}
