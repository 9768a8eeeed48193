import Foundation
import GRDB
import KeyCustody
import KeyCustodyCrypto

/// What is asked of a table of sealed records, by statements that are prepared once.
struct SealedQueries {
  let database: Database
  let path: String

  private static let columns = "name, revision, head, size, label, digest"

  /// Fills an empty database.
  ///
  /// Names are bytes: any text is one, and they are ordered by memcmp. The sealed bytes stand last, so that SQLite does not
  /// read them where they are not asked for.
  static func make(_ uuid: [UInt8], in database: Database) throws {
    try StoreFormat.sealed.mark(database)
    try database.execute(
      sql: """
        CREATE TABLE store (id INTEGER PRIMARY KEY, uuid BLOB NOT NULL, changes INTEGER NOT NULL);
        CREATE TABLE items (
          item INTEGER PRIMARY KEY, resource TEXT NOT NULL, name BLOB NOT NULL, revision INTEGER NOT NULL,
          head BLOB NOT NULL, size INTEGER NOT NULL, label BLOB NOT NULL, digest BLOB NOT NULL, sealed BLOB NOT NULL);
        CREATE UNIQUE INDEX items_by_name ON items (resource, name);
        CREATE UNIQUE INDEX items_by_head ON items (resource, head, name);
        """)
    try database.execute(sql: "INSERT INTO store (id, uuid, changes) VALUES (1, ?, 0)", arguments: [Data(uuid)])
  }

  // MARK: The table as a whole

  /// The number that it was given when it was made.
  func uuid() throws -> [UInt8] {
    guard let row = try Row.fetchOne(database, sql: "SELECT uuid FROM store WHERE id = 1"),
      let uuid = RecordRow.bytes(row[0]), uuid.count == 16
    else { throw KeyCustodyError.damagedDatabase(path, "what it says of itself can't be read") }
    return uuid
  }

  /// How many transactions changed it.
  func changes() throws -> Int64 {
    let statement = try database.cachedStatement(sql: "SELECT changes FROM store WHERE id = 1")
    guard let row = try Row.fetchOne(statement), case .int64(let changes) = (row[0] as DatabaseValue).storage else {
      throw KeyCustodyError.damagedDatabase(path, "what it says of itself can't be read")
    }
    return changes
  }

  /// Notes that a transaction takes place.
  func note(changes: Int64) throws {
    try database.cachedStatement(sql: "UPDATE store SET changes = ? WHERE id = 1").execute(arguments: [changes])
  }

  // MARK: Reading

  /// Rows in order of their names, but for those whose head names a root key.
  ///
  /// The other heads of the resource are few; the rows under each are found by the index, so that what is left out costs
  /// nothing.
  ///
  /// - Throws: `integrityFailure` (`damaged`) for a damaged row on the page.
  func page(
    _ resource: ResourceID, after name: [UInt8], excluding rootKey: [UInt8]?, limit: Int
  ) throws -> [SealedRow] {
    // Numbers stand before text, and text before bytes: from here on nothing is passed over, damaged to whatever type.
    let first = Int64.min.databaseValue
    let last = name.isEmpty ? first : Data(name).databaseValue
    guard let rootKey else {
      let statement = try database.cachedStatement(
        sql: "SELECT \(Self.columns) FROM items WHERE resource = ? AND name > ? ORDER BY name LIMIT ?")
      return try rows(statement, [resource.folded, last, limit], of: resource).map(\.row)
    }
    let next = try database.cachedStatement(
      sql: "SELECT head FROM items WHERE resource = ? AND head > ? ORDER BY head LIMIT 1")
    let page = try database.cachedStatement(
      sql: "SELECT \(Self.columns) FROM items WHERE resource = ? AND head = ? AND name > ? ORDER BY name LIMIT ?")
    var found: [(name: [UInt8], row: SealedRow)] = []
    var head = first
    while let more = try DatabaseValue.fetchOne(next, arguments: [resource.folded, head]) {
      guard let bytes = RecordRow.bytes(more) else {
        throw KeyCustodyError.damagedDatabase(path, "the head of an item can't be read")
      }
      head = more
      guard !bytes.dropFirst(4).elementsEqual(rootKey) else { continue }
      found += try rows(page, [resource.folded, head, last, limit], of: resource)
    }
    return found.sorted { $0.name.lexicographicallyPrecedes($1.name) }.prefix(limit).map(\.row)
  }

  private func rows(
    _ statement: Statement, _ arguments: StatementArguments, of resource: ResourceID
  ) throws -> [(name: [UInt8], row: SealedRow)] {
    try Row.fetchAll(statement, arguments: arguments).map { try row($0, resource) }
  }

  private func row(_ row: Row, _ resource: ResourceID) throws -> (name: [UInt8], row: SealedRow) {
    guard let bytes = RecordRow.bytes(row[0]), let name = String(validating: bytes, as: UTF8.self) else {
      throw KeyCustodyError.damagedDatabase(path, "the name of an item can't be read")
    }
    guard case .int64(let revision) = (row[1] as DatabaseValue).storage, let head = RecordRow.bytes(row[2]),
      case .int64(let size) = (row[3] as DatabaseValue).storage, let label = RecordRow.bytes(row[4]),
      let digest = RecordRow.bytes(row[5]), revision > 0, size >= 0
    else { throw KeyCustodyError.damagedRow(name, resource.spelling, path) }
    let found = SealedRow(
      name: name, revision: UInt64(revision), label: label, head: head, size: Int(clamping: size))
    guard try found.digest(in: resource) == digest else {
      throw KeyCustodyError.damagedRow(name, resource.spelling, path)
    }
    return (bytes, found)
  }

  /// A row without its sealed bytes.
  func find(_ name: [UInt8], _ resource: ResourceID) throws -> SealedRow? {
    let statement = try database.cachedStatement(
      sql: "SELECT \(Self.columns) FROM items WHERE resource = ? AND name = ?")
    return try rows(statement, [resource.folded, Data(name)], of: resource).first?.row
  }

  /// The content of a row.
  ///
  /// - Throws: `integrityFailure` (`damaged`).
  func read(_ name: [UInt8], _ resource: ResourceID) throws -> SealedContent? {
    let statement = try database.cachedStatement(
      sql: "SELECT \(Self.columns), sealed FROM items WHERE resource = ? AND name = ?")
    guard let row = try Row.fetchOne(statement, arguments: [resource.folded, Data(name)]) else { return nil }
    let found = try self.row(row, resource).row
    guard let sealed = RecordRow.bytes(row[6]), sealed.count == found.size, sealed.starts(with: found.head) else {
      throw KeyCustodyError.damagedRow(found.name, resource.spelling, path)
    }
    return SealedContent(revision: found.revision, label: found.label, sealed: sealed)
  }

  // MARK: Changing

  /// Writes a row, in place of an earlier one.
  func put(_ row: SealedRow, _ sealed: [UInt8], _ resource: ResourceID) throws {
    let statement = try database.cachedStatement(
      sql: """
        INSERT INTO items (resource, name, revision, head, size, label, digest, sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (resource, name) DO UPDATE SET revision = excluded.revision, head = excluded.head,
          size = excluded.size, label = excluded.label, digest = excluded.digest, sealed = excluded.sealed
        """)
    try statement.execute(arguments: [
      resource.folded, Data(row.name.utf8), Int64(clamping: row.revision), Data(row.head), row.size, Data(row.label),
      Data(try row.digest(in: resource)), Data(sealed),
    ])
  }

  /// - Returns: how many rows went.
  func remove(_ name: [UInt8], _ resource: ResourceID) throws -> Int {
    try database.cachedStatement(sql: "DELETE FROM items WHERE resource = ? AND name = ?")
      .execute(arguments: [resource.folded, Data(name)])
    return database.changesCount
  }

  /// Removes some rows of a resource.
  ///
  /// - Returns: how many.
  func removeSome(_ resource: ResourceID, limit: Int) throws -> Int {
    try database.cachedStatement(
      sql: "DELETE FROM items WHERE item IN (SELECT item FROM items WHERE resource = ? LIMIT ?)"
    ).execute(arguments: [resource.folded, limit])
    return database.changesCount
  }
}
