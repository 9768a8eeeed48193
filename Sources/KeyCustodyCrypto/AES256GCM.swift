internal import CKeyCustodyOpenSSL
package import KeyCustody

/// AES-256-GCM under one key, with a 96-bit nonce and a 128-bit tag (NIST SP 800-38D).
///
/// Contexts are kept and reused.
///
/// Used by one task at a time. The caller answers for nonces never repeating under a key.
package struct AES256GCM: ~Copyable, Sendable {
  private let sealing: CipherContext
  private let opening: CipherContext

  /// The length of a key in bytes.
  package static let keyLength = 32
  /// The length of a nonce in bytes.
  package static let nonceLength = 12
  /// The length of the tag that follows the ciphertext, in bytes.
  package static let tagLength = 16

  /// Sets up the cipher for a key of 32 bytes.
  package init(key: RawSpan) throws(KeyCustodyError) {
    precondition(key.byteCount == Self.keyLength, "an AES-256 key has 32 bytes")
    let cipher = unsafe OpenSSLLibrary.shared.aes256GCM
    let first = unsafe try CipherContext(cipher, key: key, encrypting: true)
    let second = unsafe try CipherContext(cipher, key: key, encrypting: false)
    sealing = first
    opening = second
  }

  /// Encrypts into `output`, which takes the ciphertext and the tag: 16 bytes more than the plaintext.
  package mutating func seal(
    _ plaintext: RawSpan, nonce: RawSpan, additionalData: RawSpan, into output: inout MutableRawSpan
  ) throws(KeyCustodyError) {
    precondition(output.byteCount == plaintext.byteCount + Self.tagLength && nonce.byteCount == Self.nonceLength)
    let context = unsafe sealing.pointer
    let done = unsafe nonce.withUnsafeBytes { nonce in
      unsafe additionalData.withUnsafeBytes { extra in
        unsafe plaintext.withUnsafeBytes { input in
          unsafe output.withUnsafeMutableBytes { output in
            var length: Int32 = 0
            guard let target = unsafe output.octets,
              unsafe EVP_EncryptInit_ex2(context, nil, nil, nonce.octets, nil) == 1,
              unsafe extra.isEmpty
                || EVP_EncryptUpdate(context, nil, &length, extra.octets, Int32(extra.count)) == 1,
              unsafe input.isEmpty
                || EVP_EncryptUpdate(context, target, &length, input.octets, Int32(input.count)) == 1,
              unsafe EVP_EncryptFinal_ex(context, target + input.count, &length) == 1
            else { return false }
            return unsafe EVP_CIPHER_CTX_ctrl(
              context, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagLength), target + input.count) == 1
          }
        }
      }
    }
    guard done else { throw openSSLFault("EVP_EncryptUpdate") }
  }

  /// Decrypts `sealed` (ciphertext and tag) into `output`, 16 bytes shorter.
  ///
  /// When it does not authenticate, `output` is cleared and `false` is answered.
  package mutating func open(
    _ sealed: RawSpan, nonce: RawSpan, additionalData: RawSpan, into output: inout MutableRawSpan
  ) -> Bool {
    precondition(sealed.byteCount == output.byteCount + Self.tagLength && nonce.byteCount == Self.nonceLength)
    let context = unsafe opening.pointer
    let isAuthentic = unsafe nonce.withUnsafeBytes { nonce in
      unsafe additionalData.withUnsafeBytes { extra in
        unsafe sealed.withUnsafeBytes { input in
          unsafe output.withUnsafeMutableBytes { output in
            var length: Int32 = 0
            var spare: UInt8 = 0
            let count = output.count
            guard let source = unsafe input.octets,
              unsafe EVP_DecryptInit_ex2(context, nil, nil, nonce.octets, nil) == 1,
              unsafe extra.isEmpty
                || EVP_DecryptUpdate(context, nil, &length, extra.octets, Int32(extra.count)) == 1,
              unsafe output.isEmpty
                || EVP_DecryptUpdate(context, output.octets, &length, source, Int32(count)) == 1,
              unsafe EVP_CIPHER_CTX_ctrl(
                context, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagLength),
                UnsafeMutableRawPointer(mutating: source + count)) == 1
            else { return false }
            return unsafe EVP_DecryptFinal_ex(context, &spare, &length) == 1
          }
        }
      }
    }
    if !isAuthentic {
      ERR_clear_error()
      unsafe output.withUnsafeMutableBytes { unsafe OPENSSL_cleanse($0.baseAddress, $0.count) }
    }
    return isAuthentic
  }
}
