import CKeyCustodyPKCS11
import KeyCustody
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// One thread of the process at a time starts a module, lists slots, or has a token written anew, whatever the module.
///
/// SoftHSM 2.6.1 ends the process (SlotManager.cpp, insertToken, an assertion) where two threads list slots at once, and
/// where a copy of the library starts while another writes a token: in making it, setting its PIN, and at each login. Its
/// file locks don't hold between copies in one process, and one library may stand behind several modules, as behind one
/// that forwards.
///
/// Whoever hangs loses the turn after a while: a module that does not answer keeps only its own callers waiting.
final class SlotTurn: Sendable {
  static let shared = SlotTurn()

  private struct State {
    /// Who has the turn; 0 for nobody.
    var holder: UInt64 = 0
    var since = ContinuousClock.now
    var last: UInt64 = 0
  }
  private let state = Mutex(State())
  /// Far longer than any such call takes that comes back.
  private static let patience: Duration = .seconds(5)

  func take<Result: Sendable>(_ work: () throws(PKCS11Failure) -> Result) throws(PKCS11Failure) -> Result {
    let holder = wait()
    defer { state.withLock { if $0.holder == holder { $0.holder = 0 } } }
    return try work()
  }

  private func wait() -> UInt64 {
    var pause: useconds_t = 100
    while true {
      let mine = state.withLock { state -> UInt64? in
        let now = ContinuousClock.now
        guard state.holder == 0 || now - state.since > Self.patience else { return nil }
        state.last += 1
        (state.holder, state.since) = (state.last, now)
        return state.last
      }
      if let mine { return mine }
      // A sleep, since who hangs wakes nobody, so that waiting for a signal would need a clock too; ever longer, since
      // these calls are rare and short. It holds up a thread that is there to block in the module.
      usleep(pause)
      pause = min(pause * 2, 10_000)
    }
  }
}
