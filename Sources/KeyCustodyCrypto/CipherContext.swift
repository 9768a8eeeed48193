internal import CKeyCustodyOpenSSL
internal import KeyCustody

/// A cipher, keyed for one direction.
///
/// It has one owner; whoever uses it does so alone.
@safe
struct CipherContext: ~Copyable, @unchecked Sendable {
  // Unchecked: the context has one owner, and every type that holds one uses it in mutating methods only.
  let pointer: OpaquePointer

  init(_ cipher: OpaquePointer?, key: RawSpan, encrypting: Bool) throws(KeyCustodyError) {
    guard let context = unsafe EVP_CIPHER_CTX_new() else { throw openSSLFault("EVP_CIPHER_CTX_new") }
    let code = unsafe key.withUnsafeBytes { bytes in
      unsafe EVP_CipherInit_ex2(context, cipher, bytes.octets, nil, encrypting ? 1 : 0, nil)
    }
    guard code == 1 else {
      unsafe EVP_CIPHER_CTX_free(context)
      throw openSSLFault("EVP_CipherInit_ex2")
    }
    unsafe EVP_CIPHER_CTX_set_padding(context, 0)
    unsafe pointer = context
  }

  deinit { unsafe EVP_CIPHER_CTX_free(pointer) }
}
