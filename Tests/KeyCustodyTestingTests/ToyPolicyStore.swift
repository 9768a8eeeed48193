import KeyCustody
import KeyCustodyTesting
import Synchronization

/// Where a toy store keeps its records between openings.
final class ToyStoreDisk: Sendable {
  struct Content: Sendable {
    var records: [RecordKey: PolicyRecord] = [:]
    var revision = StoreRevision.zero
  }
  let instance: String
  let content = Mutex(Content())
  private static let count = Atomic(0)
  init() { instance = "disk \(Self.count.add(1, ordering: .relaxed).newValue)" }
}

/// A policy store in memory that keeps the contract, except for one flaw it may be given.
final class ToyPolicyStore: PolicyStore {
  private struct State {
    var table: RecordTable
    var watchers: [Int: AsyncStream<StoreChange>.Continuation] = [:]
    var next = 0
    var isClosed = false
    var extraRevisions: UInt64 = 0
    var inFlight = 0
    var firstRevisions: [RecordKey: StoreRevision] = [:]
  }
  let identity: ProviderIdentity
  private let disk: ToyStoreDisk
  private let flaw: StoreFlaw?
  private let state: Mutex<State>

  init(disk: ToyStoreDisk, flaw: StoreFlaw?) {
    self.disk = disk
    self.flaw = flaw
    identity = ProviderIdentity(
      kind: "toy", instance: flaw == .freshIdentity ? "\(UInt64.random(in: 0 ... .max))" : disk.instance)
    let content = disk.content.withLock { $0 }
    let records = flaw == .losesRecords ? [] : Array(content.records.values)
    // A table that was told only of what lives takes its newest revision for the newest there was.
    switch flaw {
    case .restartsRevisions: state = Mutex(State(table: Self.restarted(records)))
    case .revisionFromRecords: state = Mutex(State(table: RecordTable(records)))
    default: state = Mutex(State(table: RecordTable(records, revision: content.revision)))
    }
  }

  private static func restarted(_ records: [PolicyRecord]) -> RecordTable {
    RecordTable(records.map { PolicyRecord(key: $0.key, revision: StoreRevision(1), value: $0.value) })
  }

  private func has(_ flaw: StoreFlaw) -> Bool { self.flaw == flaw }

  private func checkOpen() throws(KeyCustodyError) {
    guard state.withLock({ $0.isClosed }), !has(.closedIsEmpty) else { return }
    throw KeyCustodyError(.unavailable, .closed, "The store was closed.")
  }

  // MARK: Records

  func read(_ key: RecordKey) async throws(KeyCustodyError) -> PolicyRecord? {
    try checkOpen()
    let key = try stored(key)
    let found = state.withLock { state in
      state.table[key]
        ?? (has(.readsNeighbours) ? state.table.page(prefix: key.description, after: nil, limit: 1).first : nil)
    }
    return has(.emptyIsAbsent) && found?.value.isEmpty == true ? nil : found
  }

  func compareAndSet(
    _ key: RecordKey, expecting expected: StoreRevision?, value: [UInt8]
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try checkOpen()
    if !has(.noLimit) { try PolicyStoreLimits.check(value) }
    if has(.smallLimit), value.count >= PolicyStoreLimits.valueSize {
      throw KeyCustodyError(.invalidInput, .wrongSize, "Too large.")
    }
    let key = try stored(key)
    let value = has(.valuesAreText) ? Array(String(decoding: value, as: UTF8.self).utf8) : value
    if let conflict = await raced(key, expected) { return conflict }
    return state.withLock { state in
      let revision: StoreRevision
      switch plan(key, expected, state) {
      case .conflict(let found):
        if has(.conflictsCount) { state.extraRevisions += 1 }
        if has(.tellsConflicts), let found { tell(.put(found), &state) }
        return .conflict(found)
      case .proceed(let next): revision = next
      }
      let record = PolicyRecord(key: key, revision: revision, value: value)
      if has(.swallowsWrites) || has(.keepsOldValues) && expected != nil { return .stored(revision) }
      if state.firstRevisions[key] == nil { state.firstRevisions[key] = revision }
      state.table.put(record)
      save(record, state)
      tell(.put(has(.tellsOldValues) ? PolicyRecord(key: key, revision: revision, value: []) : record), &state)
      return .stored(revision)
    }
  }

  func delete(_ key: RecordKey, expecting expected: StoreRevision) async throws(KeyCustodyError) -> StoreOutcome {
    try checkOpen()
    let key = try stored(key)
    if let conflict = await raced(key, expected) { return conflict }
    return state.withLock { state in
      let before = state.table.revision
      var revision = StoreRevision(before.number + 1 + state.extraRevisions)
      if !has(.deletesWithoutLooking) {
        switch plan(key, expected, state) {
        case .conflict(let found):
          if has(.conflictsCount) { state.extraRevisions += 1 }
          return .conflict(found)
        case .proceed(let next): revision = next
        }
      }
      if has(.keepsDeleted) { return .stored(revision) }
      if has(.deleteKeepsRevision) {
        let living = state.table.page(prefix: "", after: nil, limit: .max).filter { $0.key != key }
        state.table = RecordTable(living, revision: before)
        return .stored(revision)
      }
      state.table.remove(key, at: revision)
      disk.content.withLock { content in
        if !has(.revivesDeleted) { content.records[key] = nil }
        content.revision = revision
      }
      if !has(.losesDeletes) { tell(.deleted(key, revision), &state) }
      return .stored(revision)
    }
  }

  private func plan(_ key: RecordKey, _ expected: StoreRevision?, _ state: State) -> RecordTable.Plan {
    let blind = has(.ignoresExpectedRevision) || has(.checksThenActs)
    switch state.table.plan(key, expecting: blind ? state.table[key]?.revision : expected) {
    case .conflict(let found): return .conflict(found)
    case .proceed(let next):
      if has(.revisionsPerRecord) { return .proceed(StoreRevision((state.table[key]?.revision.number ?? 0) + 1)) }
      return .proceed(StoreRevision(next.number + state.extraRevisions))
    }
  }

  private func save(_ record: PolicyRecord, _ state: State) {
    disk.content.withLock { content in
      content.records[record.key] = record
      content.revision = max(content.revision, record.revision)
    }
  }

  /// Looks first and acts later, so that another caller gets between.
  private func raced(_ key: RecordKey, _ expected: StoreRevision?) async -> StoreOutcome? {
    guard has(.checksThenActs) else { return nil }
    let (found, started) = state.withLock { state in
      state.inFlight += 1
      return (state.table[key], state.inFlight)
    }
    guard found?.revision == expected else { return .conflict(found) }
    for _ in 0..<200 where state.withLock({ $0.inFlight == started }) { await Task.yield() }
    return nil
  }

  private func stored(_ key: RecordKey) throws(KeyCustodyError) -> RecordKey {
    if has(.shortKeys), key.description.utf8.count > 255 {
      throw KeyCustodyError(.invalidInput, .badName, "The key is too long for a file name.")
    }
    return has(.foldsCase) ? try RecordKey(key.description.lowercased()) : key
  }

  // MARK: Listing

  func list(prefix: String, after key: RecordKey?, limit: Int) async throws(KeyCustodyError) -> [PolicyRecord] {
    try checkOpen()
    if has(.firstPageOnly), key != nil { return [] }
    let limit = has(.ignoresLimit) ? .max : min(limit, PolicyStoreLimits.pageSize)
    return state.withLock { state in
      if has(.afterMustExist), let key, state.table[key] == nil { return [] }
      var page = state.table.page(prefix: prefix, after: key, limit: limit)
      if has(.prefixIsPath), !prefix.isEmpty, !prefix.hasSuffix("/") {
        page = page.filter { $0.key.description == prefix || $0.key.description.hasPrefix(prefix + "/") }
      }
      if has(.listsOutOfOrder) { page.sort { $0.key.description.lowercased() < $1.key.description.lowercased() } }
      if has(.listsTwice), page.count < limit, let last = page.last { page.append(last) }
      if has(.listsOldRevisions) {
        page = page.map {
          PolicyRecord(key: $0.key, revision: state.firstRevisions[$0.key] ?? $0.revision, value: $0.value)
        }
      }
      return page
    }
  }

  func currentRevision() async throws(KeyCustodyError) -> StoreRevision {
    try checkOpen()
    return state.withLock { StoreRevision($0.table.revision.number + $0.extraRevisions) }
  }

  // MARK: Watching

  func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    try checkOpen()
    return AsyncStream(bufferingPolicy: has(.smallBuffer) ? .bufferingNewest(16) : .unbounded) { continuation in
      state.withLock { state in
        for change in told(since: revision, state) { continuation.yield(change) }
        if has(.oneWatcher) { state.watchers = [:] }
        state.next += 1
        let id = state.next
        state.watchers[id] = continuation
        continuation.onTermination = { [weak self] _ in self?.forget(id) }
      }
    }
  }

  private func told(since revision: StoreRevision, _ state: State) -> [StoreChange] {
    if has(.watchesFromNow) { return [] }
    let changes = state.table.changes(since: has(.watchesFromStart) ? .zero : revision)
    return has(.forgetsDeletes) ? changes.filter { if case .put = $0 { true } else { false } } : changes
  }

  private func forget(_ id: Int) {
    let others = state.withLock { state in
      state.watchers[id] = nil
      return has(.watchersEndTogether) ? Array(state.watchers.values) : []
    }
    for other in others { other.finish() }
  }

  private func tell(_ change: StoreChange, _ state: inout State) {
    for watcher in state.watchers.values { watcher.yield(change) }
  }

  func close() async {
    let watchers = state.withLock { state in
      state.isClosed = has(.secondCloseOpens) ? !state.isClosed : true
      return has(.leavesStreamsOpen) ? [] : Array(state.watchers.values)
    }
    for watcher in watchers { watcher.finish() }
  }
}
