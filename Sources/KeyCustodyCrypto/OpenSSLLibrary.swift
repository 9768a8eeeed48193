internal import CKeyCustodyOpenSSL
package import KeyCustody

/// The private OpenSSL library context of KeyCustody: nothing that the host program or a PKCS#11 module does to
/// OpenSSL's default context reaches it.
///
/// A process has one, in one mode (``CryptographyMode``), from its first use to its end.
@safe
package final class OpenSSLLibrary: @unchecked Sendable {
  // Unchecked: the pointers are set once; OpenSSL's fetched algorithms and library contexts are made for threads.
  let context: OpaquePointer?
  /// What every fetch asks for; `nil` outside FIPS mode.
  let properties: UnsafePointer<CChar>?
  let aes256GCM: OpaquePointer?
  let aes256ECB: OpaquePointer?
  /// Key wrap as a service of the module; fetched in FIPS mode alone.
  let aes256Wrap: OpaquePointer?
  let hmac: OpaquePointer?
  let pbkdf2: OpaquePointer?
  let sha1: OpaquePointer?
  let sha256: OpaquePointer?
  let sha384: OpaquePointer?
  let sha512: OpaquePointer?
  /// Which provider does the work.
  package let module: CryptographicModuleFacts
  /// Why nothing works here: the process's environment asks for FIPS mode, and it can't be had.
  let refusal: KeyCustodyError?

  /// The one context of this process.
  package static let shared = CryptographyChoice.settled()

  convenience init(_ mode: CryptographyMode) throws(KeyCustodyError) {
    switch mode {
    case .standard:
      let context = unsafe OSSL_LIB_CTX_new()
      let provider = unsafe OSSL_PROVIDER_load(context, "default")
      let facts = unsafe CryptographicModuleFacts(.standard, provider)
      unsafe self.init(context: context, properties: nil, module: facts, refusal: nil)
    case .fips:
      let (context, facts) = unsafe try FIPSProvider.load()
      unsafe self.init(context: context, properties: kc_fips_properties, module: facts, refusal: nil)
    }
  }

  /// A context in which nothing works, every failure being the one that is given.
  convenience init(refusing refusal: KeyCustodyError) {
    let facts = unsafe CryptographicModuleFacts(.fips, nil)
    unsafe self.init(context: nil, properties: kc_fips_properties, module: facts, refusal: refusal)
  }

  private init(
    context: OpaquePointer?, properties: UnsafePointer<CChar>?, module: CryptographicModuleFacts,
    refusal: KeyCustodyError?
  ) {
    unsafe self.context = context
    unsafe self.properties = properties
    self.module = module
    self.refusal = refusal
    // Without a context a fetch would go to OpenSSL's default one.
    let usable = refusal == nil
    let isFIPS = module.mode == .fips
    unsafe aes256GCM = usable ? EVP_CIPHER_fetch(context, "AES-256-GCM", properties) : nil
    unsafe aes256ECB = usable ? EVP_CIPHER_fetch(context, "AES-256-ECB", properties) : nil
    unsafe aes256Wrap = usable && isFIPS ? EVP_CIPHER_fetch(context, "AES-256-WRAP", properties) : nil
    unsafe hmac = usable ? EVP_MAC_fetch(context, "HMAC", properties) : nil
    unsafe pbkdf2 = usable ? EVP_KDF_fetch(context, "PBKDF2", properties) : nil
    unsafe sha1 = usable ? EVP_MD_fetch(context, "SHA1", properties) : nil
    unsafe sha256 = usable ? EVP_MD_fetch(context, "SHA256", properties) : nil
    unsafe sha384 = usable ? EVP_MD_fetch(context, "SHA384", properties) : nil
    unsafe sha512 = usable ? EVP_MD_fetch(context, "SHA512", properties) : nil
  }

  /// The version of the library in use, as it names itself.
  package static var version: String { unsafe String(cString: OpenSSL_version(OPENSSL_VERSION)) }

  /// The context, for calls that would take OpenSSL's default one in its absence.
  func requireContext() throws(KeyCustodyError) -> OpaquePointer {
    if let refusal { throw refusal }
    guard let context = unsafe context else { throw openSSLFault("OSSL_LIB_CTX_new") }
    return unsafe context
  }

  /// A context for work with a key.
  func newContext(for key: OpaquePointer) throws(KeyCustodyError) -> OpaquePointer {
    let context = unsafe try requireContext()
    guard let made = unsafe EVP_PKEY_CTX_new_from_pkey(context, key, properties) else {
      throw openSSLFault("EVP_PKEY_CTX_new_from_pkey")
    }
    return unsafe made
  }

  func digest(_ algorithm: HashAlgorithm) -> OpaquePointer? {
    switch algorithm {
    case .sha256: unsafe sha256
    case .sha384: unsafe sha384
    case .sha512: unsafe sha512
    }
  }
}

/// A hash function.
package enum HashAlgorithm: String, Sendable {
  case sha256 = "SHA256"
  case sha384 = "SHA384"
  case sha512 = "SHA512"

  /// The digest's length in bytes.
  package var length: Int {
    switch self {
    case .sha256: 32
    case .sha384: 48
    case .sha512: 64
    }
  }
}

/// Empties OpenSSL's error queue of this thread into a `fault` that names the call.
func openSSLFault(_ function: StaticString) -> KeyCustodyError {
  if let refusal = OpenSSLLibrary.shared.refusal { return refusal }
  var codes: [String] = []
  while case let code = ERR_get_error(), code != 0 { codes.append(String(code, radix: 16)) }
  return KeyCustodyError(
    .fault, .internalFault, "The cryptographic library failed.",
    diagnostic: "\(function) \(codes.joined(separator: " "))")
}

/// Throws a fault unless an OpenSSL call answered 1.
func check(_ code: Int32, _ function: StaticString) throws(KeyCustodyError) {
  guard code == 1 else { throw openSSLFault(function) }
}

/// One error for every ciphertext that does not open: nothing tells causes apart.
package func notAuthentic(_ what: String, remedy: String = "") -> KeyCustodyError {
  ERR_clear_error()
  return KeyCustodyError(
    .integrityFailure, .notAuthentic, "\(what) does not open: it was altered, or sealed for another purpose or key.",
    remedy: remedy)
}

extension UnsafeRawBufferPointer {
  /// The bytes as C takes them.
  var octets: UnsafePointer<UInt8>? { unsafe baseAddress?.assumingMemoryBound(to: UInt8.self) }
}

extension UnsafeMutableRawBufferPointer {
  /// The bytes as C takes them.
  var octets: UnsafeMutablePointer<UInt8>? { unsafe baseAddress?.assumingMemoryBound(to: UInt8.self) }
}
