import KeyCustody
import Synchronization

/// What a test lets happen inside a call of a backend: races, made certain.
final class Hooks: Sendable {
  typealias Action = @Sendable () async -> Void
  private struct State {
    var unwrap: (@Sendable (Int) async -> Void)?
    var unwraps = 0
    var reads: [String: Action] = [:]
    var stale: [String: (record: PolicyRecord, times: Int)] = [:]
  }
  private let state = Mutex(State())

  /// Before each unwrap of a customer's provider, with its number.
  func onUnwrap(_ action: (@Sendable (Int) async -> Void)?) {
    state.withLock { state in
      state.unwrap = action
      state.unwraps = 0
    }
  }

  /// Once, after the next read of a record, or listing by a prefix, and before the reader gets it.
  func afterRead(_ key: String, _ action: @escaping Action) { state.withLock { $0.reads[key] = action } }

  /// Answers the next reads of a record with an older state of it.
  func answer(_ record: PolicyRecord, times: Int) {
    state.withLock { $0.stale[record.key.description] = (record, times) }
  }

  fileprivate func staleAnswer(_ key: RecordKey) -> PolicyRecord? {
    state.withLock { state in
      guard let (record, times) = state.stale[key.description], times > 0 else { return nil }
      state.stale[key.description] = (record, times - 1)
      return record
    }
  }

  fileprivate func unwrapping() async {
    let (action, number) = state.withLock { state in
      state.unwraps += 1
      return (state.unwrap, state.unwraps)
    }
    await action?(number)
  }

  fileprivate func didRead(_ key: String) async {
    let action = state.withLock { $0.reads.removeValue(forKey: key) }
    await action?()
  }
}

/// A number that many tasks share.
final class Tally: Sendable {
  private let number = Mutex(0)
  var value: Int { number.withLock { $0 } }
  func add() { number.withLock { $0 += 1 } }
}

/// A door that many wait at until it is opened.
final class Gate: Sendable {
  private struct State {
    var isOpen = false
    var waiting: [CheckedContinuation<Void, Never>] = []
  }
  private let state = Mutex(State())

  var waiters: Int { state.withLock { $0.waiting.count } }

  func pass() async {
    await withCheckedContinuation { continuation in
      let isOpen = state.withLock { state in
        if !state.isOpen { state.waiting.append(continuation) }
        return state.isOpen
      }
      if isOpen { continuation.resume() }
    }
  }

  func open() {
    let waiting = state.withLock { state in
      state.isOpen = true
      defer { state.waiting = [] }
      return state.waiting
    }
    for continuation in waiting { continuation.resume() }
  }
}

struct HookedKeyProvider: KeyProvider {
  let inner: any KeyProvider
  let hooks: Hooks

  var identity: ProviderIdentity { inner.identity }
  var capabilities: KeyProviderCapabilities { inner.capabilities }
  var inventory: (any KeyInventory)? { inner.inventory }
  var backup: (any KeyBackup)? { inner.backup }
  func events() -> AsyncStream<KeyProviderEvent> { inner.events() }
  func close() async { await inner.close() }
  func generate(
    _ request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription { try await inner.generate(request, context: context) }
  func importKey(
    _ material: borrowing SecretBytes, as request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try await inner.importKey(material, as: request, context: context)
  }
  func describe(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) -> KeyDescription {
    try await inner.describe(version, context: context)
  }
  func destroy(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) {
    try await inner.destroy(version, context: context)
  }
  func wrap(
    _ secret: borrowing SecretBytes, with request: WrapRequest
  ) async throws(KeyCustodyError) -> WrappedSecret { try await inner.wrap(secret, with: request) }
  func unwrap(_ wrapped: [UInt8], with request: WrapRequest) async throws(KeyCustodyError) -> SecretBytes {
    await hooks.unwrapping()
    return try await inner.unwrap(wrapped, with: request)
  }
  func sign(_ digest: [UInt8], with request: SignRequest) async throws(KeyCustodyError) -> [UInt8] {
    try await inner.sign(digest, with: request)
  }
  func probe(_ version: KeyVersionID?, context: CallContext) async throws(KeyCustodyError) {
    try await inner.probe(version, context: context)
  }
}

struct HookedStore: PolicyStore {
  let inner: any PolicyStore
  let hooks: Hooks

  var identity: ProviderIdentity { inner.identity }
  var isShared: Bool { inner.isShared }
  func read(_ key: RecordKey) async throws(KeyCustodyError) -> PolicyRecord? {
    let found = if let stale = hooks.staleAnswer(key) { stale } else { try await inner.read(key) }
    await hooks.didRead(key.description)
    return found
  }
  func compareAndSet(
    _ key: RecordKey, expecting revision: StoreRevision?, value: [UInt8]
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try await inner.compareAndSet(key, expecting: revision, value: value)
  }
  func delete(_ key: RecordKey, expecting revision: StoreRevision) async throws(KeyCustodyError) -> StoreOutcome {
    try await inner.delete(key, expecting: revision)
  }
  func list(prefix: String, after key: RecordKey?, limit: Int) async throws(KeyCustodyError) -> [PolicyRecord] {
    let found = try await inner.list(prefix: prefix, after: key, limit: limit)
    await hooks.didRead(prefix)
    return found
  }
  func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    try await inner.watch(since: revision)
  }
  func currentRevision() async throws(KeyCustodyError) -> StoreRevision { try await inner.currentRevision() }
  func close() async { await inner.close() }
}
