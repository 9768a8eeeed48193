import CKeyCustodyPKCS11
import KeyCustody
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The PKCS#11 modules of this process, by real path.
///
/// PKCS#11 allows one C_Initialize for a process, so all users of a module share it, whatever they call its file.
final class PKCS11ModuleHost: Sendable {
  /// The one table of this process.
  static let shared = PKCS11ModuleHost()
  private let modules = Mutex<[String: PKCS11Module]>([:])

  /// Loads and initialises a module, or adds a user to one that is.
  ///
  /// Blocks.
  ///
  /// - Throws: `invalidInput` for a relative path; `unavailable` for a module that is not there or does not start.
  func acquire(_ path: String) throws(KeyCustodyError) -> PKCS11Module {
    try Self.requireAbsolute(path)
    guard let real = unsafe realpath(path, nil) else {
      throw KeyCustodyError(
        .unavailable, .unreachable, "There is no PKCS#11 module at '\(path)'.",
        remedy: "Install it (SoftHSM on Debian and Ubuntu: apt-get install softhsm2), or set 'module' to its path.",
        diagnostic: "realpath errno \(errno)")
    }
    defer { unsafe free(real) }
    let key = unsafe String(cString: real)
    let module = try modules.withLock { (modules) throws(KeyCustodyError) in
      if let module = modules[key] { return module }
      let module = PKCS11Module(path: key, cryptoki: try Cryptoki(path: key))
      modules[key] = module
      return module
    }
    try module.addUser()
    return module
  }

  /// Refuses a path that depends on the working directory or a search path: whoever controls those would choose the
  /// code that is given the PIN.
  static func requireAbsolute(_ path: String) throws(KeyCustodyError) {
    guard path.hasPrefix("/") else {
      throw KeyCustodyError(
        .invalidInput, .badConfigurationValue, "'module' must be an absolute path, not '\(path)'.",
        remedy: "Write the whole path, for instance /usr/lib/softhsm/libsofthsm2.so.")
    }
  }
}

/// A module of this process and the number of its users.
final class PKCS11Module: Sendable {
  /// Where it stands, symbolic links resolved.
  let path: String
  /// Its functions.
  let cryptoki: Cryptoki

  private struct State {
    var users = 0
    var isAdopted = false
  }
  private let state = Mutex(State())

  init(path: String, cryptoki: Cryptoki) {
    self.path = path
    self.cryptoki = cryptoki
  }

  /// Whether somebody else in this process initialised the module: then it is never finalised here.
  var isAdopted: Bool { state.withLock { $0.isAdopted } }

  /// The first user initialises.
  ///
  /// The lock is held meanwhile, so that no close comes between.
  func addUser() throws(KeyCustodyError) {
    try state.withLock { (state) throws(KeyCustodyError) in
      if state.users == 0 {
        do throws(PKCS11Failure) {
          try cryptoki.initialize()
          state.isAdopted = false
        } catch {
          guard error.code == CKR_CRYPTOKI_ALREADY_INITIALIZED else { throw Self.notStarted(path, error) }
          state.isAdopted = true
        }
      }
      state.users += 1
    }
  }

  /// The last user finalises what the first initialised.
  ///
  /// Blocks.
  func removeUser() {
    state.withLock { state in
      state.users -= 1
      guard state.users == 0, !state.isAdopted else { return }
      // Nothing follows from a failure: the next C_Initialize would say that it is initialised, and is adopted.
      try? cryptoki.finalize()
    }
  }

  private static func notStarted(_ path: String, _ failure: PKCS11Failure) -> KeyCustodyError {
    let cause = failure.translated
    return KeyCustodyError(
      .unavailable, .unreachable, "The PKCS#11 module '\(path)' does not start.",
      remedy: "Check the module's own configuration (for SoftHSM the file that SOFTHSM2_CONF names).",
      diagnostic: cause.diagnostic)
  }
}
