internal import CKeyCustodyOpenSSL
package import KeyCustody

/// A public key, from its DER `SubjectPublicKeyInfo`: what can be done without the provider that holds the private half.
@safe
package final class PublicKey: @unchecked Sendable {
  // Unchecked: an EVP_PKEY is never changed after this initialiser; OpenSSL allows concurrent use of such keys.
  let key: OpaquePointer
  /// Type and size.
  package let type: KeyType

  /// Reads a public key.
  ///
  /// - Throws: `invalidInput` (`malformed`, `wrong-key-type`).
  package init(spki: [UInt8]) throws(KeyCustodyError) {
    let context = unsafe try OpenSSLLibrary.shared.requireContext()
    let parsed = unsafe spki.withUnsafeBufferPointer { bytes in
      var cursor = bytes.baseAddress
      let key = unsafe d2i_PUBKEY_ex(nil, &cursor, bytes.count, context, OpenSSLLibrary.shared.properties)
      let isWhole = unsafe cursor == bytes.baseAddress.map { unsafe $0 + bytes.count }
      return unsafe (key, isWhole)
    }
    guard let key = unsafe parsed.0, unsafe parsed.1 else {
      unsafe EVP_PKEY_free(parsed.0)
      ERR_clear_error()
      throw KeyCustodyError(.invalidInput, .malformed, "That is not a public key (DER SubjectPublicKeyInfo).")
    }
    guard let type = unsafe keyType(of: key) else {
      unsafe EVP_PKEY_free(key)
      throw KeyCustodyError(.invalidInput, .wrongKeyType, "That public key is of a type or size that is not offered.")
    }
    unsafe self.key = key
    self.type = type
  }

  /// The public half of a key in memory; the two share it.
  init(sharing key: OpaquePointer, type: KeyType) {
    unsafe EVP_PKEY_up_ref(key)
    unsafe self.key = key
    self.type = type
  }

  /// Wraps a short secret by RSAES-OAEP (RFC 8017, section 7.1).
  ///
  /// - Throws: `invalidInput` (`wrong-key-type`, `wrong-size`).
  package func wrap(_ secret: borrowing SecretBytes, _ algorithm: WrapAlgorithm) throws(KeyCustodyError) -> [UInt8] {
    guard case .rsa(let bits) = type, let hash = algorithm.oaepHash else {
      throw wrongKeyType(algorithm.rawValue, type)
    }
    try OpenSSLLibrary.allow(algorithm.rawValue, for: .wrapping)
    let room = bits / 8 - 2 * hash.length - 2
    guard (1...room).contains(secret.count) else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "\(algorithm) with \(type) wraps 1 to \(room) bytes, not \(secret.count).")
    }
    let context = unsafe try OpenSSLLibrary.shared.newContext(for: key)
    defer { unsafe EVP_PKEY_CTX_free(context) }
    try check(unsafe EVP_PKEY_encrypt_init(context), "EVP_PKEY_encrypt_init")
    try unsafe setOAEP(context, hash)
    var output = [UInt8](repeating: 0, count: bits / 8)
    var length = output.count
    let code = secret.withBytes { bytes in
      unsafe bytes.withUnsafeBytes { bytes in
        unsafe EVP_PKEY_encrypt(context, &output, &length, bytes.octets, bytes.count)
      }
    }
    try check(code, "EVP_PKEY_encrypt")
    return Array(output.prefix(length))
  }

  /// Whether a signature over a digest is this key's.
  ///
  /// ECDSA signatures are r ‖ s.
  package func verify(
    _ signature: [UInt8], digest: [UInt8], _ algorithm: SignatureAlgorithm
  ) throws(KeyCustodyError) -> Bool {
    guard SignatureAlgorithm.fitting(type).contains(algorithm), digest.count == algorithm.digestLength else {
      return false
    }
    try OpenSSLLibrary.allow(algorithm.rawValue, for: .signing)
    let context = unsafe try OpenSSLLibrary.shared.newContext(for: key)
    defer {
      unsafe EVP_PKEY_CTX_free(context)
      ERR_clear_error()
    }
    try check(unsafe EVP_PKEY_verify_init(context), "EVP_PKEY_verify_init")
    try unsafe setSignature(context, algorithm)
    var encoded = signature
    if case .ec(let curve) = type {
      guard let der = ECDSASignature.der(fromRaw: signature, curve: curve) else { return false }
      encoded = der
    }
    return unsafe EVP_PKEY_verify(context, encoded, encoded.count, digest, digest.count) == 1
  }

  deinit { unsafe EVP_PKEY_free(key) }
}

extension SignatureAlgorithm {
  /// The hash function whose digests it signs.
  package var hash: HashAlgorithm {
    switch self {
    case .es256, .rs256, .ps256: .sha256
    case .es384, .rs384, .ps384: .sha384
    case .es512, .rs512, .ps512: .sha512
    }
  }
}

extension WrapAlgorithm {
  /// The hash of an OAEP algorithm, for the label and the mask alike.
  var oaepHash: OAEPHash? {
    switch self {
    case .rsaOAEP: .sha1
    case .rsaOAEP256: .sha256
    default: nil
    }
  }
}

/// The hash functions OAEP is offered with.
enum OAEPHash: String {
  case sha1 = "SHA1"
  case sha256 = "SHA256"
  var length: Int { self == .sha1 ? 20 : 32 }
  var digest: OpaquePointer? {
    unsafe self == .sha1 ? OpenSSLLibrary.shared.sha1 : OpenSSLLibrary.shared.sha256
  }
}

/// Undoes the OAEP encoding of a block that a device decrypted without it (RFC 8017, section 7.1.2, step 3), in constant
/// time and with one error for every failure.
///
/// - Throws: `unsupported` (`not-offered`) in FIPS mode: SP 800-56B rev. 2 wants the decoding within the module.
package func decodeOAEP(_ block: borrowing SecretBytes, _ algorithm: WrapAlgorithm) throws(KeyCustodyError)
  -> SecretBytes
{
  guard let hash = algorithm.oaepHash else {
    throw KeyCustodyError(.unsupported, .notOffered, "'\(algorithm)' is not an OAEP algorithm.")
  }
  guard OpenSSLLibrary.shared.module.mode == .standard else {
    throw KeyCustodyError(
      .unsupported, .notOffered,
      "FIPS mode refuses to undo the padding of '\(algorithm)' on the host for a token that can't: that is the module's.",
      remedy:
        "Take 'emulate' out of the key provider's configuration, and use a key that the token unwraps with itself.")
  }
  let count = block.count
  var length: Int32 = -1
  let decoded = SecretBytes(count: count) { output in
    block.withBytes { block in
      unsafe block.withUnsafeBytes { block in
        unsafe output.withUnsafeMutableBytes { output in
          unsafe length = kc_oaep_decode(
            output.octets, Int32(count), block.octets, Int32(count), hash.digest)
        }
      }
    }
  }
  guard length >= 0 else { throw notAuthentic("The wrapped key") }
  return decoded.withBytes { bytes in SecretBytes(copying: bytes.extracting(0..<Int(length))) }
}

func wrongKeyType(_ algorithm: String, _ type: KeyType) -> KeyCustodyError {
  KeyCustodyError(
    .invalidInput, .wrongKeyType, "'\(algorithm)' does not fit a key of type \(type).",
    remedy: "Use an algorithm of that key type, or another key.")
}

func setOAEP(_ context: OpaquePointer, _ hash: OAEPHash) throws(KeyCustodyError) {
  let properties = unsafe OpenSSLLibrary.shared.properties
  try check(unsafe EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING), "EVP_PKEY_CTX_set_rsa_padding")
  try check(
    unsafe EVP_PKEY_CTX_set_rsa_oaep_md_name(context, hash.rawValue, properties), "EVP_PKEY_CTX_set_rsa_oaep_md_name")
  try check(
    unsafe EVP_PKEY_CTX_set_rsa_mgf1_md_name(context, hash.rawValue, properties), "EVP_PKEY_CTX_set_rsa_mgf1_md_name")
}

func setSignature(_ context: OpaquePointer, _ algorithm: SignatureAlgorithm) throws(KeyCustodyError) {
  // Before the padding: for PSS without a hash OpenSSL takes SHA-1 first, which a FIPS provider refuses.
  try check(
    unsafe EVP_PKEY_CTX_set_signature_md(context, OpenSSLLibrary.shared.digest(algorithm.hash)),
    "EVP_PKEY_CTX_set_signature_md")
  switch algorithm {
  case .es256, .es384, .es512: break
  case .rs256, .rs384, .rs512:
    try check(unsafe EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING), "EVP_PKEY_CTX_set_rsa_padding")
  case .ps256, .ps384, .ps512:
    try check(unsafe EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING), "EVP_PKEY_CTX_set_rsa_padding")
    try check(
      unsafe EVP_PKEY_CTX_set_rsa_pss_saltlen(context, kc_rsa_pss_saltlen_digest), "EVP_PKEY_CTX_set_rsa_pss_saltlen")
  }
}

/// The type and size of a key, where they are among the offered ones.
func keyType(of key: OpaquePointer) -> KeyType? {
  var name = [CChar](repeating: 0, count: 64)
  if unsafe EVP_PKEY_is_a(key, "RSA") == 1 {
    let type = KeyType.rsa(bits: Int(unsafe EVP_PKEY_get_bits(key)))
    return KeyType.offered.contains(type) ? type : nil
  }
  guard unsafe EVP_PKEY_is_a(key, "EC") == 1, unsafe EVP_PKEY_get_group_name(key, &name, name.count, nil) == 1 else {
    return nil
  }
  switch String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) {
  case "prime256v1", "P-256": return .ec(.p256)
  case "secp384r1", "P-384": return .ec(.p384)
  case "secp521r1", "P-521": return .ec(.p521)
  default: return nil
  }
}
