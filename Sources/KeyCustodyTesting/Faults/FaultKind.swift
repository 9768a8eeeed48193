/// What can go wrong beneath a backend: in the token, the disk, the database or the network it stands on.
///
/// "The call" is the one that ``FaultInjector/inject(_:call:)`` names. "Until healed" ends with
/// ``FaultInjector/heal()``.
public enum FaultKind: String, Sendable, Hashable, CaseIterable {
  /// The call fails and nothing was done. The next one works.
  ///
  /// A disk's I/O error, `CKR_DEVICE_ERROR` of one function.
  case refused
  /// The call is done, and then reported as failed. The next one works.
  ///
  /// A connection that breaks after the request, `CKR_DEVICE_ERROR` after the key was made.
  case answerLost
  /// The call and every later one fail and do nothing, until healed.
  ///
  /// A token that was pulled out, a server that is down.
  case outage
  /// From the call on, until healed, what lies beneath looks empty: calls work, and find nothing.
  ///
  /// A token directory that vanished, a folder that was unmounted. What is written meanwhile is refused or lost.
  case absent
  /// Before the call every connection, session or open file is cut, once: what was opened before is not taken any more.
  ///
  /// `CKR_SESSION_HANDLE_INVALID`, a server that restarted. Opening anew works.
  case sessionsLost
  /// Before the call whoever is logged in is logged out, once: what needs a login is refused or not seen until there is
  /// a new one.
  ///
  /// `C_Logout` by somebody else.
  case loggedOut
  /// As ``loggedOut``, and until healed every new login is refused as a wrong PIN or password.
  ///
  /// The attempts are counted in ``FaultInjector/credentialAttempts()``.
  case credentialRefused
  /// From the call on, until healed, there is no room: what would add or grow something fails and does nothing; reading
  /// and removing work.
  case full
  /// The call works, and one bit of what it answers is flipped, where it answers with content; what is stored stays
  /// right.
  case corrupted
  /// From the call on, no call returns until healed; those that were held then go on and are done.
  case hung
  /// The call and every later one do nothing, as when the process was killed just before it; what the backend held
  /// (locks, sessions) is let go.
  ///
  /// The backend is dropped without closing, ``FaultInjector/heal()`` is called, and the backend is opened again.
  case crash

  /// What a behaviour's name says about it.
  var phrase: String {
    switch self {
    case .refused: "a refused call"
    case .answerLost: "a lost answer"
    case .outage: "an outage"
    case .absent: "a backend that looks empty"
    case .sessionsLost: "cut sessions"
    case .loggedOut: "a lost login"
    case .credentialRefused: "a refused credential"
    case .full: "a full backend"
    case .corrupted: "a flipped bit"
    case .hung: "a hang"
    case .crash: "a crash"
    }
  }
}
