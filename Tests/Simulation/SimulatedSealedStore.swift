import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyServices
import Synchronization

/// One process's connection to where sealed items are kept.
struct SimulatedSealedStore: SealedStore {
  let link: Link

  func put(_ sealed: [UInt8], as object: String) async throws(KeyCustodyError) {
    let item = SealedItem(
      object: object, dataClass: try DataClass("long-term"), header: try SealedHeader(parsing: sealed),
      size: Int64(sealed.count))
    if link.world.bug == .leaseExtendedByWrites { link.fallBehind(by: .seconds(60)) }
    try await link.call(.items, "put") { () async throws(KeyCustodyError) in
      link.world.items.withLock { $0[object] = World.StoredItem(item: item, sealed: sealed) }
    }
  }

  func get(_ object: String) async throws(KeyCustodyError) -> [UInt8]? {
    try await link.call(.items, "get") { () async throws(KeyCustodyError) in
      link.world.items.withLock { $0[object]?.sealed }
    }
  }

  func remove(_ object: String) async throws(KeyCustodyError) {
    try await link.call(.items, "remove") { () async throws(KeyCustodyError) in
      _ = link.world.items.withLock { $0.removeValue(forKey: object) }
    }
  }

  func items(
    of resource: ResourceID, after object: String?, limit: Int
  ) async throws(KeyCustodyError) -> [SealedItem] {
    try await link.call(.items, "items") { () async throws(KeyCustodyError) in
      let all = link.world.items.withLock { $0.values.map(\.item) }.sorted { $0.object < $1.object }
      if link.world.bug == .keyDestroyedEarly { return [] }
      let visible = all.filter { link.world.bug != .skippedItem || !$0.object.hasSuffix("7") }
      return Array(visible.filter { item in object.map { $0 < item.object } ?? true }.prefix(min(limit, 3)))
    }
  }

  func renew(_ item: SealedItem, _ renewal: SealedRenewal) async throws(KeyCustodyError) {
    guard let old = try await get(item.object) else { return }
    let new = try await renewal.renew(old)
    let header = try SealedHeader(parsing: new)
    try await link.call(.items, "renew") { () async throws(KeyCustodyError) in
      link.world.items.withLock { items in
        guard items[item.object]?.sealed == old else { return }
        items[item.object]?.sealed = new
        items[item.object]?.item.header = header
        items[item.object]?.item.size = Int64(new.count)
      }
    }
  }
}
