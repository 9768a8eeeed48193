import KeyCustody
import Synchronization

/// The records that were read lately, as they are in the database: at most so many bytes of them.
///
/// Never is one answered that the database does not hold any more:
/// - all go when anybody, of whatever program, changes the database (``ChangeMark``);
/// - what a transaction of this process changes goes before its commit begins, and from then on until its outcome is
///   settled nothing is kept;
/// - what was read before a commit began, or while one was under way, is not kept after it.
final class RecentRecords: Sendable {
  /// When something was read: of what database, and after how many commits.
  struct Moment: Sendable {
    fileprivate let mark: SIMD8<UInt64>
    fileprivate let commits: UInt64
  }
  private struct State {
    var records: [RecordKey: PolicyRecord] = [:]
    var bytes = 0
    /// The database that the records are of.
    var mark: SIMD8<UInt64>?
    /// Grows with every commit that begins and every one that ends.
    var commits: UInt64 = 0
    var isCommitting = false

    mutating func forget(_ key: RecordKey) {
      if let old = records.removeValue(forKey: key) { bytes -= RecentRecords.size(of: old) }
    }
    mutating func forgetAll() { (records, bytes) = ([:], 0) }
  }
  private let state = Mutex(State())
  private let mark: @Sendable () -> SIMD8<UInt64>?
  private static let mostBytes = 4 << 20

  /// - Parameter mark: tells one state of the database from every other; `nil` where nothing can be told.
  init(mark: @escaping @Sendable () -> SIMD8<UInt64>?) { self.mark = mark }

  /// A record, if it is here.
  func find(_ key: RecordKey) -> PolicyRecord? {
    let mark = mark()
    return state.withLock { state in mark != nil && mark == state.mark ? state.records[key] : nil }
  }

  /// To be asked before the database is read, and handed to ``keep(_:readAt:)`` afterwards.
  var moment: Moment? {
    mark().flatMap { mark in state.withLock { $0.isCommitting ? nil : Moment(mark: mark, commits: $0.commits) } }
  }

  /// Keeps what was read.
  func keep(_ record: PolicyRecord, readAt moment: Moment?) {
    guard let moment, moment.mark == mark() else { return }
    state.withLock { state in
      guard !state.isCommitting, moment.commits == state.commits else { return }
      if state.mark != moment.mark {
        state.forgetAll()
        state.mark = moment.mark
      }
      let size = Self.size(of: record)
      // Rarely, and all at once: what is in use is soon here again.
      if state.bytes + size > Self.mostBytes { state.forgetAll() }
      state.forget(record.key)
      guard size <= Self.mostBytes / 16 else { return }
      state.records[record.key] = record
      state.bytes += size
    }
  }

  /// A commit of these changes is about to begin.
  func begin(_ changes: [StoreChange]) {
    state.withLock { state in
      state.commits += 1
      state.isCommitting = true
      for change in changes {
        switch change {
        case .put(let record): state.forget(record.key)
        case .deleted(let key, _): state.forget(key)
        case .resynchronize: state.forgetAll()
        }
      }
    }
  }

  /// The outcome of every commit is settled.
  func end() {
    state.withLock { state in
      state.commits += 1
      state.isCommitting = false
    }
  }

  private static func size(of record: PolicyRecord) -> Int {
    record.value.count + record.key.description.utf8.count * 2 + 128
  }
}
