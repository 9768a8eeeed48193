internal import CKeyCustodyOpenSSL
package import KeyCustody
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Which of OpenSSL's providers do the work of this process.
package enum CryptographyMode: String, Sendable {
  /// OpenSSL's default provider.
  case standard
  /// OpenSSL's FIPS provider, the algorithms of ``FIPSAllowList``, and nothing else.
  case fips
}

/// What the provider in use says of itself.
package struct CryptographicModuleFacts: Sendable {
  /// The mode it was loaded for.
  package let mode: CryptographyMode
  /// Its name, `OpenSSL FIPS Provider` for instance.
  package let name: String
  /// Its version, which can be another than the library's.
  package let version: String
  /// What else it says of how it was built.
  package let build: String

  init(_ mode: CryptographyMode, _ provider: OpaquePointer?) {
    func text(_ name: String) -> String {
      guard let provider = unsafe provider, let found = unsafe kc_provider_text(provider, name) else { return "" }
      return unsafe String(cString: found)
    }
    self.mode = mode
    name = text(OSSL_PROV_PARAM_NAME)
    version = text(OSSL_PROV_PARAM_VERSION)
    build = text(OSSL_PROV_PARAM_BUILDINFO)
  }
}

/// The choice of a mode: made once in a process, before the first use of cryptography or by it.
package enum CryptographyChoice {
  private static let made = Mutex<OpenSSLLibrary?>(nil)

  /// The variable that asks for FIPS mode before any configuration is read.
  ///
  /// It is what a configuration's `fips` is called in the environment, so that a program that is told so never
  /// works in the other mode, whatever it does first.
  private static let variable = "KEYCUSTODY_FIPS"

  /// What the process's environment asks for; anything but a plain no counts as yes.
  private static var environmentAsksForFIPS: Bool {
    guard let value = unsafe getenv(variable) else { return false }
    return !["", "false"].contains(unsafe String(cString: value))
  }

  /// Whether OpenSSL clears all memory that it frees in this process.
  ///
  /// It can be told so only before it has allocated anything: a host that used OpenSSL earlier keeps what it does by
  /// itself, which is to clear most key material, and not all.
  package static let clearsWhatIsFreed = kc_clear_what_is_freed() == 1

  /// Settles on a mode, or checks that it is the one in use; `nil` takes the one in use, or the environment's.
  ///
  /// - Throws: `unsupported` (`no-fips-provider`), and then nothing is settled; `invalidInput`
  ///   (`cryptography-mode`) when this process works in the other mode already.
  @discardableResult
  package static func settle(_ mode: CryptographyMode?) throws(KeyCustodyError) -> CryptographicModuleFacts {
    try made.withLock { (made) throws(KeyCustodyError) in
      if let library = made {
        if let refusal = library.refusal { throw refusal }
        guard mode == nil || mode == library.module.mode else { throw otherMode(library.module.mode) }
        return library.module
      }
      let asked: CryptographyMode = environmentAsksForFIPS ? .fips : mode ?? .standard
      guard mode == nil || mode == asked else { throw otherMode(asked) }
      _ = clearsWhatIsFreed
      let library = try OpenSSLLibrary(asked)
      made = library
      return library.module
    }
  }

  /// The library for a first use before anything was chosen.
  static func settled() -> OpenSSLLibrary {
    made.withLock { made in
      if let library = made { return library }
      _ = clearsWhatIsFreed
      let library: OpenSSLLibrary
      do throws(KeyCustodyError) {
        library = try OpenSSLLibrary(environmentAsksForFIPS ? .fips : .standard)
      } catch {
        library = OpenSSLLibrary(refusing: error)
      }
      made = library
      return library
    }
  }

  private static func otherMode(_ inUse: CryptographyMode) -> KeyCustodyError {
    let (now, wanted) = inUse == .fips ? ("in FIPS mode", "outside it") : ("outside FIPS mode", "in it")
    return KeyCustodyError(
      .invalidInput, .cryptographyMode,
      "This process does its cryptography \(now) already, and this configuration asks to work \(wanted): a process "
        + "has one mode, from its first use of cryptography to its end.",
      remedy: "Whoever writes the service can open the deployment before anything else, give all deployments of one "
        + "process the same 'fips', or set \(variable)=\(inUse == .fips ? "false" : "true") for the process.")
  }
}

extension KeyCustodyError.Reason {
  /// This process works in the other cryptography mode.
  package static let cryptographyMode = Self("cryptography-mode")
  /// FIPS mode is asked for, and OpenSSL's FIPS provider can't be used.
  package static let noFIPSProvider = Self("no-fips-provider")
}
