public import KeyCustody
internal import KeyCustodyCrypto
import Synchronization

/// An unwrapped root key in use, for as long as its lease lasts.
///
/// It holds what was derived from the 32 bytes (HKDF-Expand-SHA-512, RFC 5869, section 2.3, with the labels
/// `key-custody/v1/object`, `key-custody/v1/record` and `key-custody/v1/commitment`), never the bytes themselves. Any
/// task may use it at any time.
public final class RootKey: Sendable {
  /// The length of a root key in bytes.
  public static let materialLength = 32

  /// Its name in headers.
  public let id: RootKeyID
  /// 32 bytes that fix the key without telling it: recorded when the key is made and compared after every unwrap, so
  /// that whoever holds the KEK can't put another root key in its place.
  public let commitment: [UInt8]

  private let object: Mutex<SecretBytes?>
  private let records: RecordCiphers
  private let destroyed = Atomic(false)
  /// The lease, where there is one: what plain calls look at.
  private let lease = LeaseTerms()
  private let objectCiphers = Mutex<[ObjectIdentifier: WeakObjectCipher]>([:])

  /// Takes an unwrapped root key into use; the caller's bytes are no longer needed afterwards.
  ///
  /// - Parameter nonces: how the nonces of records are made.
  /// - Throws: `integrityFailure` (`wrong-size`) unless there are 32 bytes.
  public convenience init(
    material: borrowing SecretBytes, nonces: NonceSource = .counted
  ) throws(KeyCustodyError) {
    let commitment = try Self.commitment(of: material)
    let object = try Self.derive("object", material)
    let record = try Self.derive("record", material)
    self.init(object: object, record: record, commitment: commitment, nonces: nonces)
  }

  init(
    object: consuming SecretBytes, record: consuming SecretBytes, commitment: [UInt8], nonces: NonceSource = .counted
  ) {
    self.commitment = commitment
    id = RootKeyID(commitment: commitment)
    self.object = Mutex(consume object)
    records = RecordCiphers(material: record, nonces: nonces)
  }

  /// What is left to keep when nobody uses the key, and this object is let go of; `nil` when it was destroyed, or streams
  /// are at work with it.
  package func resting() -> RestingRootKey? {
    guard !isDestroyed, objectCiphers.withLock({ $0.isEmpty }) else { return nil }
    return object.withLock { object -> RestingRootKey? in
      // Taken out and put back: an optional that can't be copied can't be borrowed.
      guard let key = object.take() else { return nil }
      var rested: RestingRootKey?
      if let record = records.copyOfMaterial() {
        rested = RestingRootKey(object: key, record: record, commitment: commitment, nonces: records.nonces)
      }
      object = consume key
      return rested
    }
  }

  private static func derive(
    _ label: String, _ material: borrowing SecretBytes
  ) throws(KeyCustodyError) -> SecretBytes {
    try material.withBytes { (bytes) throws(KeyCustodyError) in
      try Hashing.expand(.sha512, key: bytes, info: Array("key-custody/v1/\(label)".utf8), count: 32)
    }
  }

  /// The ``commitment`` of a root key, without taking it into use.
  ///
  /// - Throws: `integrityFailure` (`wrong-size`) unless there are 32 bytes.
  package static func commitment(of material: borrowing SecretBytes) throws(KeyCustodyError) -> [UInt8] {
    try requireLength(material)
    return try derive("commitment", material).withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
  }

  private static func requireLength(_ material: borrowing SecretBytes) throws(KeyCustodyError) {
    guard material.count == materialLength else {
      throw KeyCustodyError(
        .integrityFailure, .wrongSize, "A root key has \(materialLength) bytes, not \(material.count).")
    }
  }

  /// Draws the 32 bytes of a new root key.
  public static func generateMaterial(random: any RandomSource) throws(KeyCustodyError) -> SecretBytes {
    try random.secret(materialLength)
  }

  /// Whether ``destroy()`` was called.
  public var isDestroyed: Bool { destroyed.load(ordering: .acquiring) }

  /// Clears the derived keys and every cipher made from them, streams in use included.
  ///
  /// Every later use throws `unavailable` (`lease-ended`). It waits for records and pieces of streams that are being
  /// worked on.
  public func destroy() {
    destroyed.store(true, ordering: .releasing)
    object.withLock { $0 = nil }
    records.end()
    // Taken out first: a cipher may end here, and ending takes the same lock.
    let ciphers = objectCiphers.withLock { registered in
      let taken = registered
      registered = [:]
      return taken
    }
    for entry in ciphers.values { entry.cipher?.clear() }
  }

  /// Lets plain calls use the key until `deadline`, in running time; the first use after `renewal` calls `renew`.
  package func extendLease(until deadline: Duration, renewal: Duration, renew: @escaping @Sendable () -> Void) {
    lease.extend(until: deadline, renewal: renewal, renew: renew)
  }

  /// Plain calls and the layers of objects throw `unavailable` (`lease-ended`) until the lease is extended: its access
  /// must be checked first.
  package func suspendLease() { lease.suspend() }

  /// Throws `unavailable` (`lease-ended`) unless there is a lease that lives at `now`, in running time.
  package func requireLease(at now: Duration) throws(KeyCustodyError) {
    try requireLease(at: LeaseTerms.ticks(now))
  }

  /// The same, with the time in the unit that leases keep it in.
  @inline(__always)
  func requireLease(at now: Int64) throws(KeyCustodyError) {
    guard !isDestroyed, lease.isLiving(at: now) else { throw leaseEnded() }
  }

  /// Whether it must be asked for again before it is used once more: it was destroyed, or its lease is suspended.
  var needsLease: Bool { isDestroyed || lease.isSuspended }

  /// Whether a lease was ever granted: without one nobody ends the key when access to it is taken away.
  var isLeased: Bool { lease.isGranted }

  /// Throws when the key was destroyed, or its lease is suspended.
  func requireLease() throws(KeyCustodyError) {
    if needsLease { throw leaseEnded() }
  }
}

// Records.
extension RootKey {
  /// Seals `content` into `output`, which is longer by one layer's overhead.
  func sealRecord(
    _ content: RawSpan, aad: RawSpan, random: any RandomSource, into output: inout MutableRawSpan
  ) throws(KeyCustodyError) {
    try sealRecord(random: random, into: &output) { (cipher, nonce, body) throws(KeyCustodyError) in
      try cipher.seal(content, nonce: nonce, additionalData: aad, into: &body)
    }
  }

  /// Writes header and nonce to `output`, and lets `encrypt` write ciphertext and tag behind them.
  @inline(__always)
  func sealRecord(
    random: any RandomSource, into output: inout MutableRawSpan,
    _ encrypt: (inout AES256GCM, _ nonce: RawSpan, _ body: inout MutableRawSpan) throws(KeyCustodyError) -> Void
  ) throws(KeyCustodyError) {
    let count = output.byteCount - RecordLayer.overhead
    if count > RecordLayer.maximumLayerLength {
      try RecordLayer.requireLength(count, atMost: RecordLayer.maximumLayerLength)
    }
    try records.seal(count, random: random) { (cipher, prefix, nonce) throws(KeyCustodyError) in
      SealedHeader(kind: .record, rootKey: id).store(in: &output)
      prefix.store(in: &output, at: SealedHeader.length)
      output.storeBytes(
        of: nonce, toByteOffset: SealedHeader.length + NoncePrefix.length, as: InlineArray<3, UInt32>.self)
      var body = output._mutatingExtracting(RecordLayer.bodyOffset..<output.byteCount)
      try encrypt(&cipher, unsafe nonce.span.bytes, &body)
    }
  }

  /// Opens `sealed`, whose header was checked, into `output`, which is shorter by one layer's overhead.
  ///
  /// Of what is not authentic nothing is left in `output`.
  func openRecord(
    _ sealed: RawSpan, aad: RawSpan, into output: inout MutableRawSpan
  ) throws(KeyCustodyError) {
    try openRecord(sealed, into: &output) { cipher, nonce, body, output in
      cipher.open(body, nonce: nonce, additionalData: aad, into: &output)
    }
  }

  /// Lets `decrypt` open what stands behind header and nonce, into `output`.
  @inline(__always)
  func openRecord(
    _ sealed: RawSpan, into output: inout MutableRawSpan,
    _ decrypt: (inout AES256GCM, _ nonce: RawSpan, _ body: RawSpan, inout MutableRawSpan) -> Bool
  ) throws(KeyCustodyError) {
    let nonce = sealed.extracting(SealedHeader.length..<RecordLayer.bodyOffset)
    let isAuthentic = try records.open(NoncePrefix(nonce)) { cipher in
      decrypt(
        &cipher, nonce.extracting(NoncePrefix.length..<nonce.byteCount),
        sealed.extracting(RecordLayer.bodyOffset..<sealed.byteCount), &output)
    }
    guard isAuthentic else { throw sealedNotAuthentic("The sealed record") }
  }
}

// Objects.
extension RootKey {
  /// The cipher of one object, cleared with this key.
  func objectCipher(salt: [UInt8], context: [UInt8]) throws(KeyCustodyError) -> ObjectCipher {
    let cipher = try object.withLock { (object) throws(KeyCustodyError) -> ObjectCipher in
      // Copied, since an optional that can't be copied can't be borrowed.
      guard let key = object?.copy() else { throw leaseEnded() }
      return try ObjectCipher(key: key, salt: salt, context: context, owner: self)
    }
    objectCiphers.withLock { $0[ObjectIdentifier(cipher)] = WeakObjectCipher(cipher) }
    // Destroyed in between, after `destroy` had looked: then nobody else clears it.
    if isDestroyed {
      cipher.clear()
      throw leaseEnded()
    }
    return cipher
  }

  /// How many objects' ciphers would be cleared with this key now.
  var registeredCipherCount: Int { objectCiphers.withLock { $0.count } }

  func forget(_ cipher: ObjectIdentifier) { objectCiphers.withLock { _ = $0.removeValue(forKey: cipher) } }
}

/// A cipher that ends with whoever uses it.
private struct WeakObjectCipher: Sendable {
  weak let cipher: ObjectCipher?
  init(_ cipher: ObjectCipher) { self.cipher = cipher }
}
