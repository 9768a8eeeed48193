import KeyCustody
import Synchronization

/// A policy store whose records are private data objects (CKO_DATA) of a token.
///
/// For few and small deployments that want to keep everything on the token: at most ``recordLimit`` records, all of them
/// read at opening and kept in memory, and one process at a time.
final class PKCS11PolicyStore: PolicyStore {
  /// The most records it holds.
  static let recordLimit = 1000

  let identity: ProviderIdentity
  private let table: Mutex<RecordTable>
  private let wakeups = EventBroadcaster<Void>(limit: 1)
  /// What touches the token.
  let writer: StoreWriter
  private let closing = Mutex<Task<Void, Never>?>(nil)

  /// Locks the lock file, opens the token and reads all records.
  static func open(
    _ settings: PKCS11Settings, lockFile: String
  ) async throws(KeyCustodyError) -> PKCS11PolicyStore {
    let writer = try StoreWriter()
    do throws(KeyCustodyError) {
      let (token, table) = try await writer.open(settings, lockFile: lockFile)
      return PKCS11PolicyStore(token.info.identity, table, writer)
    } catch {
      await writer.close()
      throw error
    }
  }

  private init(_ identity: ProviderIdentity, _ table: RecordTable, _ writer: StoreWriter) {
    self.identity = identity
    self.table = Mutex(table)
    self.writer = writer
  }

  func read(_ key: RecordKey) async throws(KeyCustodyError) -> PolicyRecord? {
    try requireOpen()
    return table.withLock { $0[key] }
  }

  func compareAndSet(
    _ key: RecordKey, expecting revision: StoreRevision?, value: [UInt8]
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try requireOpen()
    try PolicyStoreLimits.check(value)
    return try await change(key, revision, value)
  }

  func delete(
    _ key: RecordKey, expecting revision: StoreRevision
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try requireOpen()
    return try await change(key, revision, nil)
  }

  /// Decides and makes a change on the writer's thread, one at a time, so that the decision holds until it is made.
  private func change(
    _ key: RecordKey, _ expected: StoreRevision?, _ value: [UInt8]?
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try await writer.run { (writer) throws(KeyCustodyError) in
      if let fresh = try writer.reloadIfUncertain() { self.take(fresh) }
      let (plan, count) = self.table.withLock { ($0.plan(key, expecting: expected), $0.count) }
      guard case .proceed(let revision) = plan else {
        if case .conflict(let record) = plan { return .conflict(record) }
        return .conflict(nil)
      }
      guard let value else {
        try writer.remove(key, at: revision)
        self.table.withLock { $0.remove(key, at: revision) }
        self.wakeups.send(())
        return .stored(revision)
      }
      guard expected != nil || count < Self.recordLimit else { throw Self.full }
      let record = PolicyRecord(key: key, revision: revision, value: value)
      try writer.write(record)
      self.table.withLock { $0.put(record) }
      self.wakeups.send(())
      return .stored(revision)
    }
  }

  /// Takes over what the token holds after a write whose outcome was unknown.
  private func take(_ fresh: RecordTable) {
    table.withLock { table in
      var found = fresh
      var known = table
      let old = known.page(prefix: "", after: nil, limit: .max)
      for record in found.page(prefix: "", after: nil, limit: .max) where known[record.key] != record {
        table.put(record)
      }
      for record in old where fresh[record.key] == nil {
        table.remove(record.key, at: StoreRevision(table.revision.number + 1))
      }
    }
    wakeups.send(())
  }

  func list(
    prefix: String, after key: RecordKey?, limit: Int
  ) async throws(KeyCustodyError) -> [PolicyRecord] {
    try requireOpen()
    return table.withLock { $0.page(prefix: prefix, after: key, limit: min(limit, PolicyStoreLimits.pageSize)) }
  }

  func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    try requireOpen()
    let feed = ChangeFeed(since: revision, wakeups: wakeups.stream()) { [weak self] since in
      self?.table.withLock { ($0.changes(since: since), $0.revision) } ?? ([], since)
    }
    return AsyncStream { await feed.next() }
  }

  func currentRevision() async throws(KeyCustodyError) -> StoreRevision {
    try requireOpen()
    return table.withLock { $0.revision }
  }

  func close() async {
    let task = closing.withLock { closing in
      if let closing { return closing }
      let task = Task { [writer, wakeups] in
        wakeups.finish()
        await writer.close()
      }
      closing = task
      return task
    }
    await task.value
  }

  private func requireOpen() throws(KeyCustodyError) {
    guard closing.withLock({ $0 == nil }) else { throw LendingClosed.error }
  }

  private static let full = KeyCustodyError(
    .unsupported, .init("store-full"), "A policy store on a token holds at most \(recordLimit) records.",
    remedy: "Keep the records in another store ('plugin': \"file\", for instance).")
}
