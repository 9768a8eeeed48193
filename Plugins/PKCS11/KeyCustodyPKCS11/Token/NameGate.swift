import KeyCustody
import Synchronization

/// Lets one piece of work at a time go on under a name, so that no two in this process make objects of the same name.
final class NameGate: Sendable {
  private typealias Waiter = (id: Int, continuation: CheckedContinuation<Bool, Never>)
  private struct State {
    var waiting: [KeyVersionID: [Waiter]] = [:]
    var nextID = 0
  }
  private let state = Mutex(State())

  /// The right to work under a name: it ends with the last who holds it, be that the caller or a call that hangs.
  final class Ticket: Sendable {
    private let gate: NameGate
    private let name: KeyVersionID

    fileprivate init(_ gate: NameGate, _ name: KeyVersionID) {
      self.gate = gate
      self.name = name
    }

    deinit { gate.leave(name) }
  }

  /// Waits until nobody else works under the name.
  ///
  /// - Throws: `timeout` at the deadline, or when the task is cancelled; nothing was done then.
  func enter(_ name: KeyVersionID, deadline: Duration, _ time: any TimeSource) async throws(KeyCustodyError) -> Ticket {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    let alarm = Task {
      guard (try? await time.wait(until: deadline)) != nil else { return }
      stopWaiting(name, id)
    }
    defer { alarm.cancel() }
    let isIn = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isFree = state.withLock { state in
          guard state.waiting[name] != nil else {
            state.waiting[name] = []
            return true
          }
          state.waiting[name]?.append((id, continuation))
          return false
        }
        if isFree { continuation.resume(returning: true) }
        if !isFree, Task.isCancelled || time.running() >= deadline { stopWaiting(name, id) }
      }
    } onCancel: {
      stopWaiting(name, id)
    }
    guard isIn else { throw Self.late }
    return Ticket(self, name)
  }

  private func stopWaiting(_ name: KeyVersionID, _ id: Int) {
    let waiter = state.withLock { state -> Waiter? in
      guard let index = state.waiting[name]?.firstIndex(where: { $0.id == id }) else { return nil }
      return state.waiting[name]?.remove(at: index)
    }
    waiter?.continuation.resume(returning: false)
  }

  private func leave(_ name: KeyVersionID) {
    let next = state.withLock { state -> Waiter? in
      guard state.waiting[name]?.isEmpty == false else {
        state.waiting[name] = nil
        return nil
      }
      return state.waiting[name]?.removeFirst()
    }
    next?.continuation.resume(returning: true)
  }

  private static let late = KeyCustodyError(
    .timeout, .deadline, "Another call works under the name of that key version still. Nothing was done.",
    remedy: "Look the key version up before trying again.")
}
