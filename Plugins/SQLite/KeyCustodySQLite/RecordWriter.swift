import GRDB
import KeyCustody
import Synchronization

/// The one that changes a store: changes that wait at the same time share a transaction, and so one wait for the disk.
///
/// A transaction whose commit failed may come back after a crash, since its part of the write-ahead log may be on the
/// disk. Therefore nothing is read or changed before another transaction has taken its place there (``settle()``).
final class RecordWriter: Sendable {
  /// A change that waits for its turn.
  private struct Waiting {
    let key: RecordKey
    let expected: StoreRevision?
    let value: [UInt8]?
    let answer: CheckedContinuation<Result<StoreOutcome, KeyCustodyError>, Never>
  }
  private struct Queue {
    var waiting: [Waiting] = []
    var isScheduled = false
    var isClosed = false
  }
  /// What a transaction made: the state after it, the changes, and the answers.
  private struct Made {
    var state: StoreState
    var changes: [StoreChange] = []
    var answers: [Result<StoreOutcome, KeyCustodyError>] = []

    /// Whether a record could not be read.
    var foundDamage: Bool {
      answers.contains { answer in
        if case .failure(let error) = answer { error.code == .integrityFailure } else { false }
      }
    }
  }
  private struct Progress {
    var state: StoreState
    /// What a commit that failed would have made.
    var unsettled: Made?
  }

  private static let groupSize = 256
  private let connection: StoreConnection
  private let place: StorePlace
  private let watchers: ChangeWatchers
  private let recent: RecentRecords
  /// Why what is not found may not be said to be absent.
  private let obstacle: KeyCustodyError?
  private let thread: DedicatedThread
  private let queue = Mutex(Queue())
  private let progress: Mutex<Progress>

  init(
    _ connection: StoreConnection, _ place: StorePlace, _ state: StoreState, _ obstacle: KeyCustodyError?,
    _ watchers: ChangeWatchers, _ recent: RecentRecords
  ) throws(KeyCustodyError) {
    self.connection = connection
    self.place = place
    self.obstacle = obstacle
    self.watchers = watchers
    self.recent = recent
    thread = try DedicatedThread()
    progress = Mutex(Progress(state: state))
  }

  /// How far the store has come.
  var state: StoreState { progress.withLock { $0.state } }
  /// Whether the outcome of a change is unknown, so that nothing may be read.
  var isUnsettled: Bool { progress.withLock { $0.unsettled != nil } }

  /// Makes a change, in a transaction together with those that wait.
  func change(
    _ key: RecordKey, expecting expected: StoreRevision?, to value: [UInt8]?
  ) async throws(KeyCustodyError) -> StoreOutcome {
    let result = await withCheckedContinuation { answer in
      let change = Waiting(key: key, expected: expected, value: value, answer: answer)
      let isClosed = queue.withLock { queue in
        guard !queue.isClosed else { return true }
        queue.waiting.append(change)
        if !queue.isScheduled {
          queue.isScheduled = true
          thread.perform { self.work() }
        }
        return false
      }
      if isClosed { answer.resume(returning: .failure(closedError(place.path))) }
    }
    return try result.get()
  }

  /// Settles a change of unknown outcome, on the writer's thread.
  func settleLater() async throws(KeyCustodyError) {
    let result = await withCheckedContinuation { (answer: CheckedContinuation<Result<Void, KeyCustodyError>, Never>) in
      thread.perform {
        let isClosed = self.queue.withLock { $0.isClosed }
        answer.resume(
          returning: Result { () throws(KeyCustodyError) in
            guard !isClosed else { throw closedError(self.place.path) }
            try self.settle()
          })
      }
    }
    try result.get()
  }

  /// Answers what waits, then closes.
  func close() async {
    queue.withLock { $0.isClosed = true }
    await withCheckedContinuation { answer in
      thread.perform {
        self.connection.close()
        answer.resume()
      }
    }
  }

  // MARK: On the thread

  private func work() {
    while true {
      let group = queue.withLock { queue -> [Waiting] in
        let group = Array(queue.waiting.prefix(Self.groupSize))
        queue.waiting.removeFirst(group.count)
        if group.isEmpty { queue.isScheduled = false }
        return group
      }
      guard !group.isEmpty else { return }
      make(group)
    }
  }

  /// Makes the changes of a group in one transaction; each in its own where that fails, so that one does not take the
  /// others with it.
  private func make(_ group: [Waiting]) {
    do throws(KeyCustodyError) {
      try settle()
      try place.confirm()
      let known = state
      let made = try begin(group, over: known)
      try commit(made)
      for (change, answer) in zip(group, made.answers) { change.answer.resume(returning: answer) }
    } catch {
      guard group.count > 1, error.code != .timeout, !isUnsettled else {
        for change in group { change.answer.resume(returning: .failure(error)) }
        return
      }
      for change in group { make([change]) }
    }
  }

  /// Begins a transaction and makes the changes; where that finds damage, once more with what is read from the disk.
  private func begin(_ group: [Waiting], over known: StoreState) throws(KeyCustodyError) -> Made {
    do throws(KeyCustodyError) {
      let made = try connection.use { database in try self.write(group, database, over: known) }
      guard made.foundDamage else { return made }
      try connection.use { database in try database.rollback() }
    } catch {
      guard error.code == .integrityFailure else { throw error }
    }
    connection.forgetPages()
    return try connection.use { database in try self.write(group, database, over: known) }
  }

  /// Begins a transaction and makes the changes; rolls back where one can't be made.
  private func write(_ group: [Waiting], _ database: Database, over known: StoreState) throws -> Made {
    try database.beginTransaction(.immediate)
    do {
      var made = Made(state: known)
      for change in group { try write(change, StoreQueries(database: database, path: place.path), &made) }
      guard made.state != known else { return made }
      try StoreQueries(database: database, path: place.path).forget(&made.state)
      try made.state.save(to: database, over: known)
      return made
    } catch {
      try? database.rollback()
      throw error
    }
  }

  private func write(_ change: Waiting, _ queries: StoreQueries, _ made: inout Made) throws {
    let found: RecordRow?
    do { found = try queries.find(change.key) } catch let error as KeyCustodyError {
      return made.answers.append(.failure(error))
    }
    guard found?.record.revision == change.expected else {
      return made.answers.append(.success(.conflict(found?.record)))
    }
    if found == nil, let obstacle { return made.answers.append(.failure(obstacle)) }
    let revision = StoreRevision(made.state.revision.number + 1)
    if let value = change.value {
      let row = try RecordRow(PolicyRecord(key: change.key, revision: revision, value: value))
      if let found {
        try queries.update(row)
        made.state.toggle(found.digest)
      } else {
        try queries.insert(row)
      }
      made.state.toggle(row.digest)
      made.changes.append(.put(row.record))
    } else if let found {
      try queries.delete(change.key, at: revision)
      made.state.toggle(found.digest)
      made.state.deletions += 1
      made.changes.append(.deleted(change.key, revision))
    }
    made.state.revision = revision
    made.answers.append(.success(.stored(revision)))
  }

  /// Ends the transaction that is open, and tells what it made.
  ///
  /// - Throws: `timeout` (`not-confirmed`) where it is not known whether it lasts; else nothing happened.
  private func commit(_ made: Made) throws(KeyCustodyError) {
    recent.begin(made.changes)
    defer { if !isUnsettled { recent.end() } }
    do throws(KeyCustodyError) {
      try connection.use { database in
        do {
          if made.changes.isEmpty { try database.rollback() } else { try database.commit() }
        } catch {
          if database.isInsideTransaction { try? database.rollback() }
          throw error
        }
      }
    } catch {
      // A log that has no room for a transaction does not hold the end of it, which alone makes it count.
      guard !made.changes.isEmpty, error.reason != .noSpace else { throw error }
      progress.withLock { $0.unsettled = made }
      try? settle()
      if isUnsettled { throw .notConfirmed(place.path, error) }
      // Settled: it went through after all, or it did not and can't any more.
      guard state == made.state else { throw error }
      return
    }
    guard !made.changes.isEmpty else { return }
    take(made)
    do throws(KeyCustodyError) { try place.confirm() } catch { throw .notConfirmed(place.path, error) }
  }

  private func take(_ made: Made) {
    progress.withLock { progress in
      progress.state = made.state
      progress.unsettled = nil
    }
    watchers.tell(made.changes)
  }

  /// After a commit that failed: puts another transaction in its place, so that it can't come back.
  private func settle() throws(KeyCustodyError) {
    guard let (known, unsettled) = progress.withLock({ progress in progress.unsettled.map { (progress.state, $0) } })
    else { return }
    let found = try connection.use { database in try StoreState(database, at: self.place.path) }
    defer { if !isUnsettled { recent.end() } }
    // It went through after all.
    guard found != unsettled.state else { return take(unsettled) }
    // Its revisions were never told, but may stand in a log: they are not given out again.
    var next = known
    next.revision = unsettled.state.revision
    let settled = next
    try connection.use { database in
      try database.inTransaction(.immediate) {
        try settled.save(to: database, over: found)
        return .commit
      }
    }
    progress.withLock { progress in
      progress.state = settled
      progress.unsettled = nil
    }
  }
}

/// What is said of a store that was closed.
func closedError(_ path: String, _ what: String = "policy store") -> KeyCustodyError {
  KeyCustodyError(.unavailable, .closed, "The \(what) '\(path)' was closed.")
}
