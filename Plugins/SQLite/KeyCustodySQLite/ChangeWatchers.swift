import KeyCustody
import Synchronization

/// Who watches a store, and the changes each is to be told.
final class ChangeWatchers: Sendable {
  private struct Watcher {
    let stream: AsyncStream<StoreChange>.Continuation
    /// What came since it was added, while what was there before is still being read; `nil` afterwards.
    var held: [StoreChange]?
    /// What it was told already.
    var told = StoreRevision.zero
  }
  private struct State {
    var watchers: [Int: Watcher] = [:]
    var next = 0
    var isFinished = false
  }
  private let state = Mutex(State())

  /// Adds a watcher, who is told nothing before ``begin(_:with:upTo:)``.
  func add() -> (id: Int, stream: AsyncStream<StoreChange>) {
    // Unbounded: a change that is dropped is a revocation that is not seen. A reader should keep up.
    let (stream, continuation) = AsyncStream.makeStream(of: StoreChange.self, bufferingPolicy: .unbounded)
    let id = state.withLock { state -> Int in
      state.next += 1
      if !state.isFinished { state.watchers[state.next] = Watcher(stream: continuation, held: []) }
      return state.isFinished ? 0 : state.next
    }
    if id == 0 { continuation.finish() }
    continuation.onTermination = { [weak self] _ in self?.remove(id) }
    return (id, stream)
  }

  /// Tells a watcher what was there before, up to a revision, and then what came after it.
  func begin(_ id: Int, with changes: [StoreChange], upTo revision: StoreRevision) {
    state.withLock { state in
      guard let watcher = state.watchers[id] else { return }
      for change in changes { watcher.stream.yield(change) }
      for change in watcher.held ?? [] where change.revision > revision { watcher.stream.yield(change) }
      state.watchers[id]?.held = nil
      state.watchers[id]?.told = revision
    }
  }

  /// Tells everybody.
  func tell(_ changes: [StoreChange]) {
    state.withLock { state in
      for (id, watcher) in state.watchers {
        if watcher.held != nil {
          state.watchers[id]?.held?.append(contentsOf: changes)
        } else {
          for change in changes where change.revision > watcher.told { watcher.stream.yield(change) }
        }
      }
    }
  }

  func remove(_ id: Int) { state.withLock { state in _ = state.watchers.removeValue(forKey: id) } }

  /// Ends every stream, also those that are added later.
  func finish() {
    let watchers = state.withLock { state in
      state.isFinished = true
      defer { state.watchers = [:] }
      return Array(state.watchers.values)
    }
    // Outside the lock: ending a stream calls back.
    for watcher in watchers { watcher.stream.finish() }
  }
}

extension StoreChange {
  fileprivate var revision: StoreRevision {
    switch self {
    case .put(let record): record.revision
    case .deleted(_, let revision), .resynchronize(let revision): revision
    }
  }
}
