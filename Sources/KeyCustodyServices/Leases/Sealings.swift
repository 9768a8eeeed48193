import KeyCustody
import KeyCustodyEnvelope
import Synchronization

/// Values being sealed and not yet stored, by the outer root key they are under.
///
/// A conversion waits for those under the keys it is to drop: nothing under them comes into a store afterwards.
final class Sealings: Sendable {
  private struct State {
    var counts: [RootKeyID: Int] = [:]
    var waiting: [UInt64: (id: RootKeyID, continuation: CheckedContinuation<Void, Never>)] = [:]
    var next: UInt64 = 0
  }
  private let state = Mutex(State())

  /// Begins one; look after this whether the key is still the one for new data.
  func begin(_ id: RootKeyID) { state.withLock { $0.counts[id, default: 0] += 1 } }

  /// Ends one.
  func end(_ id: RootKeyID) {
    let done = state.withLock { state -> [CheckedContinuation<Void, Never>] in
      let left = (state.counts[id] ?? 1) - 1
      state.counts[id] = left > 0 ? left : nil
      guard left <= 0 else { return [] }
      let done = state.waiting.filter { $0.value.id == id }
      for number in done.keys { state.waiting[number] = nil }
      return done.values.map(\.continuation)
    }
    for continuation in done { continuation.resume() }
  }

  /// Whether one is under way under that key.
  func isActive(_ id: RootKeyID) -> Bool { state.withLock { $0.counts[id] != nil } }

  /// Waits until none is under way under that key.
  ///
  /// - Throws: `unavailable` (`job-ended`) when the task is cancelled before.
  func settle(_ id: RootKeyID) async throws(KeyCustodyError) {
    let number = state.withLock { state in
      state.next += 1
      return state.next
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isOver = state.withLock { state in
          if state.counts[id] == nil || Task.isCancelled { return true }
          state.waiting[number] = (id, continuation)
          return false
        }
        if isOver { continuation.resume() }
      }
    } onCancel: {
      state.withLock { $0.waiting.removeValue(forKey: number) }?.continuation.resume()
    }
    if isActive(id), Task.isCancelled { throw KeyCustodyError.jobEnded }
  }
}
