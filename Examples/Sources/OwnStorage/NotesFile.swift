import Foundation
import KeyCustody

/// A service's own storage: rows in memory, and all of them in one file, which is replaced whole at each change.
///
/// This is everything that it takes to have sealed data in it.
actor NotesFile: SealedTable {
  private struct Row: Codable {
    let revision: UInt64
    let label, sealed: Data
  }
  /// By resource and by the bytes of the name, since texts that look alike are other names; `nil` once closed.
  private var rows: [String: [Data: Row]]? = [:]
  private let file: URL
  // Writing a file blocks, so it happens on a thread of its own.
  private let thread: DedicatedThread
  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }
  nonisolated var place: String { "the file '\(file.path)'" }

  init(path: String, create: Bool) throws {
    file = URL(filePath: path)
    thread = try DedicatedThread()
    // A file that is missing must not pass for one without notes: root keys are forgotten on that evidence.
    if create, !FileManager.default.fileExists(atPath: path) { return }
    rows = try PropertyListDecoder().decode([String: [Data: Row]].self, from: Data(contentsOf: file))
  }

  func page(
    of resource: ResourceID, after name: String?, excluding rootKey: [UInt8]?, limit: Int
  ) throws(KeyCustodyError) -> [SealedRow] {
    let last = Data((name ?? "").utf8)
    let rows = try rows(of: resource).filter { last.lexicographicallyPrecedes($0.key) }
    let page = rows.sorted { $0.key.lexicographicallyPrecedes($1.key) }.prefix(min(limit, SealedTableLimits.pageSize))
    return page.map { name, row in
      let name = String(decoding: name, as: UTF8.self)
      return SealedRow(name: name, revision: row.revision, label: Array(row.label), sealed: Array(row.sealed))
    }
  }

  func read(_ name: String, of resource: ResourceID) throws(KeyCustodyError) -> SealedContent? {
    let row = try rows(of: resource)[Data(name.utf8)]
    return row.map { SealedContent(revision: $0.revision, label: Array($0.label), sealed: Array($0.sealed)) }
  }

  func put(_ sealed: [UInt8], label: [UInt8], as name: String, of resource: ResourceID) throws(KeyCustodyError) {
    try SealedTableLimits.check(name: name, label: label, sealed: sealed)
    // By chance no revision comes again.
    try change(name, of: resource, to: Row(revision: .random(in: 1 ... .max), label: Data(label), sealed: Data(sealed)))
  }

  func replace(
    _ sealed: [UInt8], as name: String, of resource: ResourceID, expecting revision: UInt64
  ) throws(KeyCustodyError) -> Bool {
    guard let found = try read(name, of: resource), found.revision == revision else { return false }
    try put(sealed, label: found.label, as: name, of: resource)
    return true
  }

  func remove(_ name: String, of resource: ResourceID) throws(KeyCustodyError) {
    if try read(name, of: resource) != nil { try change(name, of: resource, to: nil) }
  }

  func close() { rows = nil }

  private func rows(of resource: ResourceID) throws(KeyCustodyError) -> [Data: Row] {
    guard let rows else { throw KeyCustodyError(.unavailable, .closed, "The notes were closed.") }
    return rows[resource.folded, default: [:]]
  }

  /// A change is in the file before it is answered.
  private func change(_ name: String, of resource: ResourceID, to row: Row?) throws(KeyCustodyError) {
    var new = [resource.folded: try rows(of: resource)].merging(rows ?? [:]) { mine, _ in mine }
    new[resource.folded]?[Data(name.utf8)] = row
    do { try PropertyListEncoder().encode(new).write(to: file, options: .atomic) } catch {
      throw KeyCustodyError(.unavailable, .unreachable, "The notes can't be written to '\(file.path)': \(error)")
    }
    rows = new
  }
}
