internal import KeyCustody
internal import KeyCustodyCrypto

/// JSON Web Encryption with AES-256-GCM (RFC 7516; RFC 7518, section 5.3), whatever wraps the content key.
enum FlattenedJWE {
  struct Parts {
    var encryptedKey: [UInt8]
    var iv: [UInt8]
    var ciphertext: [UInt8]
    var tag: [UInt8]
  }

  /// Encrypts, with the base64url text of the protected header as additional data (RFC 7516, section 5.1, step 14); the
  /// encrypted key is left empty.
  static func seal(
    _ content: borrowing SecretBytes, under contentKey: borrowing SecretBytes, protected: String,
    random: any RandomSource
  ) throws(KeyCustodyError) -> Parts {
    let iv = try random.bytes(AES256GCM.nonceLength)
    let aad = Array(protected.utf8)
    var cipher = try contentKey.withBytes { (key) throws(KeyCustodyError) in try AES256GCM(key: key, for: .sealing) }
    var sealed: [UInt8] = []
    try content.withBytes { (content) throws(KeyCustodyError) in
      try sealed.append(count: content.byteCount + AES256GCM.tagLength) {
        (output: inout MutableRawSpan) throws(KeyCustodyError) in
        try cipher.seal(
          content, nonce: unsafe iv.span.bytes, additionalData: unsafe aad.span.bytes, into: &output)
      }
    }
    return Parts(
      encryptedKey: [], iv: iv, ciphertext: Array(sealed.dropLast(AES256GCM.tagLength)),
      tag: sealed.suffix(AES256GCM.tagLength))
  }

  /// Decrypts, with the content key that was unwrapped.
  ///
  /// - Throws: `integrityFailure` (`not-authentic`).
  static func open(
    _ parts: Parts, protected: String, with contentKey: borrowing SecretBytes
  ) throws(KeyCustodyError) -> SecretBytes {
    try requireLengths(parts)
    guard contentKey.count == AES256GCM.keyLength else { throw notAuthentic("The key envelope") }
    let aad = Array(protected.utf8)
    let sealed = parts.ciphertext + parts.tag
    var cipher = try contentKey.withBytes { (key) throws(KeyCustodyError) in try AES256GCM(key: key, for: .opening) }
    return try SecretBytes(count: parts.ciphertext.count) { (content: inout MutableRawSpan) throws(KeyCustodyError) in
      let isAuthentic = cipher.open(
        unsafe sealed.span.bytes, nonce: unsafe parts.iv.span.bytes, additionalData: unsafe aad.span.bytes,
        into: &content)
      guard isAuthentic else { throw notAuthentic("The key envelope") }
    }
  }

  static func requireLengths(_ parts: Parts) throws(KeyCustodyError) {
    guard parts.iv.count == AES256GCM.nonceLength, parts.tag.count == AES256GCM.tagLength else {
      throw notAuthentic("The key envelope")
    }
  }
}
