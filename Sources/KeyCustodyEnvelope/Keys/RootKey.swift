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

  private struct Derived: ~Copyable {
    let object: SecretBytes
    var records: RecordCiphers
  }
  private let derived: Mutex<Derived?>
  private let destroyed = Atomic(false)
  private let objectCiphers = Mutex<[ObjectIdentifier: WeakObjectCipher]>([:])

  /// Takes an unwrapped root key into use; the caller's bytes are no longer needed afterwards.
  ///
  /// - Throws: `integrityFailure` (`wrong-size`) unless there are 32 bytes.
  public convenience init(material: borrowing SecretBytes) throws(KeyCustodyError) {
    guard material.count == Self.materialLength else {
      throw KeyCustodyError(
        .integrityFailure, .wrongSize, "A root key has \(Self.materialLength) bytes, not \(material.count).")
    }
    let object = try Self.derive("object", material)
    let record = try Self.derive("record", material)
    let bound = try Self.derive("commitment", material)
    self.init(
      object: object, record: record, commitment: bound.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } })
  }

  init(object: consuming SecretBytes, record: consuming SecretBytes, commitment: [UInt8]) {
    self.commitment = commitment
    id = RootKeyID(commitment: commitment)
    derived = Mutex(Derived(object: object, records: RecordCiphers(material: record)))
  }

  private static func derive(
    _ label: String, _ material: borrowing SecretBytes
  ) throws(KeyCustodyError) -> SecretBytes {
    try material.withBytes { (bytes) throws(KeyCustodyError) in
      try Hashing.expand(.sha512, key: bytes, info: Array("key-custody/v1/\(label)".utf8), count: 32)
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
  /// Every later use throws `unavailable` (`lease-ended`). It waits for the piece of a stream that is being worked on;
  /// a record that is being sealed or opened on another thread is finished, and its cipher cleared then.
  public func destroy() {
    destroyed.store(true, ordering: .releasing)
    derived.withLock { $0 = nil }
    // Taken out first: a cipher may end here, and ending takes the same lock.
    let ciphers = objectCiphers.withLock { registered in
      let taken = registered
      registered = [:]
      return taken
    }
    for entry in ciphers.values { entry.cipher?.clear() }
  }

  /// Throws when the key was destroyed.
  func requireLease() throws(KeyCustodyError) {
    if isDestroyed { throw leaseEnded() }
  }
}

// Records.
extension RootKey {
  /// A sealer for one record of `count` bytes; give it back with ``keep(_:)-(RecordSealer)``.
  func takeSealer(roomFor count: Int, random: any RandomSource) throws(KeyCustodyError) -> RecordSealer {
    let kept = try derived.withLock { (derived) throws(KeyCustodyError) -> RecordSealer? in
      if derived == nil { throw leaseEnded() }
      return derived?.records.takeSealer(roomFor: count)
    }
    if let kept { return kept }
    let drawn = try random.bytes(NoncePrefix.length)
    let prefix = NoncePrefix(unsafe drawn.span.bytes)
    return try derived.withLock { (derived) throws(KeyCustodyError) -> RecordSealer in
      guard let sealer = try derived?.records.makeSealer(prefix) else { throw leaseEnded() }
      return sealer
    }
  }

  func keep(_ sealer: consuming RecordSealer) {
    var sealer = Optional(sealer)
    derived.withLock { derived in
      if let sealer = sealer.take() { derived?.records.keep(sealer) }
    }
  }

  /// An opener for records whose nonce begins so; give it back with ``keep(_:)-(RecordOpener)``.
  func takeOpener(_ prefix: NoncePrefix) throws(KeyCustodyError) -> RecordOpener {
    try derived.withLock { (derived) throws(KeyCustodyError) -> RecordOpener in
      guard let opener = try derived?.records.opener(prefix) else { throw leaseEnded() }
      return opener
    }
  }

  func keep(_ opener: consuming RecordOpener) {
    var opener = Optional(opener)
    derived.withLock { derived in
      if let opener = opener.take() { derived?.records.keep(opener) }
    }
  }
}

// Objects.
extension RootKey {
  /// The cipher of one object, cleared with this key.
  func objectCipher(salt: [UInt8], context: [UInt8]) throws(KeyCustodyError) -> ObjectCipher {
    let cipher = try derived.withLock { (derived) throws(KeyCustodyError) -> ObjectCipher in
      if derived == nil { throw leaseEnded() }
      // Copied, since an optional that can't be copied can't be borrowed.
      guard let key = derived?.object.copy() else { throw leaseEnded() }
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
