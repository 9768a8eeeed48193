internal import CKeyCustodyOpenSSL
package import KeyCustody

/// A private or secret key in this process's memory, and what it can do.
@safe
package final class SoftwareKey: @unchecked Sendable {
  // Unchecked: set once; an EVP_PKEY that is not changed may be used by several threads, and SecretBytes is only read.
  /// An RSA or EC key; `nil` for AES.
  let key: OpaquePointer?
  /// An AES key; empty for RSA and EC.
  private let bytes: SecretBytes
  /// Type and size.
  package let type: KeyType

  private init(asymmetric key: OpaquePointer, type: KeyType) {
    unsafe self.key = key
    bytes = SecretBytes(count: 0) { _ in }
    self.type = type
  }
  private init(symmetric bytes: consuming SecretBytes) {
    unsafe key = nil
    type = .aes(bits: bytes.count * 8)
    self.bytes = bytes
  }

  /// Makes a key.
  ///
  /// RSA takes a noticeable time (4096 bits: a second and more): not on the cooperative pool.
  package static func generate(_ type: KeyType, random: any RandomSource) throws(KeyCustodyError) -> SoftwareKey {
    try OpenSSLLibrary.allow(type)
    switch type {
    case .aes: return SoftwareKey(symmetric: try random.secret(32))
    case .rsa(let bits):
      return unsafe try generate("RSA", type) { (context) throws(KeyCustodyError) in
        try check(unsafe EVP_PKEY_CTX_set_rsa_keygen_bits(context, Int32(bits)), "EVP_PKEY_CTX_set_rsa_keygen_bits")
      }
    case .ec(let curve):
      return unsafe try generate("EC", type) { (context) throws(KeyCustodyError) in
        try check(unsafe EVP_PKEY_CTX_set_group_name(context, curve.rawValue), "EVP_PKEY_CTX_set_group_name")
      }
    }
  }

  private static func generate(
    _ algorithm: String, _ type: KeyType, _ configure: (OpaquePointer) throws(KeyCustodyError) -> Void
  ) throws(KeyCustodyError) -> SoftwareKey {
    let library = OpenSSLLibrary.shared
    let own = unsafe try library.requireContext()
    guard let context = unsafe EVP_PKEY_CTX_new_from_name(own, algorithm, library.properties) else {
      throw openSSLFault("EVP_PKEY_CTX_new_from_name")
    }
    defer { unsafe EVP_PKEY_CTX_free(context) }
    try check(unsafe EVP_PKEY_keygen_init(context), "EVP_PKEY_keygen_init")
    try unsafe configure(context)
    var key: OpaquePointer?
    try check(unsafe EVP_PKEY_generate(context, &key), "EVP_PKEY_generate")
    guard let key = unsafe key else { throw openSSLFault("EVP_PKEY_generate") }
    return unsafe SoftwareKey(asymmetric: key, type: type)
  }

  /// Reads material: PKCS#8 DER for RSA and EC, the bare 32 bytes for AES.
  ///
  /// - Throws: `invalidInput` (`malformed`, `wrong-key-type`) for anything but a sound key of the type.
  package static func read(_ bytes: borrowing SecretBytes, as type: KeyType) throws(KeyCustodyError) -> SoftwareKey {
    try OpenSSLLibrary.allow(type)
    if case .aes(let bits) = type {
      guard bytes.count * 8 == bits else {
        throw KeyCustodyError(.invalidInput, .malformed, "An \(type) key has \(bits / 8) bytes, not \(bytes.count).")
      }
      return SoftwareKey(symmetric: bytes.copy())
    }
    var key: OpaquePointer?
    let isWhole = unsafe decodePKCS8(bytes, &key)
    ERR_clear_error()
    guard let key = unsafe key, isWhole else {
      unsafe EVP_PKEY_free(key)
      throw KeyCustodyError(
        .invalidInput, .malformed, "That is not a private key in PKCS#8 DER form.",
        remedy: "Convert it: openssl pkcs8 -topk8 -nocrypt -outform DER -in KEY -out KEY.der.")
    }
    guard unsafe keyType(of: key) == type else {
      unsafe EVP_PKEY_free(key)
      throw KeyCustodyError(.invalidInput, .wrongKeyType, "That private key is not of type \(type).")
    }
    guard unsafe isSound(key) else {
      unsafe EVP_PKEY_free(key)
      throw KeyCustodyError(.invalidInput, .malformed, "That private key's numbers don't fit together.")
    }
    return unsafe SoftwareKey(asymmetric: key, type: type)
  }

  private static func decodePKCS8(_ bytes: borrowing SecretBytes, _ key: inout OpaquePointer?) -> Bool {
    guard bytes.count > 0 else { return false }
    let library = OpenSSLLibrary.shared
    // The decoder keeps the address of the result until it is freed.
    return unsafe withUnsafeMutablePointer(to: &key) { key in
      guard let own = unsafe try? library.requireContext(),
        let decoder = unsafe kc_new_pkcs8_decoder(key, own, library.properties)
      else { return false }
      defer { unsafe OSSL_DECODER_CTX_free(decoder) }
      return bytes.withBytes { bytes in
        unsafe bytes.withUnsafeBytes { bytes in
          var cursor = unsafe bytes.octets
          var left = bytes.count
          return unsafe OSSL_DECODER_from_data(decoder, &cursor, &left) == 1 && left == 0
        }
      }
    }
  }

  private static func isSound(_ key: OpaquePointer) -> Bool {
    guard let context = unsafe try? OpenSSLLibrary.shared.newContext(for: key) else { return false }
    defer {
      unsafe EVP_PKEY_CTX_free(context)
      ERR_clear_error()
    }
    return unsafe EVP_PKEY_check(context) == 1
  }

  /// The material, for a provider that stores it encrypted: PKCS#8 DER, or the bare bytes of an AES key.
  package func serialized() throws(KeyCustodyError) -> SecretBytes {
    guard let key = unsafe key else { return bytes.copy() }
    guard let encoder = unsafe kc_new_pkcs8_encoder(key, OpenSSLLibrary.shared.properties) else {
      throw openSSLFault("OSSL_ENCODER_CTX_new_for_pkey")
    }
    defer { unsafe OSSL_ENCODER_CTX_free(encoder) }
    var data: UnsafeMutablePointer<UInt8>?
    var count = 0
    try check(unsafe OSSL_ENCODER_to_data(encoder, &data, &count), "OSSL_ENCODER_to_data")
    defer { unsafe CRYPTO_clear_free(data, count, #fileID, #line) }
    guard let start = unsafe data else { throw openSSLFault("OSSL_ENCODER_to_data") }
    return unsafe SecretBytes(copying: RawSpan(_unsafeStart: UnsafeRawPointer(start), byteCount: count))
  }

  /// The public half as a DER `SubjectPublicKeyInfo`; `nil` for AES.
  package func publicKey() throws(KeyCustodyError) -> [UInt8]? {
    guard let key = unsafe key else { return nil }
    var data: UnsafeMutablePointer<UInt8>?
    let count = unsafe i2d_PUBKEY(key, &data)
    defer { unsafe CRYPTO_free(data, #fileID, #line) }
    guard count > 0, let start = unsafe data else { throw openSSLFault("i2d_PUBKEY") }
    return unsafe Array(UnsafeBufferPointer(start: start, count: Int(count)))
  }

  /// SHA-256 of the public key; for AES the first 16 bytes of HMAC-SHA-256(key, "key-custody/v1/fingerprint"), since a
  /// bare hash of a key would invite its use as one.
  package func fingerprint() throws(KeyCustodyError) -> [UInt8] {
    if let publicKey = try publicKey() { return try Hashing.sha256(publicKey) }
    let check = try bytes.withBytes { (bytes) throws(KeyCustodyError) in
      try Hashing.hmac(.sha256, key: bytes, [Array("key-custody/v1/fingerprint".utf8)])
    }
    return check.withBytes { bytes in (0..<16).map { bytes[$0] } }
  }

  /// Wraps a short secret.
  package func wrap(_ secret: borrowing SecretBytes, _ algorithm: WrapAlgorithm) throws(KeyCustodyError) -> [UInt8] {
    switch (type, algorithm) {
    case (.aes, .aes256KW):
      return try bytes.withBytes { (key) throws(KeyCustodyError) in try AES256KeyWrap.wrap(secret, key: key) }
    case (.rsa, .rsaOAEP), (.rsa, .rsaOAEP256):
      guard let key = unsafe key else { throw wrongKeyType(algorithm.rawValue, type) }
      return try unsafe PublicKey(sharing: key, type: type).wrap(secret, algorithm)
    default: throw wrongKeyType(algorithm.rawValue, type)
    }
  }

  /// Unwraps; one error for everything that does not unwrap.
  package func unwrap(_ wrapped: [UInt8], _ algorithm: WrapAlgorithm) throws(KeyCustodyError) -> SecretBytes {
    switch (type, algorithm) {
    case (.aes, .aes256KW):
      return try bytes.withBytes { (key) throws(KeyCustodyError) in try AES256KeyWrap.unwrap(wrapped, key: key) }
    case (.rsa(let bits), .rsaOAEP), (.rsa(let bits), .rsaOAEP256):
      guard let key = unsafe key, let hash = algorithm.oaepHash else {
        throw wrongKeyType(algorithm.rawValue, type)
      }
      try OpenSSLLibrary.allow(algorithm.rawValue, for: .unwrapping)
      guard wrapped.count == bits / 8 else { throw notAuthentic("The wrapped key") }
      let context = unsafe try OpenSSLLibrary.shared.newContext(for: key)
      defer { unsafe EVP_PKEY_CTX_free(context) }
      try check(unsafe EVP_PKEY_decrypt_init(context), "EVP_PKEY_decrypt_init")
      try unsafe setOAEP(context, hash)
      var length = wrapped.count
      var isAuthentic = false
      let decrypted = SecretBytes(count: wrapped.count) { output in
        unsafe output.withUnsafeMutableBytes { output in
          unsafe isAuthentic = EVP_PKEY_decrypt(context, output.octets, &length, wrapped, wrapped.count) == 1
        }
      }
      guard isAuthentic else { throw notAuthentic("The wrapped key") }
      return decrypted.withBytes { bytes in SecretBytes(copying: bytes.extracting(0..<length)) }
    default: throw wrongKeyType(algorithm.rawValue, type)
    }
  }

  /// Signs a digest; ECDSA signatures are r ‖ s.
  package func sign(_ digest: [UInt8], _ algorithm: SignatureAlgorithm) throws(KeyCustodyError) -> [UInt8] {
    guard SignatureAlgorithm.fitting(type).contains(algorithm), let key = unsafe key else {
      throw wrongKeyType(algorithm.rawValue, type)
    }
    try algorithm.checkDigest(digest)
    try OpenSSLLibrary.allow(algorithm.rawValue, for: .signing)
    let context = unsafe try OpenSSLLibrary.shared.newContext(for: key)
    defer { unsafe EVP_PKEY_CTX_free(context) }
    try check(unsafe EVP_PKEY_sign_init(context), "EVP_PKEY_sign_init")
    try unsafe setSignature(context, algorithm)
    var signature = [UInt8](repeating: 0, count: 1024)
    var length = signature.count
    try check(unsafe EVP_PKEY_sign(context, &signature, &length, digest, digest.count), "EVP_PKEY_sign")
    let encoded = Array(signature.prefix(length))
    guard case .ec(let curve) = type else { return encoded }
    guard let raw = ECDSASignature.raw(fromDER: encoded, curve: curve) else { throw openSSLFault("EVP_PKEY_sign") }
    return raw
  }

  deinit { unsafe EVP_PKEY_free(key) }
}

extension SignatureAlgorithm {
  /// Refuses a digest of another length than the algorithm's.
  ///
  /// - Throws: `invalidInput` (`wrong-size`).
  package func checkDigest(_ digest: [UInt8]) throws(KeyCustodyError) {
    guard digest.count == digestLength else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "\(rawValue) signs a digest of \(digestLength) bytes, not \(digest.count).")
    }
  }
}
