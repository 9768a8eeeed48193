internal import CKeyCustodyOpenSSL
package import KeyCustody

/// The private OpenSSL library context of KeyCustody: nothing that the host program or a PKCS#11 module does to
/// OpenSSL's default context reaches it.
@safe
package final class OpenSSLLibrary: @unchecked Sendable {
  // Unchecked: the pointers are set once; OpenSSL's fetched algorithms and library contexts are made for threads.
  let context: OpaquePointer?
  let aes256GCM: OpaquePointer?
  let aes256ECB: OpaquePointer?
  let hmac: OpaquePointer?
  let sha256: OpaquePointer?
  let sha384: OpaquePointer?
  let sha512: OpaquePointer?

  /// The one context of this process.
  package static let shared = OpenSSLLibrary()

  private init() {
    unsafe context = OSSL_LIB_CTX_new()
    unsafe aes256GCM = EVP_CIPHER_fetch(context, "AES-256-GCM", nil)
    unsafe aes256ECB = EVP_CIPHER_fetch(context, "AES-256-ECB", nil)
    unsafe hmac = EVP_MAC_fetch(context, "HMAC", nil)
    unsafe sha256 = EVP_MD_fetch(context, "SHA256", nil)
    unsafe sha384 = EVP_MD_fetch(context, "SHA384", nil)
    unsafe sha512 = EVP_MD_fetch(context, "SHA512", nil)
  }

  /// The version of the library in use, as it names itself.
  package static var version: String { unsafe String(cString: OpenSSL_version(OPENSSL_VERSION)) }

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
package func notAuthentic(_ what: String) -> KeyCustodyError {
  ERR_clear_error()
  return KeyCustodyError(
    .integrityFailure, .notAuthentic, "\(what) does not open: it was altered, or sealed for another purpose or key.",
    remedy: what.contains("sealed")
      ? "Check that the object's name, its class and every identifier are those it was sealed with." : "")
}

extension UnsafeRawBufferPointer {
  /// The bytes as C takes them.
  var octets: UnsafePointer<UInt8>? { unsafe baseAddress?.assumingMemoryBound(to: UInt8.self) }
}

extension UnsafeMutableRawBufferPointer {
  /// The bytes as C takes them.
  var octets: UnsafeMutablePointer<UInt8>? { unsafe baseAddress?.assumingMemoryBound(to: UInt8.self) }
}
