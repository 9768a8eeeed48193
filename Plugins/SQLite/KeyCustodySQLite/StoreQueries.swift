import Foundation
import GRDB
import KeyCustody

/// What is asked of the tables, by statements that are prepared once.
struct StoreQueries {
  /// The most deletions that are remembered.
  static let deletionLimit = 10_000
  /// How many are forgotten at once.
  private static let deletionStep = 1000

  let database: Database
  let path: String

  /// The record of a key.
  ///
  /// - Throws: `integrityFailure` (`damaged`), naming the record.
  func find(_ key: RecordKey) throws -> RecordRow? {
    let statement = try database.cachedStatement(sql: "SELECT \(RecordRow.columns) FROM records WHERE key = ?")
    return try Row.fetchOne(statement, arguments: [key.description]).map { try RecordRow($0, at: key, of: path) }
  }

  /// Records in byte order of their keys.
  ///
  /// - Throws: `integrityFailure` (`damaged`) for one of them that is damaged.
  func page(prefix: String, after key: RecordKey?, limit: Int) throws -> [PolicyRecord] {
    // Every letter of a key stands before U+007F, so all that begin with the prefix, and they alone, stand before this.
    let end = "\(prefix)\u{7f}"
    let statement = try database.cachedStatement(
      sql: """
        SELECT \(RecordRow.columns) FROM records
        WHERE key >= ? AND key > ? AND key < ? ORDER BY key LIMIT ?
        """)
    return try Row.fetchAll(statement, arguments: [prefix, key?.description ?? "", end, limit]).map { row in
      guard let found = try RecordRow(row) else { throw damaged(row) }
      return found.record
    }
  }

  /// Records written, and deletions made, after a revision, in order.
  ///
  /// - Returns: also whether a damaged record was left out.
  func changes(since revision: StoreRevision) throws -> (changes: [StoreChange], isWhole: Bool) {
    let since = Int64(clamping: revision.number)
    var changes: [(StoreRevision, StoreChange)] = []
    var isWhole = true
    let records = try database.cachedStatement(sql: "SELECT \(RecordRow.columns) FROM records WHERE revision > ?")
    let rows = try Row.fetchCursor(records, arguments: [since])
    while let row = try rows.next() {
      if let record = try RecordRow(row)?.record {
        changes.append((record.revision, .put(record)))
      } else {
        isWhole = false
      }
    }
    for deletion in try deletions(since: since) {
      if let deletion { changes.append((deletion.1, .deleted(deletion.0, deletion.1))) } else { isWhole = false }
    }
    return (changes.sorted { $0.0 < $1.0 }.map(\.1), isWhole)
  }

  /// Deletions after a revision; `nil` for one that is damaged.
  private func deletions(since: Int64) throws -> [(RecordKey, StoreRevision)?] {
    let statement = try database.cachedStatement(sql: "SELECT revision, key, digest FROM deletions WHERE revision > ?")
    return try Row.fetchAll(statement, arguments: [since]).map { row in
      guard case .int64(let number) = (row[0] as DatabaseValue).storage, number > 0,
        case .string(let name) = (row[1] as DatabaseValue).storage, let key = try? RecordKey(name),
        RecordRow.bytes(row[2]) == (try RecordRow.seal(ofName: "\(number) \(name)"))
      else { return nil }
      return (key, StoreRevision(UInt64(number)))
    }
  }

  /// Whether all of so many deletions can be told.
  func knowsDeletions(_ count: Int) throws -> Bool {
    let found = try deletions(since: 0)
    return found.count == count && found.allSatisfy { $0 != nil }
  }

  // MARK: Changing

  func insert(_ row: RecordRow) throws {
    try database.cachedStatement(sql: "INSERT INTO records (\(RecordRow.columns)) VALUES (?, ?, ?, ?)")
      .execute(arguments: row.arguments)
  }

  func update(_ row: RecordRow) throws {
    try database.cachedStatement(sql: "UPDATE records SET key = ?, revision = ?, value = ?, digest = ? WHERE key = ?")
      .execute(arguments: row.arguments + [row.record.key.description])
    try expectOneRow()
  }

  func delete(_ key: RecordKey, at revision: StoreRevision) throws {
    try database.cachedStatement(sql: "DELETE FROM records WHERE key = ?").execute(arguments: [key.description])
    try expectOneRow()
    try database.cachedStatement(sql: "INSERT INTO deletions (revision, key, digest) VALUES (?, ?, ?)")
      .execute(arguments: [
        Int64(clamping: revision.number), key.description, Data(try RecordRow.seal(ofName: "\(revision) \(key)")),
      ])
  }

  /// Forgets the oldest deletions where there are too many.
  func forget(_ state: inout StoreState) throws {
    guard state.deletions > Self.deletionLimit else { return }
    let last = try Int64.fetchOne(
      database, sql: "SELECT revision FROM deletions ORDER BY revision LIMIT 1 OFFSET ?",
      arguments: [Self.deletionStep - 1])
    guard let last else { return }
    try database.execute(sql: "DELETE FROM deletions WHERE revision <= ?", arguments: [last])
    state.deletions -= database.changesCount
    state.forgotten = max(state.forgotten, StoreRevision(UInt64(clamping: last)))
  }

  private func expectOneRow() throws {
    guard database.changesCount == 1 else {
      throw KeyCustodyError.damagedDatabase(path, "a record is found but can't be changed")
    }
  }

  private func damaged(_ row: Row) -> KeyCustodyError {
    if let name = try? RecordRow.name(of: row), let key = try? RecordKey(name) { return .damagedRecord(key, path) }
    return .damagedDatabase(path, "the key of a record can't be read")
  }
}
