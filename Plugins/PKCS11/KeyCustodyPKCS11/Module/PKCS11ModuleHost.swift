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
