import CKeyCustodyPKCS11
import KeyCustody
import Synchronization

/// A token that this process uses, and its one login.
///
/// PKCS#11 logs a *process* in to a token, not a session; closing the last session logs it out. So all users of a token
/// in this process (key providers, policy stores) share this object, which keeps one session open for the login.
final class PKCS11Token: Sendable {
  /// The module that reaches it.
  let module: PKCS11Module
  /// What it said of itself when it was first used.
  let info: PKCS11TokenInfo
  /// What is being made on it now, by the name of the key version.
  let making = NameGate()
  /// What its keys were found to be.
  let fingerprints = KnownFingerprints()

  private struct State {
    var users = 0
    var slot: CK_SLOT_ID = 0
    var keeper: CK_SESSION_HANDLE?
    var verifier: PINVerifier?
    var loginAttempts = 0
    var hasStore = false
  }
  private let state = Mutex(State())

  private init(module: PKCS11Module, info: PKCS11TokenInfo) {
    self.module = module
    self.info = info
  }

  private static let table = Mutex<[String: PKCS11Token]>([:])

  /// The object for a token.
  ///
  /// There is never a second one for the same token and module.
  static func shared(_ info: PKCS11TokenInfo, of module: PKCS11Module) -> PKCS11Token {
    table.withLock { table in
      let key = "\(module.path)\u{0}\(info.instance)"
      if let token = table[key] { return token }
      let token = PKCS11Token(module: module, info: info)
      table[key] = token
      return token
    }
  }

  /// The slot it was last found in.
  var slot: CK_SLOT_ID { state.withLock { $0.slot } }
  /// How often C_Login was called for it in this process.
  var loginAttempts: Int { state.withLock { $0.loginAttempts } }

  /// Adds a user: logs in, or checks the PIN against the login that stands.
  ///
  /// One attempt, never a second. Blocks.
  func addUser(slot: CK_SLOT_ID, info: PKCS11TokenInfo, pin: borrowing SecretBytes) throws(KeyCustodyError) {
    try state.withLock { (state) throws(KeyCustodyError) in
      state.slot = slot
      if let keeper = state.keeper {
        if let verifier = state.verifier, (try? module.cryptoki.isLoggedIn(keeper)) == true {
          guard try verifier.matches(pin) else { throw Self.otherPIN() }
          state.users += 1
          return
        }
        try? module.cryptoki.closeSession(keeper)
        state.keeper = nil
      }
      guard !info.isUserPINLocked else { throw PKCS11Failure.code(CKR_PIN_LOCKED, "C_GetTokenInfo").translated }
      do throws(PKCS11Failure) { state.keeper = try module.cryptoki.openSession(slot) } catch { throw error.translated }
      do throws(KeyCustodyError) { try logIn(&state, pin) } catch {
        if let keeper = state.keeper { try? module.cryptoki.closeSession(keeper) }
        state.keeper = nil
        throw error
      }
      state.users += 1
    }
  }

  private func logIn(_ state: inout State, _ pin: borrowing SecretBytes) throws(KeyCustodyError) {
    guard let keeper = state.keeper else { return }
    state.loginAttempts += 1
    do throws(PKCS11Failure) { try module.cryptoki.login(keeper, as: CKU_USER, pin: pin) } catch {
      guard error.code == CKR_USER_ALREADY_LOGGED_IN else { throw error.translated }
      // The login of an earlier user of ours can stand on where somebody else has sessions on the token.
      guard let verifier = state.verifier else { throw Self.strangersLogin() }
      guard try verifier.matches(pin) else { throw Self.otherPIN() }
      return
    }
    state.verifier = try PINVerifier(accepted: pin)
  }

  /// Takes a user away, whose sessions are closed already.
  ///
  /// The last one ends the login by closing the last session; C_Logout would end it for strangers in this process too.
  /// Blocks.
  func removeUser() {
    state.withLock { state in
      state.users -= 1
      guard state.users == 0 else { return }
      if let keeper = state.keeper { try? module.cryptoki.closeSession(keeper) }
      state.keeper = nil
      if !module.isAdopted { state.verifier = nil }
    }
  }

  /// Marks the token as holding an open policy store; `false` when one is open already.
  func claimStore() -> Bool {
    state.withLock { state in
      defer { state.hasStore = true }
      return !state.hasStore
    }
  }

  /// Ends what ``claimStore()`` began.
  func releaseStore() { state.withLock { $0.hasStore = false } }

  private static func otherPIN() -> KeyCustodyError {
    KeyCustodyError(
      .credentialRejected, .wrongSecret,
      "The PIN is not the one with which this process is logged in to the token. The token was not asked.",
      remedy: "Correct what 'pinFile' or 'pinEnvironment' names, then open the backend again.")
  }

  private static func strangersLogin() -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .init("foreign-login"),
      "Another part of this process is logged in to the token, so the PIN can't be checked.",
      remedy: "Let it log out, or open this backend before it logs in.",
      diagnostic: "C_Login \(PKCS11Failure.name(of: CKR_USER_ALREADY_LOGGED_IN))")
  }
}

/// One user's hold on a token: ends once, however often it is let go.
final class PKCS11TokenUse: Sendable {
  /// The token.
  let token: PKCS11Token
  private let isHeld = Mutex(true)

  /// Finds the configured token and logs in.
  ///
  /// Blocks.
  init(_ settings: PKCS11Settings) throws(KeyCustodyError) {
    let (module, slot, info) = try Self.find(settings)
    do {
      let pin = try settings.pin.load(settings.environment)
      let token = PKCS11Token.shared(info, of: module)
      try token.addUser(slot: slot, info: info, pin: pin)
      self.token = token
    } catch {
      module.removeUser()
      throw error
    }
  }

  /// The module and the token.
  ///
  /// SoftHSM reads its tokens when it starts, and overlooks one that another process writes at that moment: a token that
  /// is not there is looked for again by a module started anew.
  private static func find(
    _ settings: PKCS11Settings
  ) throws(KeyCustodyError) -> (module: PKCS11Module, slot: CK_SLOT_ID, info: PKCS11TokenInfo) {
    var attempt = 1
    while true {
      let module = try PKCS11ModuleHost.shared.acquire(settings.module)
      do throws(KeyCustodyError) {
        let (slot, info) = try settings.token.select(in: module)
        return (module, slot, info)
      } catch {
        module.removeUser()
        guard error.code == .notFound, attempt < 5 else { throw error }
        attempt += 1
      }
    }
  }

  /// Ends the use; the sessions must be closed.
  ///
  /// Blocks.
  func end() {
    let wasHeld = isHeld.withLock { held in
      defer { held = false }
      return held
    }
    guard wasHeld else { return }
    token.removeUser()
    token.module.removeUser()
  }
}
