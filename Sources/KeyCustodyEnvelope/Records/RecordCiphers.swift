internal import KeyCustody
internal import KeyCustodyCrypto

/// Seals records under one derived key; nonces share the first half and count in the second.
struct RecordSealer: ~Copyable, Sendable {
  /// NIST SP 800-38D, section 8.3 allows 2^32 invocations a key; our counter never repeats, so this is a wide margin.
  static let recordLimit: UInt64 = 1 << 32
  /// 2^48 bytes keep an attacker's advantage against AES-256-GCM negligible.
  static let byteLimit: UInt64 = 1 << 48

  var cipher: AES256GCM
  let prefix: NoncePrefix
  private let process: Int
  private var records: UInt64
  private var bytes: UInt64

  init(cipher: consuming AES256GCM, prefix: NoncePrefix, records: UInt64 = 0, bytes: UInt64 = 0) {
    self.cipher = cipher
    self.prefix = prefix
    self.records = records
    self.bytes = bytes
    process = ForkCounter.current
  }

  /// Whether another record of that size may be sealed with it, in this process.
  func has(roomFor count: Int) -> Bool {
    records < Self.recordLimit && bytes + UInt64(count) <= Self.byteLimit && process == ForkCounter.current
  }

  /// The second half of the next nonce, 12 bytes; it counts as used whatever happens next.
  mutating func nextNonce(for count: Int) -> InlineArray<3, UInt32> {
    let number = records
    records += 1
    bytes += UInt64(count)
    return [0, UInt32(truncatingIfNeeded: number >> 32).bigEndian, UInt32(truncatingIfNeeded: number).bigEndian]
  }
}

/// Opens records under one derived key.
struct RecordOpener: ~Copyable, Sendable {
  var cipher: AES256GCM
  let prefix: NoncePrefix
}

/// The record ciphers of a root key.
///
/// Each is taken out while it is used, so that tasks never wait for one another's records, and put back afterwards.
struct RecordCiphers: ~Copyable, Sendable {
  private let material: SecretBytes
  /// Made at the first record: a root key that only serves objects needs none.
  private var key: XAESKey?
  private var sealers: InlineArray<4, RecordSealer?> = InlineArray { _ in nil }
  private var openers: InlineArray<8, RecordOpener?> = InlineArray { _ in nil }
  private var oldest = 0

  init(material: consuming SecretBytes) { self.material = material }

  /// A kept sealer with room for a record of that size.
  mutating func takeSealer(roomFor count: Int) -> RecordSealer? {
    for index in sealers.indices {
      guard let sealer = sealers[index].take() else { continue }
      if sealer.has(roomFor: count) { return sealer }
    }
    return nil
  }

  /// A new sealer, under a first half of the nonce that was drawn at random.
  mutating func makeSealer(_ prefix: NoncePrefix) throws(KeyCustodyError) -> RecordSealer {
    RecordSealer(cipher: try cipher(prefix), prefix: prefix)
  }

  mutating func keep(_ sealer: consuming RecordSealer) {
    for index in sealers.indices where sealers[index] == nil {
      sealers[index] = consume sealer
      return
    }
  }

  /// The opener for a first half of the nonce, kept or new.
  mutating func opener(_ prefix: NoncePrefix) throws(KeyCustodyError) -> RecordOpener {
    for index in openers.indices {
      guard let opener = openers[index].take() else { continue }
      if opener.prefix == prefix { return opener }
      openers[index] = consume opener
    }
    return RecordOpener(cipher: try cipher(prefix), prefix: prefix)
  }

  mutating func keep(_ opener: consuming RecordOpener) {
    for index in openers.indices where openers[index] == nil {
      openers[index] = consume opener
      return
    }
    openers[oldest] = consume opener
    oldest = (oldest + 1) % openers.count
  }

  private mutating func cipher(_ prefix: NoncePrefix) throws(KeyCustodyError) -> AES256GCM {
    if key == nil { key = try XAESKey(material) }
    guard let cipher = try key?.cipher(prefix) else { throw leaseEnded() }
    return cipher
  }
}
