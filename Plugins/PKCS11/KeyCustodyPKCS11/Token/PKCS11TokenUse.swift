import CKeyCustodyPKCS11
import KeyCustody
import Synchronization

/// One user's hold on a token: ends once, however often it is let go.
final class PKCS11TokenUse: Sendable {
  /// The token.
  let token: PKCS11Token
  private let user: Int
  private let isHeld = Mutex(true)
  private let time: any TimeSource
  private let limit: Duration

  /// Finds the configured token and logs in, on the thread of a worker that a hung module may keep.
  ///
  /// - Throws: `timeout` when the module does not answer.
  static func open(_ settings: PKCS11Settings) async throws(KeyCustodyError) -> PKCS11TokenUse {
    let deadline = settings.environment.time.running() + settings.longTimeout
    return try await LateCall.run(deadline: deadline, settings.environment.time, abandoned: { $0.endNow() }) {
      () throws(KeyCustodyError) in try PKCS11TokenUse(settings)
    }
  }

  /// Finds the configured token and logs in.
  ///
  /// Blocks.
  init(_ settings: PKCS11Settings) throws(KeyCustodyError) {
    time = settings.environment.time
    limit = settings.timeout
    let (module, slot, info) = try Self.find(settings)
    do {
      let pin = try settings.pin.load(settings.environment)
      token = try PKCS11Token.shared(info, of: module)
      user = try token.addUser(settings, slot: slot, info: info, pin: pin)
    } catch {
      module.removeUser()
      throw error
    }
  }

  /// Tells what becomes of the token.
  func listen(_ listener: @escaping PKCS11Token.Listener) { token.listen(user, listener) }

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
        let (slot, info) = try module.inside { () throws(KeyCustodyError) in try settings.token.select(in: module) }
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
  /// Where the module does not come back, what it still has to do is left to a thread of its own.
  func end(_ afterwards: @escaping @Sendable () -> Void = {}) async {
    let deadline = time.running() + limit
    try? await LateCall.run(deadline: deadline, time, abandoned: { _ in }) {
      self.endNow()
      afterwards()
    }
  }

  /// Ends the use.
  ///
  /// Blocks.
  func endNow() {
    let wasHeld = isHeld.withLock { held in
      defer { held = false }
      return held
    }
    guard wasHeld else { return }
    token.removeUser(user)
    token.module.removeUser()
  }
}
