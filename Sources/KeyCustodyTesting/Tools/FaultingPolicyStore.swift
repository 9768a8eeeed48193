public import KeyCustody

/// A policy store around another one that fails where a ``FaultPlan`` says so.
public struct FaultingPolicyStore: PolicyStore {
  /// What can be made to fail.
  public enum Operation: String, Sendable, Hashable, CaseIterable {
    /// Reading a record.
    case read
    /// Writing a record.
    case compareAndSet
    /// Removing a record.
    case delete
    /// Listing records.
    case list
    /// Watching changes.
    case watch
    /// Asking for the newest revision.
    case currentRevision
  }

  /// The store that does the work.
  public let inner: any PolicyStore
  /// What fails.
  public let plan: FaultPlan<Operation>

  /// Puts faults around `inner`.
  public init(_ inner: any PolicyStore, plan: FaultPlan<Operation>) {
    self.inner = inner
    self.plan = plan
  }

  /// The inner store's.
  public var identity: ProviderIdentity { inner.identity }
  /// As the inner store.
  public var isShared: Bool { inner.isShared }
  /// Closes the inner store; never fails.
  public func close() async { await inner.close() }

  /// Reads a record, or fails by plan.
  public func read(_ key: RecordKey) async throws(KeyCustodyError) -> PolicyRecord? {
    try await plan.run(.read) { () async throws(KeyCustodyError) in try await inner.read(key) }
  }

  /// Writes a record, or fails by plan.
  public func compareAndSet(
    _ key: RecordKey, expecting revision: StoreRevision?, value: [UInt8]
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try await plan.run(.compareAndSet, grows: true) { () async throws(KeyCustodyError) in
      try await inner.compareAndSet(key, expecting: revision, value: value)
    }
  }

  /// Removes a record, or fails by plan.
  public func delete(_ key: RecordKey, expecting revision: StoreRevision) async throws(KeyCustodyError) -> StoreOutcome
  {
    try await plan.run(.delete) { () async throws(KeyCustodyError) in
      try await inner.delete(key, expecting: revision)
    }
  }

  /// Lists records, or fails by plan.
  public func list(
    prefix: String, after key: RecordKey?, limit: Int
  ) async throws(KeyCustodyError) -> [PolicyRecord] {
    try await plan.run(.list) { () async throws(KeyCustodyError) in
      try await inner.list(prefix: prefix, after: key, limit: limit)
    }
  }

  /// Watches changes, or fails by plan.
  public func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    try await plan.run(.watch) { () async throws(KeyCustodyError) in try await inner.watch(since: revision) }
  }

  /// The newest revision, or fails by plan.
  public func currentRevision() async throws(KeyCustodyError) -> StoreRevision {
    try await plan.run(.currentRevision) { () async throws(KeyCustodyError) in try await inner.currentRevision() }
  }
}
