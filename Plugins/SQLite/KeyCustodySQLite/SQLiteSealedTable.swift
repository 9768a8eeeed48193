import GRDB
public import KeyCustody
import KeyCustodyCrypto
import Synchronization

/// A table of sealed records in a SQLite database, held by one process at a time.
///
/// A change is on the disk before it is answered; changes that wait at the same time share one wait for the disk. Reading
/// never waits for a change. What a listing leaves out is not read: the rows under a root key are found by an index.
public final class SQLiteSealedTable: SealedTable {
  private let file: StorePlace
  private let reader: StoreConnection
  private let writer: SealedWriter
  private let worker: BlockingWorker
  private let random: any RandomSource
  private let isClosed = Mutex(false)

  /// `sqlite` and the number that the database was given when it was made.
  public let identity: ProviderIdentity

  private static let step = 1000

  /// Opens a table.
  ///
  /// - Parameters:
  ///   - path: the database file, in a folder of this user that nobody else may write to.
  ///   - create: whether to make the file where there is none.
  /// - Throws: `busy` (`locked`) when it is open already; `denied` (`unsafe-permissions`); `integrityFailure`
  ///   (`damaged`, `unknown-format`) for a damaged database or one of a later version; `invalidInput` for one of another
  ///   kind; `unavailable` for one that is absent, can't be used or has no room. Rows are not looked at: whoever reads or
  ///   lists a damaged one is told.
  public convenience init(
    path: String, create: Bool = true, environment: RuntimeEnvironment = RuntimeEnvironment()
  ) async throws(KeyCustodyError) {
    try await self.init(path: path, create: create, environment: environment, system: POSIXFileSystem())
  }

  /// Opens a table through another file system, or with a limit of the file's pages.
  ///
  /// What SQLite itself does to its files does not go through `system`.
  package init(
    path: String, create: Bool = true, environment: RuntimeEnvironment = RuntimeEnvironment(),
    system: any FileSystem, pageLimit: Int? = nil
  ) async throws(KeyCustodyError) {
    let worker = try BlockingWorker()
    let random = environment.random
    let opened = try await worker.run { () throws(KeyCustodyError) -> sending Opened in
      try Opened(path, create: create, random, system, pageLimit)
    }
    (file, reader, writer, identity) = (opened.file, opened.reader, opened.writer, opened.identity)
    self.worker = worker
    self.random = random
  }

  /// What opening makes.
  private struct Opened: Sendable {
    let file: StorePlace
    let reader: StoreConnection
    let writer: SealedWriter
    let identity: ProviderIdentity

    init(
      _ path: String, create: Bool, _ random: any RandomSource, _ system: any FileSystem, _ pageLimit: Int?
    ) throws(KeyCustodyError) {
      let file = try StorePlace(
        path, .sealed, system: system,
        make: create
          ? { (path) throws(KeyCustodyError) in
            let uuid = try random.bytes(16)
            try StoreConnection.make(at: path) { try SealedQueries.make(uuid, in: $0) }
          } : nil)
      do throws(KeyCustodyError) {
        let connection = try StoreConnection.writer(path, pageLimit: pageLimit)
        // Before the reader opens, so that there is a write-ahead log to read from.
        let (uuid, changes) = try connection.use { database in
          let queries = SealedQueries(database: database, path: path)
          return (try queries.uuid(), try queries.changes())
        }
        reader = try StoreConnection.reader(path)
        try file.noteFiles()
        writer = try SealedWriter(connection, file, changes: changes)
        identity = ProviderIdentity(kind: SQLiteRecords.kind, instance: uuid.hexadecimal)
      } catch {
        file.close()
        throw error
      }
      self.file = file
    }
  }

  /// The database's path.
  public var place: String { "the database '\(file.path)'" }

  // MARK: Reading

  /// Rows in order; those under the root key are neither read nor answered.
  ///
  /// - Throws: `integrityFailure` (`damaged`), naming a damaged row that belongs on the page.
  public func page(
    of resource: ResourceID, after name: String?, excluding rootKey: [UInt8]?, limit: Int
  ) async throws(KeyCustodyError) -> [SealedRow] {
    let limit = min(limit, SealedTableLimits.pageSize)
    guard limit > 0 else { return [] }
    // Of one moment: what is put under another root key in between would come twice, or not at all.
    return try await read { queries in
      var page: [SealedRow] = []
      try queries.database.inTransaction(.deferred) {
        page = try queries.page(
          resource, after: name.map { Array($0.utf8) } ?? [], excluding: rootKey, limit: limit)
        return .commit
      }
      return page
    }
  }

  /// A row with its sealed bytes.
  ///
  /// - Throws: `integrityFailure` (`damaged`), naming the row.
  public func read(_ name: String, of resource: ResourceID) async throws(KeyCustodyError) -> SealedContent? {
    try await read { queries in try queries.read(Array(name.utf8), resource) }
  }

  private func read<Result: Sendable>(
    _ work: @escaping @Sendable (SealedQueries) throws -> Result
  ) async throws(KeyCustodyError) -> Result {
    if writer.isUnsettled { try await writer.settleLater() }
    return try await worker.run { () throws(KeyCustodyError) in
      guard !self.isClosed.withLock({ $0 }) else { throw closedError(self.file.path, "table of sealed records") }
      return try self.reader.read { database in try work(SealedQueries(database: database, path: self.file.path)) }
    }
  }

  // MARK: Changing

  /// Writes a row.
  ///
  /// - Throws: `timeout` (`not-confirmed`) when the disk did not confirm the change.
  public func put(
    _ sealed: [UInt8], label: [UInt8], as name: String, of resource: ResourceID
  ) async throws(KeyCustodyError) {
    try SealedTableLimits.check(name: name, label: label, sealed: sealed)
    let row = SealedRow(name: name, revision: try SealedRow.newRevision(random), label: label, sealed: sealed)
    _ = try await writer.change(.put(row, sealed: sealed), of: resource)
  }

  /// Writes other sealed bytes, if the row still is at that revision.
  ///
  /// - Throws: `timeout` (`not-confirmed`) when the disk did not confirm the change.
  public func replace(
    _ sealed: [UInt8], as name: String, of resource: ResourceID, expecting revision: UInt64
  ) async throws(KeyCustodyError) -> Bool {
    try SealedTableLimits.check(name: name, sealed: sealed)
    let new = try SealedRow.newRevision(random)
    let change = SealedWriter.Change.replace(name: Array(name.utf8), expecting: revision, with: new, sealed: sealed)
    return try await writer.change(change, of: resource) > 0
  }

  /// Removes a row.
  public func remove(_ name: String, of resource: ResourceID) async throws(KeyCustodyError) {
    _ = try await writer.change(.remove(name: Array(name.utf8)), of: resource)
  }

  /// Removes every row of a resource, a thousand at a time.
  public func removeAll(of resource: ResourceID) async throws(KeyCustodyError) {
    while try await writer.change(.removeSome(limit: Self.step), of: resource) > 0 {}
  }

  /// Ends all use, after the changes that wait, and lets go of the file.
  public func close() async {
    isClosed.withLock { $0 = true }
    // The writer closes last: whoever closes last brings the write-ahead log into the database.
    await worker.run { self.reader.close() }
    await writer.close()
    file.close()
  }
}
