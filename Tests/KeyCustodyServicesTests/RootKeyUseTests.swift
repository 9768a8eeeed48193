import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTesting
import Synchronization
import Testing

@testable import KeyCustodyServices

struct RootKeyUseTests {
  @Test("E16: how much data is under which root key is counted, and an older one is gone when nothing is under it")
  func counts() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource("notes")
    let store = MemorySealedStore()
    for number in 0..<150 {
      try store.put(
        try await notes.seal([UInt8](repeating: 1, count: number), as: "n\(number)"), as: "n\(number)", of: notes.id)
    }
    func outer() async throws -> [RootKeyUse] {
      try await notes.rootKeyUse(in: [store]).filter { $0.layer == .customer && $0.group == .longTerm }
    }
    let before = try await outer()
    #expect(before.map(\.items) == [150] && before.map(\.bytes) == [Int64(150 * 104 + 149 * 75)])
    // New data goes under the customer's key; the stored data is not converted while its store fails.
    let key = try await bench.makeKey()
    let failing = FailingStore(inner: store)
    await #expect(throws: KeyCustodyError.self) {
      try await notes.enableCustomerKey(key, converting: [failing])
    }
    try store.put(try await notes.seal([1], as: "new"), as: "new", of: notes.id)
    let between = try await outer()
    #expect(between.map(\.isPrimary) == [false, true])
    #expect(between.map(\.items) == [140, 11])
    try await notes.resumeConversion(of: [store])
    let after = try await outer()
    #expect(after.map(\.items) == [151] && after.first?.id == between.last?.id && after.first?.kek.name == key.name)
    #expect(try await notes.rootKeyUse(in: [store]).filter { $0.layer == .service }.allSatisfy { $0.items == nil })
  }
}

private final class Renewals: Sendable {
  private let count = Atomic(0)
  func next() -> Int { count.add(1, ordering: .relaxed).newValue }
}

/// Renews ten items and then no more.
private struct FailingStore: SealedStore {
  let inner: MemorySealedStore
  let renewed = Renewals()

  func items(
    of resource: ResourceID, after object: String?, limit: Int
  ) async throws(KeyCustodyError) -> [SealedItem] {
    try await inner.items(of: resource, after: object, limit: limit)
  }

  func renew(_ item: SealedItem, _ renewal: SealedRenewal) async throws(KeyCustodyError) {
    guard renewed.next() <= 10 else { throw down }
    try await inner.renew(item, renewal)
  }
}
