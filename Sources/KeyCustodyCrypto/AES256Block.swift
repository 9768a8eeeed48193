internal import CKeyCustodyOpenSSL
package import KeyCustody

/// The bare AES-256 block cipher under one key: what key wrap and nonce-derived keys are built from.
package struct AES256Block: ~Copyable, Sendable {
  private let encrypting: CipherContext
  private let decrypting: CipherContext

  /// Sets up the cipher for a key of 32 bytes.
  package init(key: RawSpan, for direction: AES256GCM.Direction = .both) throws(KeyCustodyError) {
    precondition(key.byteCount == 32, "an AES-256 key has 32 bytes")
    let cipher = unsafe OpenSSLLibrary.shared.aes256ECB
    let first =
      unsafe direction == .opening
      ? CipherContext() : try CipherContext(cipher, key: key, encrypting: true, isBlockCipher: true)
    let second =
      unsafe direction == .sealing
      ? CipherContext() : try CipherContext(cipher, key: key, encrypting: false, isBlockCipher: true)
    encrypting = first
    decrypting = second
  }

  /// Encrypts whole blocks of 16 bytes in place.
  package mutating func encrypt(_ blocks: inout MutableRawSpan) throws(KeyCustodyError) {
    let context = unsafe encrypting.pointer
    let code = unsafe blocks.withUnsafeMutableBytes { bytes in
      var length: Int32 = 0
      return unsafe EVP_EncryptUpdate(context, bytes.octets, &length, bytes.octets, Int32(bytes.count))
    }
    try check(code, "EVP_EncryptUpdate")
  }

  /// Decrypts whole blocks of 16 bytes in place.
  package mutating func decrypt(_ blocks: inout MutableRawSpan) throws(KeyCustodyError) {
    let context = unsafe decrypting.pointer
    let code = unsafe blocks.withUnsafeMutableBytes { bytes in
      var length: Int32 = 0
      return unsafe EVP_DecryptUpdate(context, bytes.octets, &length, bytes.octets, Int32(bytes.count))
    }
    try check(code, "EVP_DecryptUpdate")
  }
}

/// AES key wrap with a 256-bit KEK (RFC 3394), for secrets of 16 to 64 bytes in steps of 8.
package enum AES256KeyWrap {
  private static let initialValue: UInt64 = 0xa6a6_a6a6_a6a6_a6a6

  /// Wraps a secret; the result is 8 bytes longer.
  ///
  /// - Throws: `invalidInput` (`wrong-size`).
  package static func wrap(_ secret: borrowing SecretBytes, key: RawSpan) throws(KeyCustodyError) -> [UInt8] {
    guard (16...64).contains(secret.count), secret.count.isMultiple(of: 8) else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "A256KW wraps 16 to 64 bytes in steps of 8, not \(secret.count).")
    }
    if OpenSSLLibrary.shared.module.mode == .fips { return try ModuleKeyWrap.wrap(secret, key: key) }
    var block = try AES256Block(key: key, for: .sealing)
    let count = secret.count / 8
    let result = try SecretBytes(count: secret.count + 8) { (buffer: inout MutableRawSpan) throws(KeyCustodyError) in
      secret.withBytes { bytes in
        for index in 0..<secret.count { buffer.storeBytes(of: bytes[index], toByteOffset: 8 + index, as: UInt8.self) }
      }
      var integrity = initialValue
      _ = try SecretBytes(count: 16) { (work: inout MutableRawSpan) throws(KeyCustodyError) in
        for step in 1...(6 * count) {
          let offset = ((step - 1) % count + 1) * 8
          load(integrity, buffer.bytes, offset, into: &work)
          try block.encrypt(&work)
          integrity = store(work.bytes, into: &buffer, at: offset) ^ UInt64(step)
        }
      }
      buffer.storeBytes(of: integrity.bigEndian, toByteOffset: 0, as: UInt64.self)
    }
    return result.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
  }

  /// Unwraps; `integrityFailure` for anything that was not wrapped with this key.
  package static func unwrap(_ wrapped: [UInt8], key: RawSpan) throws(KeyCustodyError) -> SecretBytes {
    guard (24...72).contains(wrapped.count), wrapped.count.isMultiple(of: 8) else {
      throw notAuthentic("The wrapped key")
    }
    if OpenSSLLibrary.shared.module.mode == .fips { return try ModuleKeyWrap.unwrap(wrapped, key: key) }
    var block = try AES256Block(key: key, for: .opening)
    let count = wrapped.count / 8 - 1
    var isAuthentic = false
    let secret = try SecretBytes(count: wrapped.count) { (buffer: inout MutableRawSpan) throws(KeyCustodyError) in
      for (index, byte) in wrapped.enumerated() { buffer.storeBytes(of: byte, toByteOffset: index, as: UInt8.self) }
      var integrity = UInt64(bigEndian: unsafe buffer.bytes.unsafeLoad(as: UInt64.self))
      _ = try SecretBytes(count: 16) { (work: inout MutableRawSpan) throws(KeyCustodyError) in
        for step in (1...(6 * count)).reversed() {
          let offset = ((step - 1) % count + 1) * 8
          load(integrity ^ UInt64(step), buffer.bytes, offset, into: &work)
          try block.decrypt(&work)
          integrity = store(work.bytes, into: &buffer, at: offset)
        }
      }
      isAuthentic = integrity == initialValue
    }
    guard isAuthentic else { throw notAuthentic("The wrapped key") }
    return secret.withBytes { bytes in SecretBytes(copying: bytes.extracting(8..<bytes.byteCount)) }
  }

  /// Fills a block with `first` ‖ the eight bytes at `offset`.
  private static func load(_ first: UInt64, _ source: RawSpan, _ offset: Int, into work: inout MutableRawSpan) {
    work.storeBytes(of: first.bigEndian, toByteOffset: 0, as: UInt64.self)
    let second = unsafe source.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
    work.storeBytes(of: second, toByteOffset: 8, as: UInt64.self)
  }

  /// Puts a block's second half back to `offset`; answers its first.
  private static func store(_ work: RawSpan, into target: inout MutableRawSpan, at offset: Int) -> UInt64 {
    target.storeBytes(
      of: unsafe work.unsafeLoad(fromByteOffset: 8, as: UInt64.self), toByteOffset: offset, as: UInt64.self)
    return UInt64(bigEndian: unsafe work.unsafeLoad(as: UInt64.self))
  }
}
