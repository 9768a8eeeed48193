import KeyCustody
import Synchronization

/// The records of a folder: files, and a table of them in memory.
///
/// ``change(_:expecting:to:)`` and ``settle()`` are called by one thread at a time; the rest may be called from
/// anywhere and does not block.
final class FileRecords: Sendable {
  private struct State {
    var table: RecordTable
    /// What can't be read, by the name of its file.
    var damaged: [String: DamagedRecord]
    /// Changes of which it is not known whether they happened, by the name of the file.
    var unsettled: [String: UnsettledChange] = [:]
    var watchers: [Int: AsyncStream<StoreChange>.Continuation] = [:]
    var nextWatcher = 0
    var isClosed = false

    /// What stands in the way of reading or changing a record.
    func obstacle(_ name: String) -> KeyCustodyError? { damaged[name]?.error ?? unsettled[name]?.error }
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
        // A file that vanished with all the others is not damaged.
        try folder.confirm()
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
      if let error = state.obstacle(name) { throw error }
      return state.table[key]
    }
  }

  func page(prefix: String, after key: RecordKey?, limit: Int) throws(KeyCustodyError) -> [PolicyRecord] {
    try withState { (state) throws(KeyCustodyError) in
      if let unsettled = state.unsettled.values.first { throw unsettled.error }
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
    try settle()
    let plan = try withState { (state) throws(KeyCustodyError) in
      if let error = state.obstacle(name) { throw error }
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
      if error.code == .timeout {
        try withState { (state) throws(KeyCustodyError) in
          state.unsettled[name] = UnsettledChange(key: key, revision: next, error: error)
        }
        try? settle()
      }
      throw error
    }
    try commit(key, next, value)
    return .stored(next)
  }

  func watch(since revision: StoreRevision) throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    // Unbounded: a change that is dropped is a revocation that is not seen. A reader should keep up.
    let (stream, continuation) = AsyncStream.makeStream(of: StoreChange.self, bufferingPolicy: .unbounded)
    let id = try withState { (state) throws(KeyCustodyError) in
      if let unsettled = state.unsettled.values.first { throw unsettled.error }
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

  /// Whether the outcome of a change is unknown, so that nothing may be read before ``settle()``.
  var isUnsettled: Bool { state.withLock { !$0.unsettled.isEmpty } }

  /// After changes of unknown outcome: takes over what is in the folder now.
  ///
  /// - Throws: `unavailable` where the folder can't be read; the changes stay unsettled, and are looked at again.
  func settle() throws(KeyCustodyError) {
    let unsettled = state.withLock { $0.unsettled }
    guard !unsettled.isEmpty else { return }
    // What is there may be on no disk yet, and is about to be told as if it were.
    do throws(SystemError) { try folder.contents.synchronize() } catch {
      throw KeyCustodyError(error, folder.contents.path)
    }
    for (name, change) in unsettled {
      let found: PolicyRecord?
      do {
        if try folder.contents.status(name) == nil {
          // Not there, in a store that is.
          try folder.confirm()
          found = nil
        } else {
          found = try Self.load(name, folder.contents)
        }
      } catch {
        guard error.code == .integrityFailure || error.code == .denied else { throw error }
        try folder.confirm()
        state.withLock { state in
          state.unsettled[name] = nil
          state.damaged[name] = DamagedRecord(key: change.key.description, isWhole: true, error: error)
        }
        continue
      }
      let known = state.withLock { state in
        state.unsettled[name] = nil
        return state.table[change.key]
      }
      if let found, found.revision == change.revision {
        try commit(change.key, change.revision, found.value)
      } else if found == nil, known != nil {
        try commit(change.key, change.revision, nil)
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

/// A change of which it is not known whether it happened.
private struct UnsettledChange {
  let key: RecordKey
  let revision: StoreRevision
  let error: KeyCustodyError
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
