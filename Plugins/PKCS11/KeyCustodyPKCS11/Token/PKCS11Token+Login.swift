import CKeyCustodyPKCS11
import KeyCustody
import Synchronization

/// The one login, and the session that keeps it.
extension PKCS11Token {
  /// Opens the keeper's session anew and logs in with a PIN, once; no other token that is in the slot by now is shown it.
  ///
  /// Blocks; called inside the module.
  func logIn(
    _ login: inout Login, _ slot: CK_SLOT_ID, _ pin: borrowing SecretBytes, at now: Duration
  ) throws(PKCS11Failure) {
    closeKeeper(&login)
    let keeper = try CryptokiSession(self, Standing(epoch: module.epoch, slot: slot))
    login.keeper = keeper
    login.epoch = module.epoch
    do throws(PKCS11Failure) {
      guard try module.cryptoki.tokenInfo(slot).instance == info.instance else {
        throw PKCS11Failure.code(CKR_TOKEN_NOT_PRESENT, "C_GetTokenInfo")
      }
      try present(pin, &login, keeper.handle, now)
    } catch {
      closeKeeper(&login)
      throw error
    }
  }

  private func present(
    _ pin: borrowing SecretBytes, _ login: inout Login, _ keeper: CK_SESSION_HANDLE, _ now: Duration
  ) throws(PKCS11Failure) {
    if let refused = login.refused, try matches(refused.pin, pin) { throw .custody(refused.error) }
    do throws(PKCS11Failure) {
      // Some modules answer a second login with CKR_OK, whatever the PIN.
      guard try !module.cryptoki.isLoggedIn(keeper) else {
        throw PKCS11Failure.code(CKR_USER_ALREADY_LOGGED_IN, "C_Login")
      }
      state.withLock { $0.loginAttempts += 1 }
      try module.cryptoki.login(keeper, as: CKU_USER, pin: pin)
    } catch {
      if error.code == CKR_USER_ALREADY_LOGGED_IN {
        // The login of an earlier user of ours can stand on where other sessions are open on the token.
        guard let accepted = login.accepted else { throw .custody(Self.strangersLogin()) }
        guard try matches(accepted, pin) else { throw .code(CKR_PIN_INCORRECT, "C_Login") }
        return
      }
      let translated = error.translated
      if translated.code == .credentialRejected { login.refused = (try verifier(pin), translated, now) }
      // A PIN that was never accepted, and may have been counted as wrong, is not shown again.
      if translated.code != .credentialRejected, error.meansDeviceFailed, let accepted = login.accepted,
        try !matches(accepted, pin)
      {
        login.refused = (try verifier(pin), Self.unclear(translated), now)
      }
      throw error
    }
    login.accepted = try verifier(pin)
    login.refused = nil
  }

  /// Closes the keeper's session, unless its module was started anew since: then it is closed, and its number is free.
  func closeKeeper(_ login: inout Login) {
    if login.epoch == module.epoch { login.keeper?.close() }
    login.keeper = nil
  }

  /// Reads the PIN again from where it is kept.
  func currentPIN() throws(PKCS11Failure) -> SecretBytes {
    guard let settings = state.withLock({ $0.users.values.first?.settings }) else {
      throw .custody(LendingClosed.error)
    }
    return try onHost { () throws(KeyCustodyError) in try settings.pin.load(settings.environment) }
  }

  private func verifier(_ pin: borrowing SecretBytes) throws(PKCS11Failure) -> PINVerifier {
    do throws(KeyCustodyError) { return try PINVerifier(accepted: pin) } catch { throw .custody(error) }
  }

  private func matches(_ verifier: PINVerifier, _ pin: borrowing SecretBytes) throws(PKCS11Failure) -> Bool {
    do throws(KeyCustodyError) { return try verifier.matches(pin) } catch { throw .custody(error) }
  }

  private static func unclear(_ cause: KeyCustodyError) -> KeyCustodyError {
    KeyCustodyError(
      .credentialRejected, .init("pin-unclear"),
      "The token failed when it was shown a new PIN, and may have counted it as wrong. It is not tried again.",
      remedy: "Make sure that the PIN is right, then open the backend again.", diagnostic: cause.diagnostic)
  }

  private static func strangersLogin() -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .init("foreign-login"),
      "Another part of this process is logged in to the token, so the PIN can't be checked.",
      remedy: "Let it log out, or open this backend before it logs in.",
      diagnostic: "C_Login \(PKCS11Failure.name(of: CKR_USER_ALREADY_LOGGED_IN))")
  }
}
