internal import KeyCustody
internal import KeyCustodyCrypto
import Synchronization

/// The cipher of one object.
///
/// It ends with its root key, wherever it is used.
final class ObjectCipher: Sendable {
  /// What the object carries to say that this key and context are the only ones that open it.
  let commitment: [UInt8]
  private let state: Mutex<ChunkCipher?>
  private let owner: RootKey

  init(
    key: borrowing SecretBytes, salt: [UInt8], context: [UInt8], owner: RootKey
  ) throws(KeyCustodyError) {
    let derived = try key.withBytes { (bytes) throws(KeyCustodyError) in
      try Hashing.expand(
        .sha512, key: bytes, info: Cobblestone.label + salt + context,
        count: AES256GCM.keyLength + AES256GCM.nonceLength + Cobblestone.commitmentLength)
    }
    let nonceEnd = AES256GCM.keyLength + AES256GCM.nonceLength
    let cipher = try derived.withBytes { (bytes) throws(KeyCustodyError) in
      ChunkCipher(
        cipher: try AES256GCM(key: bytes.extracting(0..<AES256GCM.keyLength)),
        baseNonce: bytes.extracting(AES256GCM.keyLength..<nonceEnd))
    }
    commitment = derived.withBytes { bytes in (nonceEnd..<bytes.byteCount).map { bytes[$0] } }
    state = Mutex(consume cipher)
    self.owner = owner
  }

  /// Works on chunks with nothing in between.
  ///
  /// - Throws: `unavailable` (`lease-ended`), before `body` is called, when the key was destroyed.
  func withChunks<Result>(
    _ body: (inout ChunkCipher) throws(KeyCustodyError) -> Result
  ) throws(KeyCustodyError) -> Result where Result: Sendable {
    try state.withLock { (state) throws(KeyCustodyError) -> Result in
      guard var cipher = state.take() else { throw leaseEnded() }
      let outcome: Swift.Result<Result, KeyCustodyError>
      do throws(KeyCustodyError) { outcome = .success(try body(&cipher)) } catch { outcome = .failure(error) }
      state = consume cipher
      return try outcome.get()
    }
  }

  /// Clears the key and the contexts.
  func clear() { state.withLock { $0 = nil } }

  deinit { owner.forget(ObjectIdentifier(self)) }
}

/// Seals and opens single chunks.
struct ChunkCipher: ~Copyable, Sendable {
  private var cipher: AES256GCM
  private let nonceHigh: UInt32
  private let nonceLow: UInt64
  private let process = ForkCounter.current

  init(cipher: consuming AES256GCM, baseNonce: RawSpan) {
    self.cipher = cipher
    nonceHigh = unsafe baseNonce.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt32.self)
    nonceLow = UInt64(bigEndian: unsafe baseNonce.unsafeLoadUnaligned(fromByteOffset: 4, as: UInt64.self))
  }

  /// The base nonce XOR the index, both big-endian.
  private func nonce(_ index: UInt64) -> InlineArray<3, UInt32> {
    let low = nonceLow ^ index
    return [nonceHigh, UInt32(truncatingIfNeeded: low >> 32).bigEndian, UInt32(truncatingIfNeeded: low).bigEndian]
  }

  /// Appends the sealed form of one chunk.
  mutating func seal(_ chunk: RawSpan, index: UInt64, into output: inout [UInt8]) throws(KeyCustodyError) {
    try Cobblestone.requireRoom(index)
    // The other copy of the process may go on with other content under the same nonces.
    guard process == ForkCounter.current else {
      throw KeyCustodyError(
        .invalidInput, .wrongState, "This object was begun before the process forked.",
        remedy: "Begin it anew in the process that goes on with it.")
    }
    let nonce = nonce(index)
    try output.append(count: chunk.byteCount + AES256GCM.tagLength) {
      (target: inout MutableRawSpan) throws(KeyCustodyError) in
      try cipher.seal(chunk, nonce: unsafe nonce.span.bytes, additionalData: RawSpan(), into: &target)
    }
  }

  /// Appends the content of one sealed chunk, or throws `integrityFailure` (`not-authentic`) and appends nothing.
  mutating func open(_ chunk: RawSpan, index: UInt64, into output: inout [UInt8]) throws(KeyCustodyError) {
    try Cobblestone.requireRoom(index)
    let nonce = nonce(index)
    try output.append(count: chunk.byteCount - AES256GCM.tagLength) {
      (target: inout MutableRawSpan) throws(KeyCustodyError) in
      guard cipher.open(chunk, nonce: unsafe nonce.span.bytes, additionalData: RawSpan(), into: &target) else {
        throw sealedNotAuthentic("The sealed object")
      }
    }
  }
}
