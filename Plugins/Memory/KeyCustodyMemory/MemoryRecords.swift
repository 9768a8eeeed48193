import KeyCustody
import Synchronization

/// The records of one memory: they outlive the stores that were opened over them.
final class MemoryRecords: Sendable {
  private struct State {
    var table = RecordTable()
    var watchers: [Int: (owner: Int, stream: AsyncStream<StoreChange>.Continuation)] = [:]
    var nextWatcher = 0
    var nextOwner = 0
  }
  private let state = Mutex(State())
  let identity: ProviderIdentity

  init(random: any RandomSource) throws(KeyCustodyError) {
    identity = ProviderIdentity(kind: MemoryKeys.kind, instance: try random.bytes(16).hexadecimal)
  }

  /// A number for a store that is opened over these records.
  func open() -> Int {
    state.withLock { state in
      state.nextOwner += 1
      return state.nextOwner
    }
  }

  /// Reads from the table.
  func read<Result: Sendable>(_ body: @Sendable (inout RecordTable) -> Result) -> Result {
    state.withLock { body(&$0.table) }
  }

  /// Makes a change where the table still holds what is expected, and tells every watcher before the next one is made.
  func change(
    _ key: RecordKey, expecting revision: StoreRevision?, to value: [UInt8]?
  ) -> StoreOutcome {
    state.withLock { state in
      let next: StoreRevision
      switch state.table.plan(key, expecting: revision) {
      case .conflict(let found): return .conflict(found)
      case .proceed(let planned): next = planned
      }
      let change: StoreChange
      if let value {
        let record = PolicyRecord(key: key, revision: next, value: value)
        state.table.put(record)
        change = .put(record)
      } else {
        state.table.remove(key, at: next)
        change = .deleted(key, next)
      }
      for watcher in state.watchers.values { watcher.stream.yield(change) }
      return .stored(next)
    }
  }

  /// What happened since a revision and all that happens from now on, with nothing between them lost.
  func watch(since revision: StoreRevision, for owner: Int) -> AsyncStream<StoreChange> {
    // Unbounded: a change that is dropped is a revocation that is not seen. A reader should keep up.
    AsyncStream(bufferingPolicy: .unbounded) { stream in
      let id = state.withLock { state in
        for change in state.table.changes(since: revision) { stream.yield(change) }
        state.nextWatcher += 1
        state.watchers[state.nextWatcher] = (owner, stream)
        return state.nextWatcher
      }
      stream.onTermination = { [weak self] _ in
        self?.state.withLock { state in _ = state.watchers.removeValue(forKey: id) }
      }
    }
  }

  /// Ends the streams of one store.
  func endWatches(of owner: Int) {
    let ended = state.withLock { state in
      let ended = state.watchers.filter { $0.value.owner == owner }
      for id in ended.keys { state.watchers[id] = nil }
      return ended.values.map(\.stream)
    }
    // Outside the lock: ending a stream calls back.
    for stream in ended { stream.finish() }
  }
}
