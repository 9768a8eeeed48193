import CKeyCustodyPKCS11
import Synchronization

/// Which of our sessions each number of a module is.
///
/// Modules give the number of a session that ended to the next one. Whoever still holds it must neither use nor close
/// what is another's now.
final class SessionRegister: Sendable {
  private struct State {
    var next: UInt64 = 0
    var owners: [CK_SESSION_HANDLE: UInt64] = [:]
    var slots: Set<CK_SLOT_ID> = []
    var hasLost = false
  }
  private let state = Mutex(State())

  /// The slots where a session was asked for since the module was started: there, and only there, some may be open.
  var slots: Set<CK_SLOT_ID> { state.withLock { $0.slots } }

  /// Notes that a session is going to be asked for: it may be open although no answer says so.
  func opening(on slot: CK_SLOT_ID) { state.withLock { _ = $0.slots.insert(slot) } }

  /// Notes a session that was opened just now.
  func opened(_ handle: CK_SESSION_HANDLE) -> UInt64 {
    state.withLock { state in
      state.next += 1
      state.owners[handle] = state.next
      return state.next
    }
  }

  /// Whether a number still is that session's.
  func holds(_ handle: CK_SESSION_HANDLE, _ serial: UInt64) -> Bool { state.withLock { $0.owners[handle] == serial } }

  /// Notes that a session was closed; `false` when the number is another's by now.
  func close(_ handle: CK_SESSION_HANDLE, _ serial: UInt64) -> Bool {
    state.withLock { state in
      guard state.owners[handle] == serial else { return false }
      state.owners[handle] = nil
      return true
    }
  }

  /// Whether a session may be open that nobody holds.
  var hasLost: Bool { state.withLock { $0.hasLost } }

  /// Notes that a session may have stayed open that was to be closed, or is open that was never given out.
  func lose() { state.withLock { $0.hasLost = true } }

  /// Notes that the module was started anew: all sessions are gone.
  func clear() {
    state.withLock { state in
      state.owners = [:]
      state.slots = []
      state.hasLost = false
    }
  }
}
