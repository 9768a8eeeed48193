import CKeyCustodyPKCS11
import KeyCustody

/// Calls a token through one session, in the hands of one thread at a time: opens the session when it is needed, has the
/// token mended when a call fails for the token's fault, and repeats the work then.
struct SessionCaller {
  private let token: PKCS11Token
  private var session: CryptokiSession?
  /// Work is begun at most so often.
  static let attempts = 6

  init(_ token: PKCS11Token) { self.token = token }

  /// Runs work that may be run again after any of its calls failed.
  ///
  /// Blocks. `isWanted` is asked before each further attempt.
  ///
  /// - Throws: `.code(CKR_SESSION_COUNT)` untranslated when the token has no session left to give.
  mutating func run<Result: ~Copyable & Sendable>(
    isWanted: () -> Bool, _ work: (CryptokiSession) throws(PKCS11Failure) -> Result
  ) throws(PKCS11Failure) -> Result {
    var failures = 0
    // Nobody waits any more for work that was handed on.
    guard isWanted() else { throw .custody(LendingClosed.error) }
    while true {
      let standing = try onHost { () throws(KeyCustodyError) in try token.usableStanding() }
      do throws(PKCS11Failure) {
        let module = token.module
        return try module.inside { () throws(PKCS11Failure) in
          let session = try current(standing)
          defer { if session.spoiled.isSet { closeInside() } }
          return try work(session)
        }
      } catch {
        let mayMakeRoom = error.code == CKR_SESSION_COUNT && token.module.sessions.hasLost && !token.module.isAdopted
        let failure = mayMakeRoom ? PKCS11Failure.lostSessions : error
        guard failure.cure != .none else { throw error }
        failures += 1
        // In a module that others use too, a number that is free may be theirs.
        if error.meansSessionIsClosed, token.module.isAdopted { session = nil }
        // Objects of a session that failed may be left in it.
        close(isGone: error.meansSessionIsClosed || error.meansTokenIsGone)
        do throws(KeyCustodyError) { try token.repair(since: standing, after: failure) } catch let cause {
          // Where no room is made, others do the work with the sessions they have.
          throw mayMakeRoom ? error : .custody(cause)
        }
        guard failures < Self.attempts, isWanted() else { throw error }
      }
    }
  }

  /// The session, opened anew when the token is reached otherwise than before.
  private mutating func current(_ standing: PKCS11Token.Standing) throws(PKCS11Failure) -> CryptokiSession {
    guard token.module.epoch == standing.epoch else { throw .code(CKR_CRYPTOKI_NOT_INITIALIZED, "epoch") }
    if let session, session.standing == standing, session.isOurs { return session }
    closeInside()
    let new = try CryptokiSession(token, standing)
    session = new
    return new
  }

  /// Closes the session.
  ///
  /// Blocks.
  mutating func close(isGone: Bool = true) {
    guard session != nil else { return }
    let module = token.module
    module.inside { closeInside(isGone: isGone) }
  }

  /// A session of an earlier start of the module is closed already, and its number may be another's.
  private mutating func closeInside(isGone: Bool = true) {
    if let session, session.standing.epoch == token.module.epoch { session.close(isGone: isGone) }
    session = nil
  }
}
