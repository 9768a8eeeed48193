import GRDB
import KeyCustody
import Synchronization

/// The one that changes a table of sealed records: changes that wait at the same time share a transaction, and so one wait
/// for the disk.
///
/// As with ``RecordWriter``, a transaction whose commit failed may come back after a crash, until another one has taken its
/// place in the write-ahead log: nothing is read or changed before (``settle()``).
final class SealedWriter: Sendable {
  /// What is to be done.
  enum Change: Sendable {
    /// Writes a row, in place of an earlier one.
    case put(SealedRow, sealed: [UInt8])
    /// Writes other sealed bytes beside the label of a row, if it is at that revision.
    case replace(name: [UInt8], expecting: UInt64, with: UInt64, sealed: [UInt8])
    case remove(name: [UInt8])
    /// Removes some rows.
    case removeSome(limit: Int)

    fileprivate var size: Int {
      switch self {
      case .put(_, let sealed), .replace(_, _, _, let sealed): sealed.count
      case .remove, .removeSome: 0
      }
    }
  }
  /// A change that waits for its turn; the answer is how many rows it changed.
  private struct Waiting {
    let change: Change
    let resource: ResourceID
    let answer: CheckedContinuation<Result<Int, KeyCustodyError>, Never>
  }
  private struct Queue {
    var waiting: [Waiting] = []
    var isScheduled = false
    var isClosed = false
  }
  private struct Progress {
    /// How many transactions changed the table.
    var changes: Int64
    /// Whether it is unknown what became of the last one.
    var isUnsettled = false
  }

  private static let groupSize = 256
  private static let groupBytes = 4 << 20
  private let connection: StoreConnection
  private let place: StorePlace
  private let thread: DedicatedThread
  private let queue = Mutex(Queue())
  private let progress: Mutex<Progress>

  init(_ connection: StoreConnection, _ place: StorePlace, changes: Int64) throws(KeyCustodyError) {
    self.connection = connection
    self.place = place
    thread = try DedicatedThread()
    progress = Mutex(Progress(changes: changes))
  }

  /// Whether the outcome of a change is unknown, so that nothing may be read.
  var isUnsettled: Bool { progress.withLock { $0.isUnsettled } }

  /// Makes a change, in a transaction together with those that wait.
  ///
  /// - Returns: how many rows were changed.
  func change(_ change: Change, of resource: ResourceID) async throws(KeyCustodyError) -> Int {
    let result = await withCheckedContinuation { answer in
      let change = Waiting(change: change, resource: resource, answer: answer)
      let isClosed = queue.withLock { queue in
        guard !queue.isClosed else { return true }
        queue.waiting.append(change)
        if !queue.isScheduled {
          queue.isScheduled = true
          thread.perform { self.work() }
        }
        return false
      }
      if isClosed { answer.resume(returning: .failure(closed)) }
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
            guard !isClosed else { throw self.closed }
            _ = try self.settle()
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

  private var closed: KeyCustodyError { closedError(place.path, "table of sealed records") }

  // MARK: On the thread

  private func work() {
    while true {
      let group = queue.withLock { queue -> [Waiting] in
        let group = Self.take(from: &queue.waiting)
        if group.isEmpty { queue.isScheduled = false }
        return group
      }
      guard !group.isEmpty else { return }
      make(group)
    }
  }

  private static func take(from waiting: inout [Waiting]) -> [Waiting] {
    var size = 0
    let count = waiting.prefix(groupSize).prefix { waiting in
      defer { size += waiting.change.size }
      return size < groupBytes
    }.count
    defer { waiting.removeFirst(count) }
    return Array(waiting.prefix(count))
  }

  /// Makes the changes of a group in one transaction; each in its own where that fails, so that one does not take the
  /// others with it.
  private func make(_ group: [Waiting]) {
    do throws(KeyCustodyError) {
      _ = try settle()
      try place.confirm()
      let answers = try begin(group)
      try commit(hasChanges: answers.contains { (try? $0.get()) ?? 0 > 0 })
      for (waiting, answer) in zip(group, answers) { waiting.answer.resume(returning: answer) }
    } catch {
      guard group.count > 1, error.code != .timeout, !isUnsettled else {
        for waiting in group { waiting.answer.resume(returning: .failure(error)) }
        return
      }
      for waiting in group { make([waiting]) }
    }
  }

  /// Begins a transaction and makes the changes; where that finds damage, once more with what is read from the disk.
  private func begin(_ group: [Waiting]) throws(KeyCustodyError) -> [Result<Int, KeyCustodyError>] {
    do throws(KeyCustodyError) {
      let answers = try write(group)
      let foundDamage = answers.contains { answer in
        if case .failure(let error) = answer { error.code == .integrityFailure } else { false }
      }
      guard foundDamage else { return answers }
      try connection.use { database in try database.rollback() }
    } catch {
      guard error.code == .integrityFailure else { throw error }
    }
    connection.forgetPages()
    return try write(group)
  }

  private func write(_ group: [Waiting]) throws(KeyCustodyError) -> [Result<Int, KeyCustodyError>] {
    let changes = progress.withLock { $0.changes }
    return try connection.use { database in
      try database.beginTransaction(.immediate)
      do {
        let queries = SealedQueries(database: database, path: place.path)
        let answers = try group.map { waiting -> Result<Int, KeyCustodyError> in
          do { return .success(try Self.make(waiting.change, waiting.resource, queries)) } catch let error
            as KeyCustodyError
          {
            return .failure(error)
          }
        }
        try queries.note(changes: changes + 1)
        return answers
      } catch {
        try? database.rollback()
        throw error
      }
    }
  }

  private static func make(_ change: Change, _ resource: ResourceID, _ queries: SealedQueries) throws -> Int {
    switch change {
    case .put(let row, let sealed):
      try queries.put(row, sealed, resource)
      return 1
    case .replace(let name, let expected, let revision, let sealed):
      guard let found = try queries.find(name, resource), found.revision == expected else { return 0 }
      let row = SealedRow(name: found.name, revision: revision, label: found.label, sealed: sealed)
      try queries.put(row, sealed, resource)
      return 1
    case .remove(let name): return try queries.remove(name, resource)
    case .removeSome(let limit): return try queries.removeSome(resource, limit: limit)
    }
  }

  /// Ends the transaction that is open.
  ///
  /// - Throws: `timeout` (`not-confirmed`) where it is not known whether it lasts; else nothing happened.
  private func commit(hasChanges: Bool) throws(KeyCustodyError) {
    do throws(KeyCustodyError) {
      try connection.use { database in
        do {
          if hasChanges { try database.commit() } else { try database.rollback() }
        } catch {
          if database.isInsideTransaction { try? database.rollback() }
          throw error
        }
      }
    } catch {
      // A log that has no room for a transaction does not hold the end of it, which alone makes it count.
      guard hasChanges, error.reason != .noSpace else { throw error }
      progress.withLock { $0.isUnsettled = true }
      let wentThrough = try? settle()
      if isUnsettled { throw .notConfirmed(place.path, error) }
      guard wentThrough == true else { throw error }
      return
    }
    guard hasChanges else { return }
    progress.withLock { $0.changes += 1 }
    do throws(KeyCustodyError) { try place.confirm() } catch { throw .notConfirmed(place.path, error) }
  }

  /// After a commit that failed: puts another transaction in its place, so that it can't come back.
  ///
  /// - Returns: whether that commit went through after all.
  private func settle() throws(KeyCustodyError) -> Bool {
    guard let known = progress.withLock({ $0.isUnsettled ? $0.changes : nil }) else { return false }
    let path = place.path
    let found = try connection.use { database in try SealedQueries(database: database, path: path).changes() }
    // Not what the commit would have noted, so that the two can't be taken for each other.
    let next = max(found, known) + 2
    try connection.use { database in
      try database.inTransaction(.immediate) {
        try SealedQueries(database: database, path: path).note(changes: next)
        return .commit
      }
    }
    progress.withLock { $0 = Progress(changes: next) }
    return found > known
  }
}
