internal import CKeyCustodyOpenSSL
internal import KeyCustody

/// A cipher, keyed for one direction.
///
/// It has one owner; whoever uses it does so alone.
@safe
struct CipherContext: ~Copyable, @unchecked Sendable {
  // Unchecked: the context has one owner, and every type that holds one uses it in mutating methods only.
  /// `nil` for a direction that is not needed.
  let pointer: OpaquePointer?
  /// Whether each message's nonce is given without EVP's initialization (`kc_gcm_open`).
  let takesNonceAlone: Bool

  /// None: for the direction that is not needed.
  init() {
    unsafe pointer = nil
    takesNonceAlone = false
  }

  /// - Parameter isBlockCipher: whether padding is to be switched off. A stream mode has none, and a context that was told
  ///   so tells the cipher again at every message, which takes a fifth of a short one's time.
  init(_ cipher: OpaquePointer?, key: RawSpan, encrypting: Bool, isBlockCipher: Bool) throws(KeyCustodyError) {
    guard let context = unsafe EVP_CIPHER_CTX_new() else { throw openSSLFault("EVP_CIPHER_CTX_new") }
    let code = unsafe key.withUnsafeBytes { bytes in
      unsafe EVP_CipherInit_ex2(context, cipher, bytes.octets, nil, encrypting ? 1 : 0, nil)
    }
    guard code == 1 else {
      unsafe EVP_CIPHER_CTX_free(context)
      throw openSSLFault("EVP_CipherInit_ex2")
    }
    if isBlockCipher { unsafe EVP_CIPHER_CTX_set_padding(context, 0) }
    // The module of FIPS mode is used by the book.
    let mayTakeNonceAlone = !encrypting && !isBlockCipher && OpenSSLLibrary.shared.module.mode != .fips
    takesNonceAlone = unsafe mayTakeNonceAlone && kc_gcm_takes_nonce_alone(context) == 1
    unsafe pointer = context
  }

  deinit { unsafe EVP_CIPHER_CTX_free(pointer) }
}
