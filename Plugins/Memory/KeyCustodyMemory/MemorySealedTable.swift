public import KeyCustody
import Synchronization

/// A table of sealed records that live in memory and nowhere else.
public final class MemorySealedTable: SealedTable {
  private let rows: MemoryRows
  private let isClosed = Mutex(false)

  /// A table over fresh, empty memory.
  public convenience init() { self.init(rows: MemoryRows()) }

  init(rows: MemoryRows) { self.rows = rows }

  /// `a table in memory`.
  public var place: String { "a table in memory" }

  /// Rows in order; those under the root key are left out.
  public func page(
    of resource: ResourceID, after name: String?, excluding rootKey: [UInt8]?, limit: Int
  ) async throws(KeyCustodyError) -> [SealedRow] {
    try checkOpen()
    return rows.page(
      resource.folded, after: name.map { Array($0.utf8) } ?? [], excluding: rootKey,
      limit: min(limit, SealedTableLimits.pageSize))
  }

  /// A row with its sealed bytes.
  public func read(_ name: String, of resource: ResourceID) async throws(KeyCustodyError) -> SealedContent? {
    try checkOpen()
    return rows.read(resource.folded, Array(name.utf8))
  }

  /// Writes a row.
  public func put(
    _ sealed: [UInt8], label: [UInt8], as name: String, of resource: ResourceID
  ) async throws(KeyCustodyError) {
    try checkOpen()
    try SealedTableLimits.check(name: name, label: label, sealed: sealed)
    rows.put(resource.folded, Array(name.utf8), label, sealed)
  }

  /// Writes other sealed bytes, if the row still is at that revision.
  public func replace(
    _ sealed: [UInt8], as name: String, of resource: ResourceID, expecting revision: UInt64
  ) async throws(KeyCustodyError) -> Bool {
    try checkOpen()
    try SealedTableLimits.check(name: name, sealed: sealed)
    return rows.replace(resource.folded, Array(name.utf8), expecting: revision, sealed)
  }

  /// Removes a row.
  public func remove(_ name: String, of resource: ResourceID) async throws(KeyCustodyError) {
    try checkOpen()
    rows.remove(resource.folded, Array(name.utf8))
  }

  /// Removes every row of a resource.
  public func removeAll(of resource: ResourceID) async throws(KeyCustodyError) {
    try checkOpen()
    rows.removeAll(resource.folded)
  }

  /// Ends all use.
  public func close() async { isClosed.withLock { $0 = true } }

  private func checkOpen() throws(KeyCustodyError) {
    guard !isClosed.withLock({ $0 }) else {
      throw KeyCustodyError(.unavailable, .closed, "The table of sealed records in memory was closed.")
    }
  }
}

/// The rows themselves, by resource and by the bytes of their names, in order.
final class MemoryRows: Sendable {
  private struct Row {
    var name: [UInt8]
    var value: SealedContent
  }
  private struct State {
    var rows: [String: [Row]] = [:]
    var revision: UInt64 = 0

    mutating func next() -> UInt64 {
      revision += 1
      return revision
    }
  }
  private let state = Mutex(State())

  func page(_ resource: String, after name: [UInt8], excluding rootKey: [UInt8]?, limit: Int) -> [SealedRow] {
    state.withLock { state in
      let rows = state.rows[resource, default: []]
      // The empty name stands before all, and is none.
      let (index, isFound) = Self.place(of: name, in: rows)
      let found = rows[(isFound ? index + 1 : index)...].lazy.map { row in
        SealedRow(
          name: String(decoding: row.name, as: UTF8.self), revision: row.value.revision, label: row.value.label,
          sealed: row.value.sealed)
      }
      return Array(found.filter { $0.rootKey != rootKey }.prefix(max(0, limit)))
    }
  }

  func read(_ resource: String, _ name: [UInt8]) -> SealedContent? {
    state.withLock { state in
      let rows = state.rows[resource, default: []]
      let (index, isFound) = Self.place(of: name, in: rows)
      return isFound ? rows[index].value : nil
    }
  }

  func put(_ resource: String, _ name: [UInt8], _ label: [UInt8], _ sealed: [UInt8]) {
    state.withLock { state in
      let row = Row(name: name, value: SealedContent(revision: state.next(), label: label, sealed: sealed))
      let (index, isFound) = Self.place(of: name, in: state.rows[resource, default: []])
      if isFound {
        state.rows[resource]?[index] = row
      } else {
        state.rows[resource, default: []].insert(row, at: index)
      }
    }
  }

  func replace(_ resource: String, _ name: [UInt8], expecting revision: UInt64, _ sealed: [UInt8]) -> Bool {
    state.withLock { state in
      let (index, isFound) = Self.place(of: name, in: state.rows[resource, default: []])
      guard isFound, state.rows[resource]?[index].value.revision == revision else { return false }
      let next = state.next()
      state.rows[resource]?[index].value.revision = next
      state.rows[resource]?[index].value.sealed = sealed
      return true
    }
  }

  func remove(_ resource: String, _ name: [UInt8]) {
    state.withLock { state in
      let (index, isFound) = Self.place(of: name, in: state.rows[resource, default: []])
      if isFound { state.rows[resource]?.remove(at: index) }
    }
  }

  func removeAll(_ resource: String) { state.withLock { $0.rows[resource] = nil } }

  /// Where a name is, or would be.
  private static func place(of name: [UInt8], in rows: [Row]) -> (index: Int, isFound: Bool) {
    var (low, high) = (0, rows.count)
    while low < high {
      let middle = (low + high) / 2
      if rows[middle].name.lexicographicallyPrecedes(name) { low = middle + 1 } else { high = middle }
    }
    return (low, low < rows.count && rows[low].name == name)
  }
}
