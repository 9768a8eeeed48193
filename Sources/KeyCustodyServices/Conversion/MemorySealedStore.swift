public import KeyCustody
import KeyCustodyEnvelope
import Synchronization

/// Sealed values in memory: for services whose data lives in a cache of their own, and for tests.
public final class MemorySealedStore: SealedStore {
  private struct Entry {
    var item: SealedItem
    var resource: ResourceID
    var sealed: [UInt8]
  }
  private let entries = Mutex<[String: Entry]>([:])

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
    let entry = Entry(item: item, resource: resource, sealed: sealed)
    entries.withLock { $0["\(resource.folded)/\(object)"] = entry }
  }

  /// A kept value; `nil` when there is none.
  public func get(_ object: String, of resource: ResourceID) -> [UInt8]? {
    entries.withLock { $0["\(resource.folded)/\(object)"]?.sealed }
  }

  /// See ``SealedStore``.
  public func items(
    of resource: ResourceID, after object: String?, limit: Int
  ) async throws(KeyCustodyError) -> [SealedItem] {
    entries.withLock { entries in
      let items = entries.values.filter { $0.resource == resource }.map(\.item).sorted { $0.object < $1.object }
      return Array(items.filter { item in object.map { $0 < item.object } ?? true }.prefix(limit))
    }
  }

  /// See ``SealedStore``.
  public func renew(_ item: SealedItem, _ renewal: SealedRenewal) async throws(KeyCustodyError) {
    let name = "\(renewal.context.resource.folded)/\(item.object)"
    guard let entry = entries.withLock({ $0[name] }), entry.item == item else { return }
    let old = entry.sealed
    let new = try await renewal.renew(old)
    let header = try SealedHeader(parsing: new)
    entries.withLock { entries in
      guard entries[name]?.sealed == old else { return }
      entries[name]?.sealed = new
      entries[name]?.item.header = header
    }
  }
}
