import KeyCustody
import Synchronization

/// Lets one task at a time work under a name, so that no two in this process make objects of the same name.
final class NameGate: Sendable {
  private let waiting = Mutex<[KeyVersionID: [CheckedContinuation<Void, Never>]]>([:])

  /// Runs `work` when nobody else works under the name.
  func run<Result>(
    _ name: KeyVersionID, _ work: () async throws(KeyCustodyError) -> Result
  ) async throws(KeyCustodyError) -> Result {
    await withCheckedContinuation { continuation in
      let isFree = waiting.withLock { waiting in
        if waiting[name] == nil {
          waiting[name] = []
          return true
        }
        waiting[name]?.append(continuation)
        return false
      }
      if isFree { continuation.resume() }
    }
    defer { leave(name) }
    return try await work()
  }

  private func leave(_ name: KeyVersionID) {
    let next = waiting.withLock { waiting -> CheckedContinuation<Void, Never>? in
      guard let first = waiting[name]?.first else {
        waiting[name] = nil
        return nil
      }
      waiting[name]?.removeFirst()
      return first
    }
    next?.resume()
  }
}
