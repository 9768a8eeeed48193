public import KeyCustody
import Synchronization

/// A policy store whose records are files of one folder, held by one process at a time.
///
/// All records are also in memory, so reading never waits for the disk. A change is on the disk before it is answered,
/// read or told to a watcher.
public final class FilePolicyStore: PolicyStore {
  private let records: FileRecords
  private let worker: BlockingWorker

  /// Opens a store.
  ///
  /// - Parameters:
  ///   - directory: the folder; only its owner may enter it.
  ///   - create: whether to make the store when the folder is empty or absent.
  /// - Throws: `busy` (`locked`) when it is open already; `denied` (`unsafe-permissions`); `integrityFailure`
  ///   (`damaged`, `unknown-format`) for a damaged `store.json`; `invalidInput` for a folder that is none or holds
  ///   something else; `unavailable` for one that is absent, can't be used or has no room. A damaged record is no
  ///   failure to open: whoever reads it is told.
  public convenience init(
    directory: String, create: Bool = true, environment: RuntimeEnvironment = RuntimeEnvironment()
  ) async throws(KeyCustodyError) {
    try await self.init(
      directory: directory, create: create, environment: environment, system: POSIXFileSystem())
  }

  /// Opens a store through another file system.
  package init(
    directory: String, create: Bool = true, environment: RuntimeEnvironment = RuntimeEnvironment(),
    system: any FileSystem
  ) async throws(KeyCustodyError) {
    let worker = try BlockingWorker()
    records = try await worker.run { () throws(KeyCustodyError) in
      try FileRecords(directory: directory, create: create, environment: environment, system: system)
    }
    self.worker = worker
  }

  /// `file` and the number in the store's `store.json`.
  public var identity: ProviderIdentity { records.identity }

  /// The folder is held by one opening at a time.
  public var isShared: Bool { false }

  /// Reads a record.
  ///
  /// - Throws: `integrityFailure` (`damaged`), naming the file.
  public func read(_ key: RecordKey) async throws(KeyCustodyError) -> PolicyRecord? {
    await settle()
    return try records.read(key)
  }

  /// Writes a record if the store still holds the revision expected.
  ///
  /// - Throws: `timeout` (`not-confirmed`) when the disk did not confirm the change.
  public func compareAndSet(
    _ key: RecordKey, expecting revision: StoreRevision?, value: [UInt8]
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try PolicyStoreLimits.check(value)
    return try await worker.run { () throws(KeyCustodyError) in
      try self.records.change(key, expecting: revision, to: value)
    }
  }

  /// Removes a record if the store still holds the revision expected.
  ///
  /// - Throws: `timeout` (`not-confirmed`) when the disk did not confirm the change.
  public func delete(
    _ key: RecordKey, expecting revision: StoreRevision
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try await worker.run { () throws(KeyCustodyError) in
      try self.records.change(key, expecting: revision, to: nil)
    }
  }

  /// A page of records.
  ///
  /// - Throws: `integrityFailure` (`damaged`), naming the file of a record that belongs on the page.
  public func list(
    prefix: String, after key: RecordKey?, limit: Int
  ) async throws(KeyCustodyError) -> [PolicyRecord] {
    await settle()
    return try records.page(prefix: prefix, after: key, limit: min(limit, PolicyStoreLimits.pageSize))
  }

  /// Changes after a revision.
  ///
  /// A reader that does not keep up costs memory, never a change.
  public func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    await settle()
    return try records.watch(since: revision)
  }

  /// The newest revision.
  public func currentRevision() async throws(KeyCustodyError) -> StoreRevision {
    await settle()
    return try records.currentRevision()
  }

  /// Waits for the disk only after a change whose outcome is unknown: until it is known, what it touched is not told.
  private func settle() async {
    guard records.isUnsettled else { return }
    await worker.run { try? self.records.settle() }
  }

  /// Ends all use and lets go of the folder.
  public func close() async { await worker.run { self.records.close() } }
}
