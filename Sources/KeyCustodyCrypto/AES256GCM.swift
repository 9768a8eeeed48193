internal import CKeyCustodyOpenSSL
package import KeyCustody

/// AES-256-GCM under one key, with a 96-bit nonce and a 128-bit tag (NIST SP 800-38D).
///
/// Contexts are kept and reused.
///
/// Used by one task at a time. The caller answers for nonces never repeating under a key.
package struct AES256GCM: ~Copyable, Sendable {
  /// What a cipher is set up for: each direction costs a context of about 1 KiB and a key schedule.
  package enum Direction: Sendable {
    case sealing
    case opening
    case both
  }

  private let sealing: CipherContext
  private let opening: CipherContext

  /// The length of a key in bytes.
  package static let keyLength = 32
  /// The length of a nonce in bytes.
  package static let nonceLength = 12
  /// The length of the tag that follows the ciphertext, in bytes.
  package static let tagLength = 16

  /// No key: every use fails.
  package init() {
    sealing = CipherContext()
    opening = CipherContext()
  }

  /// Sets up the cipher for a key of 32 bytes.
  package init(key: RawSpan, for direction: Direction = .both) throws(KeyCustodyError) {
    precondition(key.byteCount == Self.keyLength, "an AES-256 key has 32 bytes")
    let cipher = unsafe OpenSSLLibrary.shared.aes256GCM
    let first =
      unsafe direction == .opening
      ? CipherContext() : try CipherContext(cipher, key: key, encrypting: true, isBlockCipher: false)
    let second =
      unsafe direction == .sealing
      ? CipherContext() : try CipherContext(cipher, key: key, encrypting: false, isBlockCipher: false)
    sealing = first
    opening = second
  }

  /// Encrypts into `output`, which takes the ciphertext and the tag: 16 bytes more than the plaintext.
  package mutating func seal(
    _ plaintext: RawSpan, nonce: RawSpan, additionalData: RawSpan, into output: inout MutableRawSpan
  ) throws(KeyCustodyError) {
    precondition(output.byteCount == plaintext.byteCount + Self.tagLength && nonce.byteCount == Self.nonceLength)
    let context = unsafe sealing.pointer
    let code = unsafe nonce.withUnsafeBytes { nonce in
      unsafe additionalData.withUnsafeBytes { extra in
        unsafe plaintext.withUnsafeBytes { input in
          unsafe output.withUnsafeMutableBytes { output in
            unsafe kc_gcm_seal(
              context, nonce.octets, extra.octets, extra.count, input.octets, input.count, output.octets,
              output.octets?.advanced(by: input.count))
          }
        }
      }
    }
    try check(code, "EVP_EncryptUpdate")
  }

  /// Encrypts in place: `buffer` holds the plaintext and has room for the tag, 16 bytes, behind it.
  package mutating func seal(
    inPlace buffer: inout MutableRawSpan, nonce: RawSpan, additionalData: RawSpan
  ) throws(KeyCustodyError) {
    precondition(buffer.byteCount >= Self.tagLength && nonce.byteCount == Self.nonceLength)
    let context = unsafe sealing.pointer
    let code = unsafe nonce.withUnsafeBytes { nonce in
      unsafe additionalData.withUnsafeBytes { extra in
        unsafe buffer.withUnsafeMutableBytes { buffer in
          let count = buffer.count - Self.tagLength
          return unsafe kc_gcm_seal(
            context, nonce.octets, extra.octets, extra.count, buffer.octets, count, buffer.octets,
            buffer.octets?.advanced(by: count))
        }
      }
    }
    try check(code, "EVP_EncryptUpdate")
  }

  /// Decrypts `sealed` (ciphertext and tag) into `output`, 16 bytes shorter.
  ///
  /// When it does not authenticate, `output` is cleared and `false` is answered.
  package mutating func open(
    _ sealed: RawSpan, nonce: RawSpan, additionalData: RawSpan, into output: inout MutableRawSpan
  ) -> Bool {
    precondition(sealed.byteCount == output.byteCount + Self.tagLength && nonce.byteCount == Self.nonceLength)
    let context = unsafe opening.pointer
    let nonceAlone: Int32 = opening.takesNonceAlone ? 1 : 0
    let code = unsafe nonce.withUnsafeBytes { nonce in
      unsafe additionalData.withUnsafeBytes { extra in
        unsafe sealed.withUnsafeBytes { input in
          unsafe output.withUnsafeMutableBytes { output in
            unsafe kc_gcm_open(
              context, nonceAlone, nonce.octets, extra.octets, extra.count, input.octets, output.count, output.octets,
              input.octets?.advanced(by: output.count))
          }
        }
      }
    }
    if code != 1 { Self.clear(&output) }
    return code == 1
  }

  private static func clear(_ output: inout MutableRawSpan) {
    ERR_clear_error()
    unsafe output.withUnsafeMutableBytes { unsafe OPENSSL_cleanse($0.baseAddress, $0.count) }
  }
}

// Records: everything in as few calls as can be.
extension AES256GCM {
  /// Encrypts into `output`, which takes the ciphertext and the tag; in place where `plaintext` is `nil`.
  ///
  /// What is authenticated comes in the parts of a record's context: its start, the name of the object, and the
  /// identifiers, which are empty for none.
  package mutating func sealRecord(
    _ plaintext: RawSpan?, nonce: RawSpan, start: RawSpan, name: RawSpan, identifiers: RawSpan,
    into output: inout MutableRawSpan
  ) throws(KeyCustodyError) {
    let count = output.byteCount - Self.tagLength
    precondition(count >= 0 && plaintext?.byteCount ?? count == count && nonce.byteCount == Self.nonceLength)
    let context = unsafe sealing.pointer
    let code = unsafe withRecordContext(start, name, identifiers) { parts in
      unsafe nonce.withUnsafeBytes { nonce in
        unsafe output.withUnsafeMutableBytes { output in
          let target = unsafe output.octets
          let source =
            unsafe plaintext?.withUnsafeBytes { unsafe $0.octets }
            ?? UnsafePointer(target)
          return unsafe kc_gcm_seal_record(
            context, nonce.octets, parts, source, count, target, target?.advanced(by: count))
        }
      }
    }
    try check(code, "EVP_EncryptUpdate")
  }

  /// Decrypts `sealed` (ciphertext and tag) into `output`, 16 bytes shorter; the context as in sealing.
  ///
  /// When it does not authenticate, `output` is cleared and `false` is answered.
  package mutating func openRecord(
    _ sealed: RawSpan, nonce: RawSpan, start: RawSpan, name: RawSpan, identifiers: RawSpan,
    into output: inout MutableRawSpan
  ) -> Bool {
    let count = output.byteCount
    precondition(sealed.byteCount == count + Self.tagLength && nonce.byteCount == Self.nonceLength)
    let context = unsafe opening.pointer
    let nonceAlone: Int32 = opening.takesNonceAlone ? 1 : 0
    let code = unsafe withRecordContext(start, name, identifiers) { parts in
      unsafe nonce.withUnsafeBytes { nonce in
        unsafe sealed.withUnsafeBytes { input in
          unsafe output.withUnsafeMutableBytes { output in
            unsafe kc_gcm_open_record(
              context, nonceAlone, nonce.octets, parts, input.octets, count, output.octets,
              input.octets?.advanced(by: count))
          }
        }
      }
    }
    if code != 1 { Self.clear(&output) }
    return code == 1
  }
}

/// Lends the parts of a record's context to C.
@inline(__always)
private func withRecordContext(
  _ start: RawSpan, _ name: RawSpan, _ identifiers: RawSpan, _ body: (UnsafePointer<kc_record_context>) -> Int32
) -> Int32 {
  unsafe start.withUnsafeBytes { start in
    unsafe name.withUnsafeBytes { name in
      unsafe identifiers.withUnsafeBytes { end in
        let parts = unsafe kc_record_context(
          start: start.octets, name: name.octets, end: end.octets, start_length: start.count,
          name_length: name.count, end_length: end.count)
        return unsafe withUnsafePointer(to: parts) { unsafe body($0) }
      }
    }
  }
}
