internal import CKeyCustodyOpenSSL
internal import KeyCustody

/// AES key wrap (RFC 3394, SP 800-38F KW) as the module's own service: what FIPS mode uses.
///
/// Rounds put together from single blocks would be an implementation that nobody validated, though every block came
/// out of the module. Outside FIPS mode ``AES256KeyWrap`` goes by blocks, which is about nine times as fast.
enum ModuleKeyWrap {
  static func wrap(_ secret: borrowing SecretBytes, key: RawSpan) throws(KeyCustodyError) -> [UInt8] {
    let count = secret.count
    let wrapped = try secret.withBytes { (secret) throws(KeyCustodyError) in
      try run(secret, key: key, isWrapping: true, count: count + 8)
    }
    guard let wrapped else { throw openSSLFault("AES-256-WRAP") }
    return wrapped.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
  }

  static func unwrap(_ wrapped: [UInt8], key: RawSpan) throws(KeyCustodyError) -> SecretBytes {
    let secret = try run(unsafe wrapped.span.bytes, key: key, isWrapping: false, count: wrapped.count - 8)
    guard let secret else { throw notAuthentic("The wrapped key") }
    return secret
  }

  /// The result; `nil` when the module refuses the input.
  private static func run(
    _ input: RawSpan, key: RawSpan, isWrapping: Bool, count: Int
  ) throws(KeyCustodyError) -> SecretBytes? {
    guard let context = unsafe EVP_CIPHER_CTX_new() else { throw openSSLFault("EVP_CIPHER_CTX_new") }
    defer { unsafe EVP_CIPHER_CTX_free(context) }
    unsafe EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW)
    let code = unsafe key.withUnsafeBytes { key in
      unsafe EVP_CipherInit_ex2(
        context, OpenSSLLibrary.shared.aes256Wrap, key.octets, nil, isWrapping ? 1 : 0, nil)
    }
    try check(code, "EVP_CipherInit_ex2")
    var done = false
    // The module writes whole input blocks before it knows whether they are authentic.
    let room = max(count, input.byteCount)
    let result = SecretBytes(count: room) { output in
      unsafe output.withUnsafeMutableBytes { output in
        unsafe input.withUnsafeBytes { input in
          var length: Int32 = 0
          unsafe done =
            EVP_CipherUpdate(context, output.octets, &length, input.octets, Int32(input.count)) == 1
            && Int(length) == count
        }
      }
    }
    guard done else {
      ERR_clear_error()
      return nil
    }
    return result.withBytes { bytes in SecretBytes(copying: bytes.extracting(0..<count)) }
  }
}
