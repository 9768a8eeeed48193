public import KeyCustody
import Synchronization

/// A policy store whose records are rows of a SQLite database, held by one process at a time.
///
/// A change is on the disk before it is answered, read or told to a watcher; changes that wait at the same time share
/// one wait for the disk. Reading never waits for a change. At opening every record is looked for, to find what is
/// missing; whether its value is what was written is checked whenever it is read. The recent ones are kept in memory, up
/// to 4 MiB, until any program changes the database.
public final class SQLitePolicyStore: PolicyStore {
  private let records: SQLiteRecords
  private let worker: BlockingWorker

  /// Opens a store.
  ///
  /// - Parameters:
  ///   - path: the database file, in a folder of this user that nobody else may write to.
  ///   - create: whether to make the file where there is none.
  /// - Throws: `busy` (`locked`) when it is open already; `denied` (`unsafe-permissions`); `integrityFailure`
  ///   (`damaged`, `unknown-format`) for a damaged database; `invalidInput` for one of another program; `unavailable`
  ///   for one that is absent, can't be used or has no room. A record that is damaged by itself is no failure to open:
  ///   whoever reads it is told.
  public convenience init(
    path: String, create: Bool = true, environment: RuntimeEnvironment = RuntimeEnvironment()
  ) async throws(KeyCustodyError) {
    try await self.init(path: path, create: create, environment: environment, system: POSIXFileSystem())
  }

  /// Opens a store through another file system, or with a limit of the file's pages.
  ///
  /// What SQLite itself does to its files does not go through `system`.
  package init(
    path: String, create: Bool = true, environment: RuntimeEnvironment = RuntimeEnvironment(),
    system: any FileSystem, pageLimit: Int? = nil
  ) async throws(KeyCustodyError) {
    let worker = try BlockingWorker()
    records = try await worker.run { () throws(KeyCustodyError) in
      try SQLiteRecords(
        path: path, create: create, random: environment.random, system: system, pageLimit: pageLimit)
    }
    self.worker = worker
  }

  /// `sqlite` and the number that the database was given when it was made.
  public var identity: ProviderIdentity { records.identity }

  /// The file is held by one opening at a time.
  public var isShared: Bool { false }

  /// Reads a record.
  ///
  /// - Throws: `integrityFailure` (`damaged`), naming the record.
  public func read(_ key: RecordKey) async throws(KeyCustodyError) -> PolicyRecord? {
    try await records.settle()
    if let recent = try records.recent(key) { return recent }
    return try await worker.run { () throws(KeyCustodyError) in try self.records.read(key) }
  }

  /// Writes a record if the store still holds the revision expected.
  ///
  /// - Throws: `timeout` (`not-confirmed`) when the disk did not confirm the change.
  public func compareAndSet(
    _ key: RecordKey, expecting revision: StoreRevision?, value: [UInt8]
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try PolicyStoreLimits.check(value)
    return try await records.writer.change(key, expecting: revision, to: value)
  }

  /// Removes a record if the store still holds the revision expected.
  ///
  /// - Throws: `timeout` (`not-confirmed`) when the disk did not confirm the change.
  public func delete(
    _ key: RecordKey, expecting revision: StoreRevision
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try await records.writer.change(key, expecting: revision, to: nil)
  }

  /// A page of records.
  ///
  /// - Throws: `integrityFailure` (`damaged`), naming a damaged record that belongs on the page.
  public func list(
    prefix: String, after key: RecordKey?, limit: Int
  ) async throws(KeyCustodyError) -> [PolicyRecord] {
    try await records.settle()
    return try await worker.run { () throws(KeyCustodyError) in
      try self.records.page(prefix: prefix, after: key, limit: min(limit, PolicyStoreLimits.pageSize))
    }
  }

  /// Changes after a revision.
  ///
  /// A reader that does not keep up costs memory, never a change.
  public func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    try await records.settle()
    return try await worker.run { () throws(KeyCustodyError) in try self.records.watch(since: revision) }
  }

  /// The newest revision.
  public func currentRevision() async throws(KeyCustodyError) -> StoreRevision {
    try await records.settle()
    return try records.currentRevision()
  }

  /// Ends all use, after the changes that wait, and lets go of the file.
  public func close() async {
    records.refuseUse()
    // The writer closes last: whoever closes last brings the write-ahead log into the database.
    await worker.run { self.records.closeReader() }
    await records.writer.close()
    records.letGo()
  }
}
