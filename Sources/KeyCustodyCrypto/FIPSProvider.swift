internal import CKeyCustodyOpenSSL
internal import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Loads OpenSSL's FIPS provider into a library context of its own, and nothing beside it but encoders.
enum FIPSProvider {
  /// A context whose only providers are `fips` and `base`, with the FIPS provider's self tests passed.
  ///
  /// The default provider is not there at all: a query of `-fips`, or none, must have nothing else to find.
  /// - Throws: `unsupported` (`no-fips-provider`).
  static func load() throws(KeyCustodyError) -> (OpaquePointer, CryptographicModuleFacts) {
    guard let context = unsafe OSSL_LIB_CTX_new() else { throw refused("OpenSSL makes no library context") }
    do throws(KeyCustodyError) {
      try unsafe loadConfiguration(context)
      guard let provider = unsafe OSSL_PROVIDER_load(context, "fips") else {
        throw refused("OpenSSL can't load its FIPS provider, 'fips.so', from \(folder)")
      }
      guard unsafe OSSL_PROVIDER_load(context, "base") != nil else {
        throw refused("OpenSSL can't load its provider 'base', which reads and writes keys")
      }
      if let stranger = unsafe kc_stranger(context) {
        throw refused("\(configurationName) activates the provider '\(unsafe String(cString: stranger))' too")
      }
      guard unsafe EVP_default_properties_enable_fips(context, 1) == 1 else {
        throw refused("OpenSSL does not take 'fips=yes' as the default of its fetches")
      }
      guard unsafe OSSL_PROVIDER_self_test(provider) == 1, unsafe kc_provider_is_running(provider) == 1 else {
        throw refused("the FIPS provider's self tests failed")
      }
      return unsafe (context, CryptographicModuleFacts(.fips, provider))
    } catch {
      unsafe OSSL_LIB_CTX_free(context)
      ERR_clear_error()
      throw error
    }
  }

  /// Reads OpenSSL's configuration, which is where a FIPS provider's own settings come from (`openssl fipsinstall`).
  private static func loadConfiguration(_ context: OpaquePointer) throws(KeyCustodyError) {
    guard let path = unsafe CONF_get1_default_config_file() else { return }
    defer { unsafe CRYPTO_free(path, #fileID, #line) }
    // Some builds need none: then loading the provider tells.
    guard unsafe access(path, F_OK) == 0 else { return }
    guard unsafe OSSL_LIB_CTX_load_config(context, path) == 1 else {
      throw refused("OpenSSL can't carry out \(configurationName), which is to activate its FIPS provider")
    }
  }

  private static var configurationName: String {
    guard let path = unsafe CONF_get1_default_config_file() else { return "OpenSSL's configuration" }
    defer { unsafe CRYPTO_free(path, #fileID, #line) }
    return unsafe "OpenSSL's configuration '\(String(cString: path))'"
  }

  /// Where OpenSSL looks for providers.
  private static var folder: String {
    if let set = unsafe getenv("OPENSSL_MODULES") { return unsafe "'\(String(cString: set))' (OPENSSL_MODULES)" }
    guard let text = unsafe OpenSSL_version(OPENSSL_MODULES_DIR) else { return "its folder of providers" }
    return unsafe String(cString: text).replacingPrefix("MODULESDIR: ")
  }

  private static func refused(_ what: String) -> KeyCustodyError {
    var codes: [String] = []
    while case let code = ERR_get_error(), code != 0 { codes.append(String(code, radix: 16)) }
    return KeyCustodyError(
      .unsupported, .noFIPSProvider,
      "FIPS mode is asked for ('fips'), and \(what).",
      // How it is built and set up is the guide's to say.
      remedy: "The machine's administrator can install a validated provider for \(OpenSSLLibrary.version): "
        + "'openssl fipsinstall', then OPENSSL_MODULES and OPENSSL_CONF (see the guide 'FIPS mode'). Or whoever keeps "
        + "the configuration removes 'fips'.",
      diagnostic: codes.isEmpty ? nil : "OpenSSL errors \(codes.joined(separator: " "))")
  }
}

extension String {
  fileprivate func replacingPrefix(_ prefix: String) -> String {
    hasPrefix(prefix) ? String(dropFirst(prefix.count)) : self
  }
}
