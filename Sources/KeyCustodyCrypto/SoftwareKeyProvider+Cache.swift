import KeyCustody
import Synchronization

/// The keys that are loaded, at most so many; the one used longest ago makes room.
final class SoftwareKeyCache: Sendable {
  /// What was found.
  enum Finding {
    /// The key, as it is stored now.
    case loaded(SoftwareKeyRecord)
    /// It must be loaded; hand the number back with it.
    case absent(turn: Int)
  }

  private struct Entry {
    let record: SoftwareKeyRecord
    let stamp: SoftwareKeyStamp
    var lastUse: Int
  }
  private struct State {
    var entries: [KeyVersionID: Entry] = [:]
    var uses = 0
    /// Counts what was forgotten, so that a key that is being loaded meanwhile is not added after its end.
    var turn = 0
    var isClosed = false
  }
  private let state = Mutex(State())
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  func find(_ version: KeyVersionID, _ stamp: SoftwareKeyStamp) -> Finding {
    state.withLock { state in
      guard let entry = state.entries[version], entry.stamp == stamp else {
        state.entries[version] = nil
        return .absent(turn: state.turn)
      }
      state.uses += 1
      state.entries[version]?.lastUse = state.uses
      return .loaded(entry.record)
    }
  }

  func add(_ record: SoftwareKeyRecord, _ stamp: SoftwareKeyStamp, at turn: Int) {
    state.withLock { state in
      guard state.turn == turn, !state.isClosed else { return }
      state.uses += 1
      state.entries[record.description.version] = Entry(record: record, stamp: stamp, lastUse: state.uses)
      if state.entries.count > limit, let oldest = state.entries.min(by: { $0.value.lastUse < $1.value.lastUse }) {
        state.entries[oldest.key] = nil
      }
    }
  }

  /// Lets go of a key; whether it was there.
  @discardableResult
  func forget(_ version: KeyVersionID) -> Bool {
    state.withLock { state in
      state.turn += 1
      return state.entries.removeValue(forKey: version) != nil
    }
  }

  /// Lets go of every key for good; `false` when that was done before.
  func close() -> Bool {
    state.withLock { state in
      defer { state.isClosed = true }
      state.entries = [:]
      return !state.isClosed
    }
  }

  func checkOpen(_ identity: ProviderIdentity) throws(KeyCustodyError) {
    guard !state.withLock({ $0.isClosed }) else {
      throw KeyCustodyError(.unavailable, .closed, "The key provider \(identity) was closed.")
    }
  }
}
