import KeyCustody
import Synchronization

/// The records of a folder: files, and a table of them in memory.
///
/// ``change(_:expecting:to:)`` is called by one thread at a time; the rest may be called from anywhere and does not
/// block.
final class FileRecords: Sendable {
  private struct State {
    var table: RecordTable
    /// What can't be read, by the name of its file.
    var damaged: [String: DamagedRecord]
    var watchers: [Int: AsyncStream<StoreChange>.Continuation] = [:]
    var nextWatcher = 0
    var isClosed = false
  }

  private let folder: StoreFolder
  private let state: Mutex<State>
  /// Apart from the rest, since raising it waits for the disk; used by the one thread that makes changes.
  private let revisions: Mutex<RevisionFile>
  let identity: ProviderIdentity

  init(
    directory: String, create: Bool, environment: RuntimeEnvironment, system: any FileSystem
  ) throws(KeyCustodyError) {
    let random = environment.random
    let make = { () throws(KeyCustodyError) -> StoreFile in
      StoreFile(kind: .policy, uuid: try random.bytes(16).hexadecimal)
    }
    folder = try StoreFolder(
      DurableFolder(path: directory, system: system, random: random), kind: .policy, contents: "records",
      isExclusive: true, make: create ? make : nil)
    var records: [PolicyRecord] = []
    var damaged: [String: DamagedRecord] = [:]
    for name in try folder.contents.names() {
      guard let told = RecordFileName.key(of: name) else { continue }
      do { records.append(try Self.load(name, folder.contents)) } catch {
        guard error.code == .integrityFailure || error.code == .denied else { throw error }
        damaged[name] = DamagedRecord(key: told.text, isWhole: told.isWhole, error: error)
      }
    }
    let revisions = try RevisionFile(
      folder.root, highest: records.map(\.revision).max() ?? .zero, isNew: folder.isNew,
      now: environment.time.now())
    let table = RecordTable(records, revision: revisions.start)
    state = Mutex(State(table: table, damaged: damaged))
    self.revisions = Mutex(revisions)
    identity = ProviderIdentity(kind: FileKeys.kind, instance: folder.store.uuid)
  }

  func read(_ key: RecordKey) throws(KeyCustodyError) -> PolicyRecord? {
    let name = try RecordFileName.of(key)
    return try withState { (state) throws(KeyCustodyError) in
      if let damaged = state.damaged[name] { throw damaged.error }
      return state.table[key]
    }
  }

  func page(prefix: String, after key: RecordKey?, limit: Int) throws(KeyCustodyError) -> [PolicyRecord] {
    try withState { (state) throws(KeyCustodyError) in
      let page = state.table.page(prefix: prefix, after: key, limit: limit)
      let end = page.count < limit ? nil : page.last?.key
      for damaged in state.damaged.values.sorted(by: { $0.key < $1.key })
      where damaged.mayStand(prefix: prefix, after: key, upTo: end) {
        throw damaged.error
      }
      return page
    }
  }

  func currentRevision() throws(KeyCustodyError) -> StoreRevision {
    try withState { (state) throws(KeyCustodyError) in state.table.revision }
  }

  /// Makes a change: on the disk first, then in memory, then to the watchers.
  func change(
    _ key: RecordKey, expecting expected: StoreRevision?, to value: [UInt8]?
  ) throws(KeyCustodyError) -> StoreOutcome {
    let name = try RecordFileName.of(key)
    let plan = try withState { (state) throws(KeyCustodyError) in
      if let damaged = state.damaged[name] { throw damaged.error }
      return state.table.plan(key, expecting: expected)
    }
    let next: StoreRevision
    switch plan {
    case .conflict(let found): return .conflict(found)
    case .proceed(let planned): next = planned
    }
    try revisions.withLock { (revisions) throws(KeyCustodyError) in try revisions.reserve(next) }
    do {
      if let value {
        let record = PolicyRecord(key: key, revision: next, value: value)
        try folder.contents.replace(name, try RecordFile.encode(record))
      } else if try !folder.contents.remove(name) {
        try folder.confirm()
      }
    } catch {
      if error.code == .timeout { settle(key, name, next) }
      throw error
    }
    try commit(key, next, value)
    return .stored(next)
  }

  func watch(since revision: StoreRevision) throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    // Unbounded: a change that is dropped is a revocation that is not seen. A reader should keep up.
    let (stream, continuation) = AsyncStream.makeStream(of: StoreChange.self, bufferingPolicy: .unbounded)
    let id = try withState { (state) throws(KeyCustodyError) in
      let changes = state.table.changes(since: revision)
      let current = state.table.revision
      if !state.damaged.isEmpty, changes.first != .resynchronize(current) {
        // Whether a damaged record was changed since is not known; who reads again is told of it.
        continuation.yield(.resynchronize(current))
      }
      for change in changes { continuation.yield(change) }
      state.nextWatcher += 1
      state.watchers[state.nextWatcher] = continuation
      return state.nextWatcher
    }
    continuation.onTermination = { [weak self] _ in
      self?.state.withLock { state in _ = state.watchers.removeValue(forKey: id) }
    }
    return stream
  }

  func close() {
    let watchers = state.withLock { state in
      defer { state.watchers = [:] }
      state.isClosed = true
      return Array(state.watchers.values)
    }
    // Outside the lock: ending a stream calls back.
    for watcher in watchers { watcher.finish() }
    folder.close()
  }

  deinit { close() }

  private func commit(_ key: RecordKey, _ revision: StoreRevision, _ value: [UInt8]?) throws(KeyCustodyError) {
    try withState { (state) throws(KeyCustodyError) in
      let change: StoreChange
      if let value {
        let record = PolicyRecord(key: key, revision: revision, value: value)
        state.table.put(record)
        change = .put(record)
      } else {
        state.table.remove(key, at: revision)
        change = .deleted(key, revision)
      }
      for watcher in state.watchers.values { watcher.yield(change) }
    }
  }

  /// After a change of unknown outcome: takes over what is in the folder now.
  private func settle(_ key: RecordKey, _ name: String, _ revision: StoreRevision) {
    do {
      if try folder.contents.status(name) == nil {
        try commit(key, revision, nil)
      } else {
        let found = try Self.load(name, folder.contents)
        if found.revision == revision { try commit(key, revision, found.value) }
      }
    } catch {
      state.withLock { state in
        state.damaged[name] = DamagedRecord(key: key.description, isWhole: true, error: error)
      }
    }
  }

  private func withState<Result>(
    _ body: (inout State) throws(KeyCustodyError) -> Result
  ) throws(KeyCustodyError) -> Result {
    try state.withLock { (state) throws(KeyCustodyError) in
      guard !state.isClosed else {
        throw KeyCustodyError(.unavailable, .closed, "The policy store \(identity) was closed.")
      }
      return try body(&state)
    }
  }

  private static func load(_ name: String, _ folder: DurableFolder) throws(KeyCustodyError) -> PolicyRecord {
    let path = folder.appending(name)
    guard let bytes = try folder.read(name, limit: RecordFile.largest) else {
      throw .damagedFile(path, "it is gone")
    }
    let record = try RecordFile.decode(bytes, at: path)
    guard try RecordFileName.of(record.key) == name else {
      throw .damagedFile(path, "it holds the record '\(record.key)'")
    }
    return record
  }
}

/// A record whose file can't be read.
private struct DamagedRecord {
  /// The record's key, or how it begins, as the file's name tells it.
  let key: String
  let isWhole: Bool
  let error: KeyCustodyError

  /// Whether the record may belong among those that begin with `prefix`, stand after `start` and not after `end`.
  func mayStand(prefix: String, after start: RecordKey?, upTo end: RecordKey?) -> Bool {
    let own = Array(key.utf8)
    let wanted = Array(prefix.utf8)
    let fits = own.starts(with: wanted) || (!isWhole && wanted.starts(with: own))
    guard fits else { return false }
    if let start, !isAfter(Array(start.description.utf8), own) { return false }
    if let end, Array(end.description.utf8).lexicographicallyPrecedes(own) { return false }
    return true
  }

  private func isAfter(_ start: [UInt8], _ own: [UInt8]) -> Bool {
    if start.lexicographicallyPrecedes(own) { return true }
    return !isWhole && start.starts(with: own)
  }
}
