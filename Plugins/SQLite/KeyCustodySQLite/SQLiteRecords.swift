import GRDB
import KeyCustody
import Synchronization

/// An open database: what reads it, what changes it, and who watches.
///
/// Reading blocks, and is done by one thread at a time, another one than the writer's.
final class SQLiteRecords: Sendable {
  static let kind = "sqlite"

  let identity: ProviderIdentity
  let writer: RecordWriter
  private let place: StorePlace
  private let reader: StoreConnection
  private let watchers = ChangeWatchers()
  private let recent: RecentRecords
  private let mark: ChangeMark
  /// Why what is not found may not be said to be absent.
  private let obstacle: KeyCustodyError?
  /// Deletions up to here may have been forgotten, whatever the database says.
  private let forgotten: StoreRevision
  private let isClosed = Mutex(false)

  init(
    path: String, create: Bool, random: any RandomSource, system: any FileSystem, pageLimit: Int?
  ) throws(KeyCustodyError) {
    place = try StorePlace(
      path, .records, system: system,
      make: create
        ? { (path) throws(KeyCustodyError) in
          let state = StoreState(uuid: try random.bytes(16))
          try StoreConnection.make(at: path) { try StoreFormat.write(state, to: $0) }
        } : nil)
    do throws(KeyCustodyError) {
      let connection = try StoreConnection.writer(path, pageLimit: pageLimit)
      // Before the reader opens, so that there is a write-ahead log to read from.
      let (state, check) = try connection.use { database in
        let state = try StoreState(database, at: path)
        let check = try StoreCheck(database, state, at: path)
        // Pages that only the check needed.
        database.releaseMemory()
        return (state, check)
      }
      reader = try StoreConnection.reader(path)
      try place.noteFiles()
      obstacle = check.obstacle
      forgotten = check.knowsDeletions ? .zero : state.revision
      identity = ProviderIdentity(kind: Self.kind, instance: state.uuid.hexadecimal)
      let mark = ChangeMark(path)
      recent = RecentRecords { mark.value }
      self.mark = mark
      writer = try RecordWriter(connection, place, state, check.obstacle, watchers, recent)
    } catch {
      place.close()
      throw error
    }
  }

  /// Waits for the disk only after a change whose outcome is unknown: until it is known, what it touched is not told.
  func settle() async throws(KeyCustodyError) {
    if writer.isUnsettled { try await writer.settleLater() }
  }

  /// A record that was read lately and has not changed since; does not block.
  func recent(_ key: RecordKey) throws(KeyCustodyError) -> PolicyRecord? {
    try requireOpen()
    return recent.find(key)
  }

  func read(_ key: RecordKey) throws(KeyCustodyError) -> PolicyRecord? {
    try requireOpen()
    let moment = recent.moment
    let found = try reader.read { database in try queries(database).find(key)?.record }
    if let found { recent.keep(found, readAt: moment) } else if let obstacle { throw obstacle }
    return found
  }

  func page(prefix: String, after key: RecordKey?, limit: Int) throws(KeyCustodyError) -> [PolicyRecord] {
    try requireOpen()
    if let obstacle { throw obstacle }
    // No key holds anything but printable ASCII.
    guard limit > 0, prefix.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else { return [] }
    return try reader.read { database in try queries(database).page(prefix: prefix, after: key, limit: limit) }
  }

  func currentRevision() throws(KeyCustodyError) -> StoreRevision {
    try requireOpen()
    return writer.state.revision
  }

  func watch(since revision: StoreRevision) throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    try requireOpen()
    // First: what is changed while the past is read is held for it.
    let (id, stream) = watchers.add()
    do throws(KeyCustodyError) {
      let (state, changes) = try reader.read { database in
        var found: (StoreState, [StoreChange])?
        try database.inTransaction(.deferred) {
          let state = try StoreState(database, at: place.path)
          let (changes, isWhole) = try queries(database).changes(since: revision)
          let forgotten = max(state.forgotten, forgotten)
          if !isWhole || obstacle != nil {
            // Whether a damaged record was changed since is not known; who reads again is told of it.
            found = (state, [.resynchronize(state.revision)] + changes)
          } else {
            let isKnown = revision >= forgotten || revision == .zero
            found = (state, (isKnown ? [] : [.resynchronize(forgotten)]) + changes)
          }
          return .commit
        }
        guard let found else { throw KeyCustodyError(.fault, .internalFault, "A transaction gave no answer.") }
        return found
      }
      watchers.begin(id, with: changes, upTo: state.revision)
      return stream
    } catch {
      watchers.remove(id)
      throw error
    }
  }

  private func queries(_ database: Database) -> StoreQueries { StoreQueries(database: database, path: place.path) }

  private func requireOpen() throws(KeyCustodyError) {
    guard !isClosed.withLock({ $0 }) else { throw closedError(place.path) }
  }

  // MARK: Closing

  func refuseUse() {
    isClosed.withLock { $0 = true }
    watchers.finish()
  }

  func closeReader() { reader.close() }

  func letGo() {
    mark.letGo()
    place.close()
  }
}
