/// The records of a store in memory, with the rules of compare-and-set, paging and watching: the part that every store
/// with an index in memory shares.
///
/// A plain value: the store puts it behind its own lock and adds durability.
public struct RecordTable: Sendable {
  private var records: [RecordKey: PolicyRecord] = [:]
  private var tombstones: [RecordKey: StoreRevision] = [:]
  private var sortedKeys: [RecordKey]?
  /// The newest revision.
  public private(set) var revision: StoreRevision
  /// Deletions up to here are forgotten.
  private var forgottenUpTo: StoreRevision
  private static let tombstoneLimit = 10_000

  /// A table of what a backend held at opening.
  public init(_ existing: [PolicyRecord] = [], revision: StoreRevision = .zero) {
    for record in existing { records[record.key] = record }
    self.revision = max(revision, existing.map(\.revision).max() ?? .zero)
    forgottenUpTo = self.revision
  }

  /// What a conditional change would do now.
  public enum Plan: Sendable {
    /// Write or remove, at this revision.
    case proceed(StoreRevision)
    /// Refuse.
    case conflict(PolicyRecord?)
  }

  /// Reads a record.
  public subscript(_ key: RecordKey) -> PolicyRecord? { records[key] }
  /// The number of records.
  public var count: Int { records.count }

  /// Decides a conditional change without making it.
  public func plan(_ key: RecordKey, expecting expected: StoreRevision?) -> Plan {
    let found = records[key]
    return found?.revision == expected ? .proceed(StoreRevision(revision.number + 1)) : .conflict(found)
  }

  /// Makes a planned write.
  public mutating func put(_ record: PolicyRecord) {
    if records.updateValue(record, forKey: record.key) == nil { sortedKeys = nil }
    tombstones[record.key] = nil
    revision = max(revision, record.revision)
  }

  /// Makes a planned removal.
  public mutating func remove(_ key: RecordKey, at revision: StoreRevision) {
    if records.removeValue(forKey: key) != nil { sortedKeys = nil }
    tombstones[key] = revision
    self.revision = max(self.revision, revision)
    if tombstones.count > Self.tombstoneLimit {
      forgottenUpTo = self.revision
      tombstones = [:]
    }
  }

  /// A page of records in byte order of their keys.
  public mutating func page(prefix: String, after key: RecordKey?, limit: Int) -> [PolicyRecord] {
    let keys = sortedKeys ?? records.keys.sorted()
    sortedKeys = keys
    let start = key.map { key in keys.partitioningIndex { key < $0 } } ?? 0
    let bytes = Array(prefix.utf8)
    let from = max(start, keys.partitioningIndex { !$0.description.utf8.lexicographicallyPrecedes(bytes) })
    return keys[from...].prefix { $0.description.utf8.starts(with: bytes) }.prefix(max(0, limit)).compactMap {
      records[$0]
    }
  }

  /// What a watcher that has seen everything up to `since` must be told first.
  public func changes(since: StoreRevision) -> [StoreChange] {
    let head: [StoreChange] = since < forgottenUpTo && since != .zero ? [.resynchronize(forgottenUpTo)] : []
    let puts = records.values.filter { $0.revision > since }.map { ($0.revision, StoreChange.put($0)) }
    let removals = tombstones.filter { $0.value > since }.map { ($0.value, StoreChange.deleted($0.key, $0.value)) }
    return head + (puts + removals).sorted { $0.0 < $1.0 }.map(\.1)
  }
}

extension Array {
  /// The first index at which `predicate` holds, in an array where it holds from some index on.
  fileprivate func partitioningIndex(where predicate: (Element) -> Bool) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if predicate(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
