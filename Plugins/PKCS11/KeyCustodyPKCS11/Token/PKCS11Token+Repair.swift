import CKeyCustodyPKCS11
import KeyCustody
import Logging
import Synchronization

/// Finding out what is wrong with a token, and mending it: a ladder, with a canary after each rung.
///
/// 0. nothing is wrong: the canary works, so the failure was the call's own
/// 1. log in anew
/// 2. find the token in another slot
/// 3. finalise the module and start it anew
///
/// Where all fail, the circuit breaker answers calls, and the ladder is climbed again in the background.
extension PKCS11Token {
  /// How far up the ladder a repair had to go.
  enum Rung: String, Sendable, CaseIterable {
    case nothing = "nothing was wrong"
    case login = "a new login"
    case slot = "the token found again among the slots"
    case restart = "the module started anew"
  }

  /// Mends the token after a call failed, unless somebody else did since the call's standing.
  ///
  /// Blocks.
  ///
  /// - Throws: `unavailable` with a time to retry; `credentialRejected` when the token refuses the PIN, which is then not
  ///   tried again before it is changed.
  func repair(since standing: Standing, after failure: PKCS11Failure) throws(KeyCustodyError) {
    try login.withLock { (login) throws(KeyCustodyError) in
      guard self.standing == standing else { return }
      try requireUsable()
      try mend(&login, after: failure)
    }
  }

  private func mend(_ login: inout Login, after failure: PKCS11Failure) throws(KeyCustodyError) {
    let start = time.running()
    do throws(PKCS11Failure) {
      let rung = try climb(&login, failure)
      let wasOpen = state.withLock { state in
        defer { state.breaker.reset() }
        return state.breaker.open != nil
      }
      guard rung != .nothing || wasOpen else { return }
      log(
        .notice, "the token works again", after: failure,
        ["by": "\(rung.rawValue)", "took": "\(time.running() - start)"])
      if wasOpen { tell(.available) }
    } catch {
      let cause = Self.cause(error)
      // Where one key alone is in doubt, the others are served.
      guard failure.cure != .restart || isBroken(login) else { throw cause }
      let now = time.running()
      let (isNew, refusal) = state.withLock { state in
        // Nobody would close it again.
        guard !state.users.isEmpty else { return (false, cause) }
        let isNew = state.breaker.open == nil
        state.breaker.fail(cause, at: now)
        return (isNew, state.breaker.refusal(at: now) ?? cause)
      }
      if isNew {
        log(.warning, "the token can't be used", after: failure, ["cause": "\(cause.debugDescription)"])
        tell(.unavailable(reason: cause.message))
      }
      mendInBackground()
      throw refusal
    }
  }

  /// What callers are told: that a session or login could not be had says nothing to them.
  private static func cause(_ failure: PKCS11Failure) -> KeyCustodyError {
    let error = failure.translated
    guard error.code != .unavailable, error.code != .credentialRejected else { return error }
    return KeyCustodyError(
      .unavailable, .unreachable, "The token does not answer as it should: \(error.message)", remedy: error.remedy,
      diagnostic: error.diagnostic)
  }

  private func climb(_ login: inout Login, _ failure: PKCS11Failure) throws(PKCS11Failure) -> Rung {
    let epoch = module.epoch
    var last = failure
    let mustRestart = failure.cure == .restart
    if !mustRestart, failure.code != CKR_USER_NOT_LOGGED_IN, failure.code != CKR_CRYPTOKI_NOT_INITIALIZED,
      standing.epoch == epoch
    {
      do throws(PKCS11Failure) {
        try canaryTwice(login)
        return .nothing
      } catch { last = error }
    }
    let pin = try currentPIN()
    for rung in [Rung.login, .slot, .restart] {
      if mustRestart, rung != .restart { continue }
      // A new login in the old slot helps against a lost session only.
      if rung == .login, standing.epoch != epoch || last.code == CKR_CRYPTOKI_NOT_INITIALIZED { continue }
      do throws(PKCS11Failure) {
        if rung == .restart { try module.restart(since: epoch, now: time.running()) }
        try module.inside { () throws(PKCS11Failure) in
          let slot = rung == .login ? standing.slot : try currentSlot()
          try logIn(&login, slot, pin, at: time.running())
          stand(in: slot, epoch: module.epoch)
        }
        try canaryTwice(login)
        if rung == .restart { module.noteRevived() }
        return rung
      } catch {
        guard error.translated.code != .credentialRejected else { throw error }
        // What stands in the way of starting the module anew is the caller's to know, with the token's own answer.
        last = rung == .restart ? Self.joined(error, last) : error
      }
    }
    throw last
  }

  private static func joined(_ failure: PKCS11Failure, _ earlier: PKCS11Failure) -> PKCS11Failure {
    guard case .custody(let error) = failure else { return failure }
    let diagnostics = [error.diagnostic, earlier.translated.diagnostic].compactMap { $0 }
    return .custody(
      KeyCustodyError(
        error.code, error.reason, error.message, remedy: error.remedy, retryAfter: error.retryAfter,
        diagnostic: diagnostics.isEmpty ? nil : diagnostics.joined(separator: "; ")))
  }

  /// One stumble of the device is no verdict.
  private func canaryTwice(_ login: Login) throws(PKCS11Failure) {
    try module.inside { () throws(PKCS11Failure) in
      do throws(PKCS11Failure) { try canary(login) } catch {
        guard error.meansDeviceFailed else { throw error }
        try canary(login)
      }
    }
  }

  private func isBroken(_ login: Login) -> Bool {
    do throws(PKCS11Failure) { try canaryTwice(login) } catch { return true }
    return false
  }

  /// Where the token is now.
  private func currentSlot() throws(PKCS11Failure) -> CK_SLOT_ID {
    for slot in try module.cryptoki.slotsWithToken() {
      if let info = try? module.cryptoki.tokenInfo(slot), info.instance == self.info.instance { return slot }
    }
    throw .code(CKR_TOKEN_NOT_PRESENT, "C_GetSlotList")
  }

  /// Climbs the ladder at the breaker's pace until the token works or nobody uses it.
  private func mendInBackground() {
    let isFirst = state.withLock { state in
      defer { state.isMending = true }
      return !state.isMending
    }
    guard isFirst else { return }
    Task { [weak self] in
      while let self, let moment = self.nextAttempt {
        try? await self.time.wait(until: moment)
        await self.worker.run { self.mendAgain() }
      }
    }
  }

  /// When the ladder is climbed next; `nil` ends the mending.
  private var nextAttempt: Duration? {
    state.withLock { state in
      guard let open = state.breaker.open, !state.users.isEmpty else {
        state.isMending = false
        return nil
      }
      return open.until
    }
  }

  private func mendAgain() {
    login.withLock { login in
      guard let open = state.withLock({ $0.users.isEmpty ? nil : $0.breaker.open }) else { return }
      _ = try? mend(&login, after: .custody(open.cause))
    }
  }

  private func log(
    _ level: Logger.Level, _ message: String, after failure: PKCS11Failure, _ details: Logger.Metadata
  ) {
    guard let logger = state.withLock({ $0.users.values.first?.settings.environment.logger }) else { return }
    var metadata = details
    metadata["token"] = "\(info.label) (serial \(info.serial))"
    metadata["after"] = "\(failure.translated.diagnostic ?? failure.translated.message)"
    logger.log(level: level, "PKCS#11: \(message)", metadata: metadata)
  }
}
