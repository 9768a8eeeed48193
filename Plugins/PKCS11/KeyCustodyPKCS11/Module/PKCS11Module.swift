import CKeyCustodyPKCS11
import KeyCustody
import Synchronization

/// A module of this process, its users, and the number of times it was started.
final class PKCS11Module: Sendable {
  /// Where it stands, symbolic links resolved.
  let path: String
  /// Its functions.
  let cryptoki: Cryptoki

  private struct State {
    var users = 0
    var isInitialized = false
    /// Whether a C_Initialize of ours stands, or may stand although it was answered with an error.
    var isOurs = false
    var restarted: Duration?
    /// Restarts in a row that brought no token back.
    var vainRestarts = 0
    var hangs = false
  }
  /// Held while the module starts or ends, so by threads that may block.
  private let state = Mutex(State())
  private let gate = ModuleGate()
  /// Our sessions.
  let sessions = SessionRegister()
  private let starts = Atomic<UInt64>(0)
  private let adopted = Atomic<Bool>(false)

  init(path: String, cryptoki: Cryptoki) {
    self.path = path
    self.cryptoki = cryptoki
  }

  /// Counts the starts: what was found in one epoch (sessions, handles, slots) means nothing in another.
  var epoch: UInt64 { starts.load(ordering: .acquiring) }

  /// Whether somebody else in this process initialised the module: then it is never finalised here.
  var isAdopted: Bool { adopted.load(ordering: .acquiring) }

  /// Runs calls of the module, while it can't be finalised.
  ///
  /// Blocks.
  func inside<Result: ~Copyable, Failure: Error>(
    _ work: () throws(Failure) -> sending Result
  ) throws(Failure) -> sending Result { try gate.pass(work) }

  /// The first user initialises.
  ///
  /// The lock is held meanwhile, so that no close comes between.
  func addUser() throws(KeyCustodyError) {
    try state.withLock { (state) throws(KeyCustodyError) in
      if !state.isInitialized {
        do throws(PKCS11Failure) { try initialize(&state) } catch { throw Self.notStarted(path, error) }
      }
      state.users += 1
    }
  }

  private func initialize(_ state: inout State) throws(PKCS11Failure) {
    do throws(PKCS11Failure) {
      try cryptoki.initialize()
      state.isOurs = true
    } catch {
      guard error.code == CKR_CRYPTOKI_ALREADY_INITIALIZED else {
        state.isOurs = true
        throw error
      }
    }
    sessions.clear()
    adopted.store(!state.isOurs, ordering: .releasing)
    state.isInitialized = true
    starts.add(1, ordering: .acquiringAndReleasing)
  }

  /// The last user finalises what the first initialised.
  ///
  /// Where a call never came back the module stays as it is: C_Finalize beneath a running call is what ends processes.
  /// Blocks.
  func removeUser() {
    state.withLock { state in
      state.users -= 1
      guard state.users == 0, state.isInitialized else { return }
      guard !isAdopted else {
        state.isInitialized = false
        return
      }
      let isDone: Void? = gate.alone(patience: .zero) { finalize(&state) }
      if isDone != nil { state.isInitialized = false }
    }
  }

  /// Finalises the module and starts it anew, unless that was done since `epoch`.
  ///
  /// Sessions of all its tokens end; their users find that by the epoch. Blocks until those inside have come out.
  ///
  /// - Throws: `unavailable` where it is somebody else's, where a call hangs inside, or where it was done just now;
  ///   what C_Initialize answers.
  func restart(since epoch: UInt64, now: Duration) throws(PKCS11Failure) {
    try state.withLock { (state) throws(PKCS11Failure) in
      guard self.epoch == epoch else { return }
      // What its owner has finalised is nobody's, and may be started.
      guard !isAdopted || isFinalized else { throw .custody(Self.notOurs(path)) }
      let pause = min(Self.longestPause, Self.restInterval * (1 << min(state.vainRestarts, 4)))
      if let last = state.restarted, now >= last, now - last < pause { throw .custody(Self.tooSoon(path)) }
      // Whoever waits to be alone keeps everybody out, so a module that hangs is waited for once only.
      let patience: Duration = state.hangs ? .zero : .seconds(1)
      let isDone: Void? = try gate.alone(patience: patience) { () throws(PKCS11Failure) in
        state.restarted = now
        state.vainRestarts += 1
        // Its owner may have started it again meanwhile; then it is adopted again.
        if !isAdopted { finalize(&state) }
        state.isInitialized = false
        try initialize(&state)
      }
      state.hangs = isDone == nil
      guard isDone != nil else { throw .custody(Self.hangs(path)) }
    }
  }

  /// Notes that starting it anew brought a token back.
  func noteRevived() { state.withLock { $0.vainRestarts = 0 } }

  /// Other tokens of the module pay for each restart with a new login.
  private static let restInterval: Duration = .milliseconds(450)
  private static let longestPause: Duration = .milliseconds(3600)

  private var isFinalized: Bool {
    do throws(PKCS11Failure) { _ = try cryptoki.slotsWithToken() } catch {
      return error.code == CKR_CRYPTOKI_NOT_INITIALIZED
    }
    return false
  }

  /// Whatever it answers, the module has to be started before its next use.
  private func finalize(_ state: inout State) {
    if state.isInitialized { closeSessions() }
    do throws(PKCS11Failure) {
      try cryptoki.finalize()
      state.isOurs = false
    } catch { state.isOurs = error.code != CKR_CRYPTOKI_NOT_INITIALIZED }
  }

  /// Closes what is left open where an answer was lost, or where its owner has not come to it yet.
  private func closeSessions() { for slot in sessions.slots { cryptoki.closeAllSurely(slot) } }

  private static func notStarted(_ path: String, _ failure: PKCS11Failure) -> KeyCustodyError {
    let cause = failure.translated
    return KeyCustodyError(
      .unavailable, .unreachable, "The PKCS#11 module '\(path)' does not start.",
      remedy: "Check the module's own configuration (for SoftHSM the file that SOFTHSM2_CONF names).",
      diagnostic: cause.diagnostic)
  }

  private static func notOurs(_ path: String) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .init("foreign-module"),
      "The token does not answer, and starting the module '\(path)' anew is for the part of this process that started it.",
      remedy: "Let that part call C_Finalize and C_Initialize, or restart the process.")
  }

  private static func hangs(_ path: String) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .init("module-hangs"),
      "A call of the module '\(path)' does not come back, so the module can't be started anew.",
      remedy: "Check the token and its connection; if the call never returns, restart the process.",
      retryAfter: .seconds(1))
  }

  private static func tooSoon(_ path: String) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .unreachable, "The token does not answer; the module '\(path)' was started anew just now.",
      remedy: "Check the token and its connection.", retryAfter: restInterval)
  }
}
