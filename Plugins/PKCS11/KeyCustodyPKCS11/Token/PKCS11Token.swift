import CKeyCustodyPKCS11
import KeyCustody
import Synchronization

/// A token that this process uses, and its one login.
///
/// PKCS#11 logs a *process* in to a token, not a session; closing the last session logs it out. So all users of a token
/// in this process (key providers, policy stores) share this object, which keeps one session open for the login, finds
/// out what is wrong when a call fails, and mends it (``repair(since:after:)``).
final class PKCS11Token: Sendable {
  /// The module that reaches it.
  let module: PKCS11Module
  /// What it said of itself when it was first used.
  let info: PKCS11TokenInfo
  /// What is being made on it now, by the name of the key version.
  let making = NameGate()
  /// What its keys were found to be.
  let fingerprints = KnownFingerprints()
  /// Where its keys were found.
  let keys = KeyCache()

  /// How the token is reached now: what was opened or found under another standing is of no use.
  struct Standing: Sendable, Hashable {
    /// Grows with every new login.
    var generation: UInt64 = 0
    /// The module's start that the slot and all handles belong to.
    var epoch: UInt64 = 0
    /// Where the token was last found.
    var slot: CK_SLOT_ID = 0
  }

  /// What tells the users of a token how it fares.
  typealias Listener = @Sendable (KeyProviderEvent) -> Void

  struct State: Sendable {
    var standing = Standing()
    var breaker = CircuitBreaker()
    var users: [Int: User] = [:]
    var nextUser = 0
    var loginAttempts = 0
    var hasStore = false
    var isMending = false
    var sentinel = Sentinel.unknown
  }
  struct User: Sendable {
    var settings: PKCS11Settings
    var listener: Listener?
  }

  /// What the login needs; held through calls of the module, so by threads that may block.
  struct Login: Sendable {
    var keeper: CryptokiSession?
    /// The module's start that the keeper belongs to.
    var epoch: UInt64 = 0
    var accepted: PINVerifier?
    var refused: (pin: PINVerifier, error: KeyCustodyError, at: Duration)?
  }

  /// Touched for moments, so by any thread.
  let state = Mutex(State())
  let login = Mutex(Login())
  let worker: BlockingWorker

  private init(module: PKCS11Module, info: PKCS11TokenInfo) throws(KeyCustodyError) {
    self.module = module
    self.info = info
    worker = try BlockingWorker()
  }

  private static let table = Mutex<[String: PKCS11Token]>([:])

  /// The object for a token.
  ///
  /// There is never a second one for the same token and module.
  static func shared(_ info: PKCS11TokenInfo, of module: PKCS11Module) throws(KeyCustodyError) -> PKCS11Token {
    try table.withLock { (table) throws(KeyCustodyError) in
      let key = "\(module.path)\u{0}\(info.instance)"
      if let token = table[key] { return token }
      let token = try PKCS11Token(module: module, info: info)
      table[key] = token
      return token
    }
  }

  /// How it is reached now.
  var standing: Standing { state.withLock { $0.standing } }
  /// The slot it was last found in.
  var slot: CK_SLOT_ID { standing.slot }
  /// How often C_Login was called for it in this process.
  var loginAttempts: Int { state.withLock { $0.loginAttempts } }

  /// The clock of one of its users.
  var time: any TimeSource { state.withLock { $0.users.values.first?.settings.environment.time } ?? SystemTime() }

  /// How it is reached now, for work: asked before each call, so the clock is read only while the token is known not to
  /// do any.
  ///
  /// - Throws: why it does none.
  func usableStanding() throws(KeyCustodyError) -> Standing {
    let (standing, isOpen) = state.withLock { ($0.standing, $0.breaker.open != nil) }
    guard isOpen else { return standing }
    try requireUsable()
    return self.standing
  }

  /// Refuses work while the token is known not to do any.
  func requireUsable() throws(KeyCustodyError) {
    let now = time.running()
    if let refusal = state.withLock({ $0.breaker.refusal(at: now) }) { throw refusal }
  }

  // MARK: Users

  /// Adds a user: logs in, or checks the PIN against the login that stands.
  ///
  /// One attempt, never a second. Blocks.
  ///
  /// - Returns: what ``removeUser(_:)`` takes.
  func addUser(
    _ settings: PKCS11Settings, slot: CK_SLOT_ID, info: PKCS11TokenInfo, pin: borrowing SecretBytes
  ) throws(KeyCustodyError) -> Int {
    try login.withLock { (login) throws(KeyCustodyError) in
      try module.inside { () throws(KeyCustodyError) in try join(&login, settings, slot, info, pin) }
      return state.withLock { state in
        state.nextUser += 1
        state.users[state.nextUser] = User(settings: settings)
        return state.nextUser
      }
    }
  }

  private func join(
    _ login: inout Login, _ settings: PKCS11Settings, _ slot: CK_SLOT_ID, _ info: PKCS11TokenInfo,
    _ pin: borrowing SecretBytes
  ) throws(KeyCustodyError) {
    let isLoggedIn = login.keeper.map {
      login.epoch == module.epoch && (try? module.cryptoki.isLoggedIn($0.handle)) == true
    }
    if isLoggedIn == true, let accepted = login.accepted {
      guard try accepted.matches(pin) else { throw Self.otherPIN() }
      return
    }
    guard !info.isUserPINLocked else { throw PKCS11Failure.code(CKR_PIN_LOCKED, "C_GetTokenInfo").translated }
    // An operator opens the backend, so a PIN that was refused a while ago may be tried again: not one that another
    // backend of the same configuration showed just now.
    if let age = login.refused.map({ settings.environment.time.running() - $0.at }), age < .zero || age > Self.patience
    {
      login.refused = nil
    }
    var attempt = 1
    while true {
      var isAccepted = false
      do throws(PKCS11Failure) {
        try logIn(&login, slot, pin, at: settings.environment.time.running())
        isAccepted = true
        stand(in: slot, epoch: module.epoch)
        try plantSentinel(login)
        return state.withLock { $0.breaker.reset() }
      } catch {
        closeKeeper(&login)
        // A login that was lost at once is made again; one that failed is not.
        guard isAccepted, error.cure != .none, attempt < 3 else { throw error.translated }
        attempt += 1
      }
    }
  }

  /// Tells a user what becomes of the token from now on.
  func listen(_ user: Int, _ listener: @escaping Listener) {
    state.withLock { $0.users[user]?.listener = listener }
  }

  /// Takes a user away, whose sessions are closed already.
  ///
  /// The last one ends the login by closing the last session; C_Logout would end it for strangers in this process too.
  /// Blocks.
  func removeUser(_ user: Int) {
    login.withLock { login in
      let isLast = state.withLock { state in
        state.users[user] = nil
        return state.users.isEmpty
      }
      guard isLast else { return }
      // The PIN's verifier stays: a call that hangs keeps its session, and with it the login.
      module.inside { closeKeeper(&login) }
      // Whoever opens it after this is an operator who acted.
      login.refused = nil
      state.withLock { state in
        state.breaker.reset()
        state.standing.generation += 1
      }
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

  /// Notes a new login: sessions and handles of before are of no use.
  func stand(in slot: CK_SLOT_ID, epoch: UInt64) {
    state.withLock { state in
      state.standing = Standing(generation: state.standing.generation + 1, epoch: epoch, slot: slot)
    }
  }

  /// Tells the users.
  func tell(_ event: KeyProviderEvent) {
    for user in state.withLock({ Array($0.users.values) }) { user.listener?(event) }
  }

  /// How long opening again does not show a PIN that was refused.
  static let patience: Duration = .seconds(60)

  private static func otherPIN() -> KeyCustodyError {
    KeyCustodyError(
      .credentialRejected, .wrongSecret,
      "The PIN is not the one with which this process is logged in to the token. The token was not asked.",
      remedy: "Correct what 'pinFile' or 'pinEnvironment' names, then open the backend again.")
  }
}
