public import KeyCustody
import KeyCustodyEnvelope
import Synchronization

/// Sealed values in memory: for services whose data lives in a cache of their own, and for tests.
public final class MemorySealedStore: SealedStore {
  private struct Entry {
    var item: SealedItem
    var sealed: [UInt8]
  }
  /// The values of one resource.
  private struct Shelf {
    var entries: [String: Entry] = [:]
    /// Their names in order, but for those that came since somebody last asked for a page.
    private var names: [String] = []
    private var added: [String] = []

    mutating func keep(_ entry: Entry) {
      if entries.updateValue(entry, forKey: entry.item.object) == nil { added.append(entry.item.object) }
    }

    /// Up to `limit` names after one.
    mutating func page(after name: String?, limit: Int) -> ArraySlice<String> {
      if !added.isEmpty { settle() }
      var (low, high) = (0, names.count)
      if let name {
        while low < high {
          let middle = (low + high) / 2
          if names[middle] > name { high = middle } else { low = middle + 1 }
        }
      }
      return names[low..<min(low + max(limit, 0), names.count)]
    }

    private mutating func settle() {
      added.sort()
      var all: [String] = []
      all.reserveCapacity(names.count + added.count)
      var rest = names[...]
      for name in added {
        while let first = rest.first, first < name { all.append(rest.removeFirst()) }
        all.append(name)
      }
      all += rest
      (names, added) = (all, [])
    }
  }
  /// By the resources' folded names.
  private let shelves = Mutex<[String: Shelf]>([:])

  /// Nothing yet.
  public init() {}

  /// Keeps a sealed value, replacing an earlier one of that name.
  public func put(
    _ sealed: [UInt8], as object: String, of resource: ResourceID, dataClass: String = ProtectedResource.defaultClass,
    identifiers: [String: String] = [:]
  ) throws(KeyCustodyError) {
    let item = SealedItem(
      object: object, dataClass: try DataClass(dataClass), identifiers: identifiers,
      header: try SealedHeader(parsing: sealed), size: Int64(sealed.count))
    shelves.withLock { $0[resource.folded, default: Shelf()].keep(Entry(item: item, sealed: sealed)) }
  }

  /// A kept value; `nil` when there is none.
  public func get(_ object: String, of resource: ResourceID) -> [UInt8]? {
    shelves.withLock { $0[resource.folded]?.entries[object]?.sealed }
  }

  /// See ``SealedStore``.
  public func items(
    of resource: ResourceID, after object: String?, limit: Int
  ) async throws(KeyCustodyError) -> [SealedItem] {
    shelves.withLock { shelves in
      guard let names = shelves[resource.folded]?.page(after: object, limit: limit) else { return [] }
      return names.compactMap { shelves[resource.folded]?.entries[$0]?.item }
    }
  }

  /// See ``SealedStore``.
  public func renew(_ item: SealedItem, _ renewal: SealedRenewal) async throws(KeyCustodyError) {
    let resource = renewal.context.resource.folded
    guard let entry = shelves.withLock({ $0[resource]?.entries[item.object] }), entry.item == item else { return }
    let old = entry.sealed
    let new = try await renewal.renew(old)
    let header = try SealedHeader(parsing: new)
    shelves.withLock { shelves in
      guard shelves[resource]?.entries[item.object]?.sealed == old else { return }
      shelves[resource]?.entries[item.object]?.sealed = new
      shelves[resource]?.entries[item.object]?.item.header = header
    }
  }
}
