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
  /// One process at a time holds the lock file.
  let isShared = false
  private let table: Mutex<RecordTable>
  private let wakeups = EventBroadcaster<Void>(limit: 1)
  /// What touches the token.
  let writer: StoreWriter
  /// Whether a change ended with an unknown outcome, so that what is kept here may be old.
  private let isUnsettled = Mutex(false)
  private let closing = Mutex<Task<Void, Never>?>(nil)

  /// Locks the lock file, opens the token and reads all records.
  static func open(
    _ settings: PKCS11Settings, lockFile: String
  ) async throws(KeyCustodyError) -> PKCS11PolicyStore {
    let writer = try await StoreWriter(settings, lockFile: lockFile)
    do throws(KeyCustodyError) {
      return PKCS11PolicyStore(writer.token.info.identity, try await writer.load(), writer)
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
    try await settle()
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
    let attempt = Attempt()
    do {
      return try await change(key, expected, value, attempt)
    } catch {
      guard attempt.revision != nil else { throw error }
      isUnsettled.withLock { $0 = true }
      guard error.retryClass == .later, error.reason != .closed else { throw error }
      throw KeyCustodyError(
        .timeout, error.reason, "\(error.message) Whether the change was made is unknown.",
        remedy: "Read the record before trying again. \(error.remedy)", retryAfter: error.retryAfter,
        diagnostic: error.diagnostic)
    }
  }

  private func change(
    _ key: RecordKey, _ expected: StoreRevision?, _ value: [UInt8]?, _ attempt: Attempt
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try await writer.change { [self] (fresh) throws(KeyCustodyError) in
      if let fresh {
        take(fresh)
        isUnsettled.withLock { $0 = false }
      }
      // A call failed on the way, and the token may have done it all the same.
      if let revision = attempt.revision, isDone(key, revision, value) { return .nothing(.stored(revision)) }
      let (plan, count) = table.withLock { ($0.plan(key, expecting: expected), $0.count) }
      guard case .proceed(let revision) = plan else {
        if case .conflict(let record) = plan { return .nothing(.conflict(record)) }
        return .nothing(.conflict(nil))
      }
      attempt.revision = revision
      guard let value else { return .remove(key, revision) }
      guard expected != nil || count < Self.recordLimit else { throw Self.full }
      return .write(PolicyRecord(key: key, revision: revision, value: value))
    } done: { [self] plan in
      table.withLock { table in
        switch plan {
        case .write(let record): table.put(record)
        case .remove(let key, let revision): table.remove(key, at: revision)
        case .nothing: break
        }
      }
      wakeups.send(())
    }
  }

  /// Whether the token holds what an earlier run was about to write, or not what it was about to remove.
  private func isDone(_ key: RecordKey, _ revision: StoreRevision, _ value: [UInt8]?) -> Bool {
    let found = table.withLock { $0[key] }
    guard let value else { return found == nil }
    return found?.revision == revision && found?.value == value
  }

  /// What the runs of one change tell each other.
  private final class Attempt: Sendable {
    private let begun = Mutex<StoreRevision?>(nil)
    var revision: StoreRevision? {
      get { begun.withLock { $0 } }
      set { begun.withLock { $0 = newValue } }
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
    try await settle()
    return table.withLock { $0.page(prefix: prefix, after: key, limit: min(limit, PolicyStoreLimits.pageSize)) }
  }

  func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    try await settle()
    let feed = ChangeFeed(since: revision, wakeups: wakeups.stream()) { [weak self] since in
      self?.table.withLock { ($0.changes(since: since), $0.revision) } ?? ([], since)
    }
    return AsyncStream { await feed.next() }
  }

  func currentRevision() async throws(KeyCustodyError) -> StoreRevision {
    try await settle()
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

  /// Reads the records again where a change ended with an unknown outcome.
  private func settle() async throws(KeyCustodyError) {
    try requireOpen()
    guard isUnsettled.withLock({ $0 }) else { return }
    try await writer.reload { [self] fresh in
      take(fresh)
      isUnsettled.withLock { $0 = false }
    }
  }

  private func requireOpen() throws(KeyCustodyError) {
    guard closing.withLock({ $0 == nil }) else { throw LendingClosed.error }
  }

  private static let full = KeyCustodyError(
    .unsupported, .init("store-full"), "A policy store on a token holds at most \(recordLimit) records.",
    remedy: "Keep the records in another store ('plugin': \"file\", for instance).")
}
