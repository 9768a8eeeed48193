import GRDB
import KeyCustody

/// A connection to the database of a store.
///
/// GRDB runs what it is given on the thread that asks. So every call here blocks, and is made on a thread of the
/// store's own: one for the connection that writes, one for the connection that reads. In WAL mode a reader never waits
/// for a writer.
struct StoreConnection: Sendable {
  let path: String
  private let queue: DatabaseQueue

  /// Opens the file of a store for writing.
  ///
  /// - Parameter pageLimit: the most pages that the file may have, for tests of a full disk.
  static func writer(_ path: String, pageLimit: Int?) throws(KeyCustodyError) -> StoreConnection {
    let connection = try StoreConnection(path, isReader: false)
    try connection.use { database in
      guard try String.fetchOne(database, sql: "PRAGMA journal_mode = WAL") == "wal" else {
        throw KeyCustodyError(
          .unavailable, .unreachable, "SQLite can't keep a write-ahead log for '\(path)'.",
          remedy: "Put the file on a local file system: the log needs shared memory and locks.")
      }
      // Every commit waits for the disk.
      try database.execute(sql: "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000")
      if let pageLimit { try database.execute(sql: "PRAGMA max_page_count = \(pageLimit)") }
    }
    return connection
  }

  /// Opens the file of a store for reading.
  static func reader(_ path: String) throws(KeyCustodyError) -> StoreConnection {
    try StoreConnection(path, isReader: true)
  }

  /// Fills an empty file; it is on the disk when this returns.
  static func make(at path: String, _ fill: (Database) throws -> Void) throws(KeyCustodyError) {
    let connection = try StoreConnection(path, isReader: false)
    defer { connection.close() }
    try connection.use { database in
      try database.execute(sql: "PRAGMA synchronous = FULL")
      try database.inTransaction(.immediate) {
        try fill(database)
        return .commit
      }
    }
  }

  private init(_ path: String, isReader: Bool) throws(KeyCustodyError) {
    var configuration = Configuration()
    configuration.readonly = isReader
    configuration.busyMode = .timeout(5)
    configuration.foreignKeysEnabled = false
    // One that could not be rolled back is an error of the next call, and no reason to stop the process.
    configuration.allowsUnsafeTransactions = true
    configuration.label = "key-custody"
    configuration.prepareDatabase { database in
      try database.execute(
        sql: "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA cache_size = -8000"
      )
    }
    self.path = path
    queue = try onDatabase(path) { [configuration] in try DatabaseQueue(path: path, configuration: configuration) }
  }

  /// Works with the connection; blocks.
  func use<Result>(_ work: (Database) throws -> Result) throws(KeyCustodyError) -> Result {
    try onDatabase(path) { try queue.inDatabase(work) }
  }

  /// Reads with the connection; where that finds damage, once more from the disk.
  func read<Result>(_ work: (Database) throws -> Result) throws(KeyCustodyError) -> Result {
    do throws(KeyCustodyError) { return try use(work) } catch {
      guard error.code == .integrityFailure else { throw error }
      forgetPages()
      return try use(work)
    }
  }

  /// Forgets what it holds of the file, so that what comes next is read from the disk.
  func forgetPages() { queue.releaseMemory() }

  /// Closes the connection.
  ///
  /// The last one of a file brings what is in the write-ahead log into it.
  func close() { try? queue.close() }
}
