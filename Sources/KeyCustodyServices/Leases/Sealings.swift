import KeyCustodyEnvelope
import Synchronization

/// Values being sealed and not yet stored, by the outer root key they are under.
///
/// A conversion waits for those under the keys it is to drop: nothing under them comes into a store afterwards.
final class Sealings: Sendable {
  private struct State {
    var counts: [RootKeyID: Int] = [:]
    var waiting: [(id: RootKeyID, continuation: CheckedContinuation<Void, Never>)] = []
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
      defer { state.waiting.removeAll { $0.id == id } }
      return state.waiting.filter { $0.id == id }.map(\.continuation)
    }
    for continuation in done { continuation.resume() }
  }

  /// Whether one is under way under that key.
  func isActive(_ id: RootKeyID) -> Bool { state.withLock { $0.counts[id] != nil } }

  /// Waits until none is under way under that key.
  func settle(_ id: RootKeyID) async {
    await withCheckedContinuation { continuation in
      let isSettled = state.withLock { state in
        if state.counts[id] == nil { return true }
        state.waiting.append((id, continuation))
        return false
      }
      if isSettled { continuation.resume() }
    }
  }
}
