import KeyCustody
import Synchronization

/// A store that lets somebody else act just before the first write of one record: a race, made certain.
final class GatedStore: PolicyStore {
  private let inner: any PolicyStore
  private let name: String
  private let action = Mutex<(@Sendable () async throws -> Void)?>(nil)

  init(_ inner: any PolicyStore, before name: String) {
    self.inner = inner
    self.name = name
  }

  /// What happens before the next write, once.
  func onWrite(_ body: @escaping @Sendable () async throws -> Void) { action.withLock { $0 = body } }

  private func intrude(_ key: RecordKey) async {
    guard key.description == name else { return }
    let body = action.withLock { action in
      defer { action = nil }
      return action
    }
    try? await body?()
  }

  var identity: ProviderIdentity { inner.identity }
  var isShared: Bool { inner.isShared }
  func read(_ key: RecordKey) async throws(KeyCustodyError) -> PolicyRecord? { try await inner.read(key) }
  func compareAndSet(
    _ key: RecordKey, expecting revision: StoreRevision?, value: [UInt8]
  ) async throws(KeyCustodyError) -> StoreOutcome {
    await intrude(key)
    return try await inner.compareAndSet(key, expecting: revision, value: value)
  }
  func delete(_ key: RecordKey, expecting revision: StoreRevision) async throws(KeyCustodyError) -> StoreOutcome {
    try await inner.delete(key, expecting: revision)
  }
  func list(prefix: String, after key: RecordKey?, limit: Int) async throws(KeyCustodyError) -> [PolicyRecord] {
    try await inner.list(prefix: prefix, after: key, limit: limit)
  }
  func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    try await inner.watch(since: revision)
  }
  func currentRevision() async throws(KeyCustodyError) -> StoreRevision { try await inner.currentRevision() }
  func close() async { await inner.close() }
}
