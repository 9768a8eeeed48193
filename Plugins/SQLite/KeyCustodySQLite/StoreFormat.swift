import GRDB
import KeyCustody

/// How a database tells that it is ours, and of which kind.
struct StoreFormat {
  /// A policy store: `KCPS`.
  static let records = StoreFormat(application: 0x4b43_5053, version: 1, name: "a policy store")
  /// A table of sealed records: `KCSD`.
  static let sealed = StoreFormat(application: 0x4b43_5344, version: 1, name: "a table of sealed records")

  /// SQLite's `application_id`.
  let application: UInt32
  /// SQLite's `user_version`.
  let version: UInt32
  /// What it is, for messages.
  let name: String
  static let headerSize = 100

  /// Tells a database of this kind by the first bytes of the file, which never change.
  ///
  /// - Throws: `integrityFailure` (`damaged`, `unknown-format`); `invalidInput` for a database of another program.
  func check(_ header: [UInt8], at path: String) throws(KeyCustodyError) {
    guard !header.isEmpty else { throw .damagedDatabase(path, "it is empty") }
    guard header.count == Self.headerSize else { throw .damagedDatabase(path, "it has only \(header.count) bytes") }
    guard header.starts(with: Array("SQLite format 3\u{0}".utf8)) else {
      throw .damagedDatabase(path, "it does not begin as a SQLite database; it may be another file altogether")
    }
    let named = Self.number(header[68...])
    guard named == application else {
      if (named ^ application).nonzeroBitCount == 1 { throw .damagedDatabase(path, "its header was altered") }
      let other = [Self.records, .sealed].first { $0.application == named }?.name
      throw KeyCustodyError(
        .invalidInput, .badConfigurationValue,
        "'\(path)' is \(other ?? "a SQLite database of another program").",
        remedy: "Give the path of \(name), or of a file that is not there yet, as 'path'.",
        diagnostic: "application_id \(named)")
    }
    let found = Self.number(header[60...])
    guard found <= version else {
      throw KeyCustodyError(
        .integrityFailure, .unknownFormat, "'\(path)' is of format \(found), which this version does not know.",
        remedy: "Use the version that wrote it, or a later one.")
    }
    guard found == version else { throw .damagedDatabase(path, "it names no format") }
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    bytes.prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
  }

  /// Marks a database as one of this kind.
  func mark(_ database: Database) throws {
    try database.execute(sql: "PRAGMA application_id = \(application); PRAGMA user_version = \(version)")
  }

  /// Fills an empty database with a policy store's tables.
  ///
  /// A record's value comes last: long ones go on in pages of their own, and what stands behind them is read through these.
  /// Stores made earlier have it before the digest, and are the slower to open; to everything else the order is the same.
  static func write(_ state: StoreState, to database: Database) throws {
    try records.mark(database)
    try database.execute(
      sql: """
        CREATE TABLE store (
          id INTEGER PRIMARY KEY, uuid BLOB NOT NULL, revision INTEGER NOT NULL, forgotten INTEGER NOT NULL,
          deletions INTEGER NOT NULL, sum BLOB NOT NULL, digest BLOB NOT NULL);
        CREATE TABLE records (key TEXT NOT NULL, revision INTEGER NOT NULL, digest BLOB NOT NULL, value BLOB NOT NULL);
        CREATE UNIQUE INDEX records_by_key ON records (key);
        CREATE TABLE deletions (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, digest BLOB NOT NULL);
        """)
    try state.insert(into: database)
  }
}
