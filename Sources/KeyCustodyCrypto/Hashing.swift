internal import CKeyCustodyOpenSSL
package import KeyCustody

/// Hashes, and what is derived with them.
package enum Hashing {
  /// The digest of some bytes.
  package static func digest(_ algorithm: HashAlgorithm, _ parts: [UInt8]...) throws(KeyCustodyError) -> [UInt8] {
    guard let context = unsafe EVP_MD_CTX_new() else { throw openSSLFault("EVP_MD_CTX_new") }
    defer { unsafe EVP_MD_CTX_free(context) }
    try check(unsafe EVP_DigestInit_ex2(context, OpenSSLLibrary.shared.digest(algorithm), nil), "EVP_DigestInit_ex2")
    for part in parts { try check(unsafe EVP_DigestUpdate(context, part, part.count), "EVP_DigestUpdate") }
    var result = [UInt8](repeating: 0, count: algorithm.length)
    try check(unsafe EVP_DigestFinal_ex(context, &result, nil), "EVP_DigestFinal_ex")
    return result
  }

  /// SHA-256, the usual one.
  package static func sha256(_ bytes: [UInt8]) throws(KeyCustodyError) -> [UInt8] { try digest(.sha256, bytes) }

  /// HMAC (RFC 2104) over the parts put together, into memory that is cleared.
  package static func hmac(
    _ algorithm: HashAlgorithm, key: RawSpan, _ parts: [[UInt8]]
  ) throws(KeyCustodyError) -> SecretBytes {
    guard let mac = unsafe OpenSSLLibrary.shared.hmac, let context = unsafe EVP_MAC_CTX_new(mac) else {
      throw openSSLFault("EVP_MAC_CTX_new")
    }
    defer { unsafe EVP_MAC_CTX_free(context) }
    var name = Array(algorithm.rawValue.utf8CString)
    let code = unsafe key.withUnsafeBytes { key in unsafe kc_hmac_init(context, key.octets, key.count, &name) }
    try check(code, "EVP_MAC_init")
    for part in parts { try check(unsafe EVP_MAC_update(context, part, part.count), "EVP_MAC_update") }
    return try SecretBytes(count: algorithm.length) { (output: inout MutableRawSpan) throws(KeyCustodyError) in
      let code = unsafe output.withUnsafeMutableBytes { output in
        var length = 0
        return unsafe EVP_MAC_final(context, output.octets, &length, output.count)
      }
      try check(code, "EVP_MAC_final")
    }
  }

  /// HKDF-Expand (RFC 5869, section 2.3).
  package static func expand(
    _ algorithm: HashAlgorithm, key: RawSpan, info: [UInt8], count: Int
  ) throws(KeyCustodyError) -> SecretBytes {
    precondition((1...255 * algorithm.length).contains(count), "RFC 5869 limits the length")
    return try SecretBytes(count: count) { (output: inout MutableRawSpan) throws(KeyCustodyError) in
      var block = SecretBytes(count: 0) { _ in }
      var done = 0
      var counter: UInt8 = 1
      while done < count {
        // The previous block is itself output and goes in as bytes for the length of the call only.
        var previous = block.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
        block = try hmac(algorithm, key: key, [previous, info, [counter]])
        unsafe previous.withUnsafeMutableBytes { unsafe OPENSSL_cleanse($0.baseAddress, $0.count) }
        block.withBytes { bytes in
          for index in 0..<min(bytes.byteCount, count - done) {
            output.storeBytes(of: bytes[index], toByteOffset: done + index, as: UInt8.self)
          }
        }
        done += algorithm.length
        counter &+= 1
      }
    }
  }

  /// PBKDF2 (RFC 8018, section 5.2) with HMAC-SHA-512, 32 bytes.
  ///
  /// In FIPS mode the module refuses a salt of less than 16 bytes and less than 1,000 rounds (SP 800-132).
  package static func pbkdf2(
    passphrase: borrowing SecretBytes, salt: [UInt8], iterations: Int
  ) throws(KeyCustodyError) -> SecretBytes {
    let library = OpenSSLLibrary.shared
    guard let function = unsafe library.pbkdf2, let context = unsafe EVP_KDF_CTX_new(function) else {
      throw openSSLFault("EVP_KDF_CTX_new")
    }
    defer { unsafe EVP_KDF_CTX_free(context) }
    var name = Array(HashAlgorithm.sha512.rawValue.utf8CString)
    return try SecretBytes(count: 32) { (output: inout MutableRawSpan) throws(KeyCustodyError) in
      let code = passphrase.withBytes { passphrase in
        unsafe passphrase.withUnsafeBytes { passphrase in
          unsafe output.withUnsafeMutableBytes { output in
            unsafe kc_pbkdf2(
              context, passphrase.baseAddress, passphrase.count, salt, salt.count, UInt64(iterations), &name,
              library.properties, output.octets, output.count)
          }
        }
      }
      try check(code, "EVP_KDF_derive")
    }
  }
}

/// Random bytes of OpenSSL's generator in our library context: in FIPS mode the module's own (SP 800-90A).
package struct OpenSSLRandom: RandomSource {
  package init() {}
  package func fill(_ buffer: inout MutableRawSpan) throws(KeyCustodyError) {
    let context = unsafe try OpenSSLLibrary.shared.requireContext()
    let code = unsafe buffer.withUnsafeMutableBytes { bytes in
      unsafe RAND_bytes_ex(context, bytes.octets, bytes.count, 256)
    }
    try check(code, "RAND_bytes_ex")
  }
}
