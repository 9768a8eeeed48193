import CKeyCustodyPKCS11
import KeyCustody
import Synchronization

/// A private object of ours on every token that we use: while it is seen, what is not found is really absent.
///
/// A token whose storage is gone, and a session that was logged out, answer searches with "no objects" and CKR_OK.
enum Sentinel: Sendable {
  /// Not looked for yet.
  case unknown
  /// It is there.
  case planted
  /// The token takes no objects (it is write-protected); its own word has to do.
  case refused

  /// CKA_APPLICATION and CKA_LABEL.
  static let application = "key-custody/v1/sentinel"

  static let template = Template([
    (CKA_CLASS, .number(CKO_DATA)), (CKA_TOKEN, .flag(true)), (CKA_PRIVATE, .flag(true)),
    (CKA_MODIFIABLE, .flag(false)), (CKA_APPLICATION, .bytes(Array(application.utf8))),
    (CKA_LABEL, .bytes(Array(application.utf8))),
    (CKA_VALUE, .bytes(Array("While this object is here, the token has its objects.".utf8))),
  ])

  /// What callers are told where it is not seen.
  static let missing = KeyCustodyError(
    .unavailable, .init("sentinel-missing"), "The token answers, but shows none of the objects it should have.",
    remedy: "Wait, or restore it; if it was emptied or exchanged on purpose, open the backend again.",
    retryAfter: .milliseconds(100), diagnostic: "C_FindObjects (sentinel)")

  static let search = Template([
    (CKA_CLASS, .number(CKO_DATA)), (CKA_TOKEN, .flag(true)), (CKA_APPLICATION, .bytes(Array(application.utf8))),
  ])
}

extension PKCS11Token {
  /// Makes sure that the sentinel is there; at opening only, when an operator says that this is the token.
  func plantSentinel(_ login: Login) throws(PKCS11Failure) {
    guard let keeper = login.keeper else { return }
    let session = keeper.under(standing)
    var failures = 0
    while true {
      do throws(PKCS11Failure) {
        if try session.find(Sentinel.search, limit: 1).isEmpty { _ = try session.create(Sentinel.template) }
        state.withLock { $0.sentinel = .planted }
        return
      } catch {
        failures += 1
        if error.cure == .none || failures > 3 && error.meansDeviceFailed {
          state.withLock { $0.sentinel = .refused }
          return
        }
        guard failures <= 3, error.meansDeviceFailed else { throw error }
      }
    }
  }

  /// Checks that the keeper is logged in, that the token is the one we know, and that it has its objects.
  func canary(_ login: Login) throws(PKCS11Failure) {
    guard let keeper = login.keeper, login.epoch == module.epoch else {
      throw .code(CKR_SESSION_HANDLE_INVALID, "C_OpenSession")
    }
    try keeper.under(standing).confirmPresence()
  }
}

extension CryptokiSession {
  /// Checks that what is not found is really absent: the session is logged in, the token answers and has its objects.
  func confirmPresence() throws(PKCS11Failure) {
    try confirmLogin()
    try confirmSentinel(token.state.withLock { $0.sentinel })
  }

  /// Runs searches whose "nothing" is to be believed: presence is confirmed before and after, under one and the same
  /// login, so that no logout between hides what is there.
  func surely<Result>(_ search: () throws(PKCS11Failure) -> Result) throws(PKCS11Failure) -> Result {
    try confirmPresence()
    let result = try search()
    try confirmPresence()
    guard token.standing == standing else { throw .code(CKR_USER_NOT_LOGGED_IN, "C_Login (by another session)") }
    return result
  }

  /// Checks the login, and that the token in the slot is the one we know.
  func confirmLogin() throws(PKCS11Failure) {
    guard try cryptoki.isLoggedIn(handle) else { throw .code(CKR_USER_NOT_LOGGED_IN, "C_GetSessionInfo") }
    let info = try cryptoki.tokenInfo(standing.slot)
    guard info.instance == token.info.instance else { throw .code(CKR_TOKEN_NOT_PRESENT, "C_GetTokenInfo") }
  }

  /// Checks that the sentinel is seen.
  func confirmSentinel(_ sentinel: Sentinel) throws(PKCS11Failure) {
    guard case .planted = sentinel else { return }
    guard try !find(Sentinel.search, limit: 1).isEmpty else { throw .noSentinel }
  }
}
