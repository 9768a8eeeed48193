internal import KeyCustody
internal import KeyCustodyCrypto
import Synchronization

/// Seals records under one derived key; nonces share the first half and count in the second.
struct DerivedSealer: ~Copyable, Sendable {
  /// NIST SP 800-38D, section 8.3 allows 2^32 invocations a key; our counter never repeats, so this is a wide margin.
  static let recordLimit: UInt64 = 1 << 32
  /// 2^48 bytes keep an attacker's advantage against AES-256-GCM negligible.
  static let byteLimit: UInt64 = 1 << 48

  var cipher: AES256GCM
  let prefix: NoncePrefix
  private let process: Int
  private var records: UInt64
  private var bytes: UInt64

  /// None: it has room for nothing. (Optionals of what can't be copied cost moves in the hottest path.)
  init() {
    cipher = AES256GCM()
    prefix = .zero
    process = 0
    records = .max
    bytes = 0
  }

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

  /// Lets `body` seal a record, with the next nonce or one that was drawn.
  mutating func use(
    _ count: Int, _ drawn: InlineArray<3, UInt32>?,
    _ body: (inout AES256GCM, NoncePrefix, InlineArray<3, UInt32>) throws(KeyCustodyError) -> Void
  ) throws(KeyCustodyError) {
    let next = nextNonce(for: count)
    try body(&cipher, prefix, drawn ?? next)
  }
}

/// Opens records under one derived key.
struct DerivedOpener: ~Copyable, Sendable {
  var cipher: AES256GCM
  /// `nil` for none.
  let prefix: NoncePrefix?

  mutating func use(_ body: (inout AES256GCM) -> Bool) -> Bool { body(&cipher) }
}

/// The record ciphers of a root key.
///
/// Each has a lock of its own, and who finds one in use takes the next, so that tasks hardly ever wait for one another's
/// records.
struct RecordCiphers: ~Copyable, Sendable {
  /// What ciphers are made from. (Not private: Swift 6.3.1 then makes a module of it that does not link.)
  struct Source: ~Copyable {
    var material: SecretBytes?
    /// Made at the first record: a root key that only serves objects needs none.
    var key: XAESKey?
  }
  private let source: Mutex<Source>
  let nonces: NonceSource
  private let sealers: InlineArray<4, Mutex<DerivedSealer>> = InlineArray { _ in Mutex(DerivedSealer()) }
  private let openers: InlineArray<8, Mutex<DerivedOpener>> = InlineArray { _ in
    Mutex(DerivedOpener(cipher: AES256GCM(), prefix: nil))
  }
  /// The opener that was found last, and the one that is given up next.
  private let recent = Atomic(0)
  private let oldest = Atomic(0)

  init(material: consuming SecretBytes, nonces: NonceSource) {
    source = Mutex(Source(material: consume material, key: nil))
    self.nonces = nonces
  }

  /// What ciphers are made from, once more; `nil` when it was cleared.
  func copyOfMaterial() -> SecretBytes? {
    source.withLock { source -> SecretBytes? in
      // Taken out and put back: an optional that can't be copied can't be borrowed.
      guard let material = source.material.take() else { return nil }
      let copy = material.copy()
      source.material = consume material
      return copy
    }
  }

  /// Clears everything; waits for records that are being sealed or opened.
  func end() {
    source.withLock { source in
      source.material = nil
      source.key = nil
    }
    for index in sealers.indices { sealers[index].withLock { $0 = DerivedSealer() } }
    for index in openers.indices { openers[index].withLock { $0 = DerivedOpener(cipher: AES256GCM(), prefix: nil) } }
  }

  /// Lets `body` seal one record of `count` bytes, with a nonce that nobody else gets.
  ///
  /// - Throws: `unavailable` (`lease-ended`); what `random` and `body` throw.
  @inline(__always)
  func seal(
    _ count: Int, random: any RandomSource,
    _ body: (inout AES256GCM, NoncePrefix, InlineArray<3, UInt32>) throws(KeyCustodyError) -> Void
  ) throws(KeyCustodyError) {
    for index in sealers.indices {
      let isDone = try sealers[index].withLockIfAvailable { (sealer) throws(KeyCustodyError) -> Bool in
        try seal(count, random, with: &sealer, body)
        return true
      }
      if isDone == true { return }
    }
    try sealers[0].withLock { (sealer) throws(KeyCustodyError) in try seal(count, random, with: &sealer, body) }
  }

  @inline(__always)
  private func seal(
    _ count: Int, _ random: any RandomSource, with sealer: inout DerivedSealer,
    _ body: (inout AES256GCM, NoncePrefix, InlineArray<3, UInt32>) throws(KeyCustodyError) -> Void
  ) throws(KeyCustodyError) {
    if !sealer.has(roomFor: count) {
      let drawn = try random.bytes(NoncePrefix.length)
      let prefix = NoncePrefix(unsafe drawn.span.bytes)
      sealer = DerivedSealer(cipher: try cipher(prefix, for: .sealing), prefix: prefix)
    }
    let drawn = nonces == .random ? try NonceSource.draw(random) : nil
    try sealer.use(count, drawn, body)
  }

  /// Lets `body` open one record whose nonce begins so.
  ///
  /// - Throws: `unavailable` (`lease-ended`).
  @inline(__always)
  func open(
    _ prefix: NoncePrefix, _ body: (inout AES256GCM) -> Bool
  ) throws(KeyCustodyError) -> Bool {
    let start = recent.load(ordering: .relaxed)
    for step in openers.indices {
      let index = (start + step) % openers.count
      let answer = openers[index].withLockIfAvailable { opener -> Bool? in
        opener.prefix == prefix ? opener.use(body) : nil
      }
      guard let answer, let isAuthentic = answer else { continue }
      if step > 0 { recent.store(index, ordering: .relaxed) }
      return isAuthentic
    }
    let index = oldest.wrappingAdd(1, ordering: .relaxed).oldValue & 7
    recent.store(index, ordering: .relaxed)
    return try openers[index].withLock { (opener) throws(KeyCustodyError) -> Bool in
      opener = DerivedOpener(cipher: try cipher(prefix, for: .opening), prefix: prefix)
      return opener.use(body)
    }
  }

  private func cipher(
    _ prefix: NoncePrefix, for direction: AES256GCM.Direction
  ) throws(KeyCustodyError) -> AES256GCM {
    try source.withLock { (source) throws(KeyCustodyError) -> AES256GCM in
      if source.key == nil {
        // Taken out and put back: an optional that can't be copied can't be borrowed.
        guard let material = source.material.take() else { throw leaseEnded() }
        let key: XAESKey?
        do throws(KeyCustodyError) { key = try XAESKey(material) } catch {
          source.material = consume material
          throw error
        }
        source.material = consume material
        source.key = key
      }
      guard let cipher = try source.key?.cipher(prefix, for: direction) else { throw leaseEnded() }
      return cipher
    }
  }
}
