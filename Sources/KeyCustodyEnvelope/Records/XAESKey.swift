internal import KeyCustody
internal import KeyCustodyCrypto

/// The half of an extended nonce that a key is derived from.
struct NoncePrefix: Hashable, Sendable {
  static let length = 12
  private let high: UInt64
  private let low: UInt32

  static let zero = NoncePrefix()
  private init() { (high, low) = (0, 0) }

  /// Takes the first 12 bytes.
  init(_ bytes: RawSpan) {
    high = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt64.self)
    low = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: 8, as: UInt32.self)
  }

  func store(in target: inout MutableRawSpan, at offset: Int) {
    target.storeBytes(of: high, toByteOffset: offset, as: UInt64.self)
    target.storeBytes(of: low, toByteOffset: offset + 8, as: UInt32.self)
  }
}

/// The key of XAES-256-GCM (c2sp.org/XAES-256-GCM), ready to derive a key for AES-256-GCM from a nonce's first half.
struct XAESKey: ~Copyable, Sendable {
  private var block: AES256Block
  /// CMAC's subkey K1 (NIST SP 800-38B, section 6.1).
  private let subkey: SecretBytes

  init(_ key: borrowing SecretBytes) throws(KeyCustodyError) {
    var block = try key.withBytes { (bytes) throws(KeyCustodyError) in try AES256Block(key: bytes, for: .sealing) }
    subkey = try SecretBytes(count: 16) { (work: inout MutableRawSpan) throws(KeyCustodyError) in
      try block.encrypt(&work)
      let high = UInt64(bigEndian: unsafe work.bytes.unsafeLoad(as: UInt64.self))
      let low = UInt64(bigEndian: unsafe work.bytes.unsafeLoad(fromByteOffset: 8, as: UInt64.self))
      // Doubling in GF(2^128); the mask instead of a branch keeps the top bit out of the timing.
      let reduction = 0x87 & (0 &- (high >> 63))
      work.storeBytes(of: (high << 1 | low >> 63).bigEndian, toByteOffset: 0, as: UInt64.self)
      work.storeBytes(of: (low << 1 ^ reduction).bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    self.block = block
  }

  /// The key for all nonces with that first half.
  mutating func derive(_ prefix: NoncePrefix) throws(KeyCustodyError) -> SecretBytes {
    let subkey = self.subkey.withBytes { bytes in
      unsafe (
        bytes.unsafeLoad(as: UInt64.self), bytes.unsafeLoad(fromByteOffset: 8, as: UInt64.self)
      )
    }
    return try SecretBytes(count: 32) { (work: inout MutableRawSpan) throws(KeyCustodyError) in
      for half in 0..<2 {
        let start = 16 * half
        // The counter, the label "X", a zero byte.
        work.storeBytes(of: UInt32(0x0001_5800 + 0x1_0000 * half).bigEndian, toByteOffset: start, as: UInt32.self)
        prefix.store(in: &work, at: start + 4)
        let first = unsafe work.bytes.unsafeLoad(fromByteOffset: start, as: UInt64.self)
        let second = unsafe work.bytes.unsafeLoad(fromByteOffset: start + 8, as: UInt64.self)
        work.storeBytes(of: first ^ subkey.0, toByteOffset: start, as: UInt64.self)
        work.storeBytes(of: second ^ subkey.1, toByteOffset: start + 8, as: UInt64.self)
      }
      try block.encrypt(&work)
    }
  }

  /// AES-256-GCM for all nonces with that first half.
  mutating func cipher(
    _ prefix: NoncePrefix, for direction: AES256GCM.Direction
  ) throws(KeyCustodyError) -> AES256GCM {
    let key = try derive(prefix)
    return try key.withBytes { (bytes) throws(KeyCustodyError) in try AES256GCM(key: bytes, for: direction) }
  }
}
