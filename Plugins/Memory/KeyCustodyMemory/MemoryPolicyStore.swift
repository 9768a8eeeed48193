public import KeyCustody
import Synchronization

/// A policy store whose records live in memory and nowhere else.
public final class MemoryPolicyStore: PolicyStore {
  private let records: MemoryRecords
  private let owner: Int
  /// Whether several openings are meant to use the same records at a time.
  public let isShared: Bool
  private let isClosed = Mutex(false)

  /// A store over fresh, empty memory.
  ///
  /// - Throws: `fault` when the random source fails.
  public convenience init(environment: RuntimeEnvironment = RuntimeEnvironment()) throws(KeyCustodyError) {
    self.init(records: try MemoryRecords(random: environment.random))
  }

  init(records: MemoryRecords, isShared: Bool = false) {
    self.records = records
    self.isShared = isShared
    owner = records.open()
  }

  /// `memory` and a random number of this memory.
  public var identity: ProviderIdentity { records.identity }

  /// Reads a record.
  public func read(_ key: RecordKey) async throws(KeyCustodyError) -> PolicyRecord? {
    try checkOpen()
    return records.read { $0[key] }
  }

  /// Writes a record if the store still holds the revision expected.
  public func compareAndSet(
    _ key: RecordKey, expecting revision: StoreRevision?, value: [UInt8]
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try checkOpen()
    try PolicyStoreLimits.check(value)
    return records.change(key, expecting: revision, to: value)
  }

  /// Removes a record if the store still holds the revision expected.
  public func delete(
    _ key: RecordKey, expecting revision: StoreRevision
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try checkOpen()
    return records.change(key, expecting: revision, to: nil)
  }

  /// A page of records.
  public func list(
    prefix: String, after key: RecordKey?, limit: Int
  ) async throws(KeyCustodyError) -> [PolicyRecord] {
    try checkOpen()
    return records.read { $0.page(prefix: prefix, after: key, limit: min(limit, PolicyStoreLimits.pageSize)) }
  }

  /// Changes after a revision.
  ///
  /// A reader that does not keep up costs memory, never a change.
  public func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    try checkOpen()
    let stream = records.watch(since: revision, for: owner)
    // Closed meanwhile: this stream must end too.
    if isClosed.withLock({ $0 }) { records.endWatches(of: owner) }
    return stream
  }

  /// The newest revision.
  public func currentRevision() async throws(KeyCustodyError) -> StoreRevision {
    try checkOpen()
    return records.read { $0.revision }
  }

  /// Ends all use; the records stay with the ``MemoryPlugin`` they were opened through, if any.
  public func close() async {
    isClosed.withLock { $0 = true }
    records.endWatches(of: owner)
  }

  private func checkOpen() throws(KeyCustodyError) {
    guard !isClosed.withLock({ $0 }) else {
      throw KeyCustodyError(.unavailable, .closed, "The policy store \(identity) was closed.")
    }
  }
}
