internal import CKeyCustodyOpenSSL
package import KeyCustody

/// SHA-256 of many messages, one after another, each in parts that are not copied.
///
/// ``Hashing`` makes a context for each message, which takes longer than a short message does.
@safe
package final class MessageHasher {
  private let context: OpaquePointer

  /// Makes one, in which no message is begun.
  package init() throws(KeyCustodyError) {
    guard let made = unsafe EVP_MD_CTX_new() else { throw openSSLFault("EVP_MD_CTX_new") }
    unsafe context = made
  }

  deinit { unsafe EVP_MD_CTX_free(context) }

  /// Begins a message, whatever became of the one before.
  package func begin() throws(KeyCustodyError) {
    try check(unsafe EVP_DigestInit_ex2(context, OpenSSLLibrary.shared.sha256, nil), "EVP_DigestInit_ex2")
  }

  /// Adds a part.
  package func add(_ part: RawSpan) throws(KeyCustodyError) {
    let code = unsafe part.withUnsafeBytes { bytes in unsafe EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) }
    try check(code, "EVP_DigestUpdate")
  }

  /// Adds a part.
  package func add(_ part: [UInt8]) throws(KeyCustodyError) {
    try check(unsafe EVP_DigestUpdate(context, part, part.count), "EVP_DigestUpdate")
  }

  /// Ends the message, and answers its digest.
  package func end() throws(KeyCustodyError) -> [UInt8] {
    var result = [UInt8](repeating: 0, count: HashAlgorithm.sha256.length)
    try check(unsafe EVP_DigestFinal_ex(context, &result, nil), "EVP_DigestFinal_ex")
    return result
  }
}
