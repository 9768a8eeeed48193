public import KeyCustody

/// Seals one layer of an object, in pieces of any size.
///
/// header ‖ Cobblestone-256 (c2sp.org/chunked-encryption) with the encoded context: salt (24 bytes) ‖ commitment (32) ‖
/// chunks of 16 KiB, each with a tag of 16 bytes; the last chunk is always shorter, and may be empty.
///
/// After any error every later call throws it again.
public struct ObjectLayerSealer: ~Copyable {
  private var key: RootKey
  private var cipher: ObjectCipher
  private let salt: [UInt8]
  private let context: [UInt8]
  /// What has yet to be written before the first chunk.
  private var prelude: [UInt8]
  private var partial: [UInt8] = []
  private var index: UInt64 = 0
  /// What every further call throws.
  private var failure: KeyCustodyError?
  /// The bytes of content taken so far.
  ///
  /// After `lease-ended` it tells how much of the last piece went in.
  private(set) var consumed: Int64 = 0

  /// Begins an object, with a fresh salt.
  ///
  /// - Throws: `unavailable` (`lease-ended`).
  public init(
    key: RootKey, layer: Layer, context: SealingContext, random: any RandomSource
  ) throws(KeyCustodyError) {
    try self.init(
      key: key, context: context.encoded(for: layer, header: SealedHeader(kind: .object, rootKey: key.id)),
      random: random)
  }

  init(key: RootKey, context: [UInt8], random: any RandomSource) throws(KeyCustodyError) {
    try key.requireLease()
    let header = SealedHeader(kind: .object, rootKey: key.id)
    let salt = try random.bytes(Cobblestone.saltLength)
    let cipher = try key.objectCipher(salt: salt, context: context)
    self.key = key
    self.cipher = cipher
    self.salt = salt
    self.context = context
    prelude = header.bytes + salt + cipher.commitment
  }

  /// The root key it seals under.
  var keyInUse: RootKey { key }

  /// Whether it goes on only after ``renew(_:)``.
  var needsLease: Bool { key.needsLease || failure?.reason == .leaseEnded }

  /// Goes on under another lease of the same root key: what `lease-ended` stopped, and nothing else.
  mutating func renew(_ key: RootKey) throws(KeyCustodyError) {
    if let failure, failure.reason != .leaseEnded { throw failure }
    do throws(KeyCustodyError) {
      if key !== self.key {
        try requireSame(key, self.key)
        cipher = try key.objectCipher(salt: salt, context: context)
        self.key = key
      }
    } catch {
      close(error)
      throw error
    }
    failure = nil
  }

  /// Seals more content, appending what is ready to `output`.
  ///
  /// - Throws: `unavailable` (`lease-ended`) once the key is destroyed or its lease suspended; `invalidInput`
  ///   (`wrong-state`) after the end.
  public mutating func update(_ content: RawSpan, into output: inout [UInt8]) throws(KeyCustodyError) {
    if let failure { throw failure }
    do throws(KeyCustodyError) {
      var offset = 0
      repeat {
        try key.requireLease()
        let end = min(offset + Cobblestone.runLength, content.byteCount)
        try seal(content.extracting(offset..<end), into: &output)
        offset = end
      } while offset < content.byteCount
    } catch {
      close(error)
      throw error
    }
  }

  /// Seals the last chunk.
  ///
  /// - Throws: as ``update(_:into:)``.
  public mutating func finish(into output: inout [UInt8]) throws(KeyCustodyError) {
    if let failure { throw failure }
    let index = self.index
    var sealed: [UInt8] = []
    do throws(KeyCustodyError) {
      try key.requireLease()
      try cipher.withChunks { [partial] (chunks) throws(KeyCustodyError) in
        try chunks.seal(unsafe partial.span.bytes, index: index, into: &sealed)
      }
    } catch {
      close(error)
      throw error
    }
    output += prelude
    output += sealed
    close(KeyCustodyError(.invalidInput, .wrongState, "This object is sealed to its end already."))
  }

  /// Keeps what every further call throws, and the content not yet sealed only where it may still go on.
  private mutating func close(_ error: KeyCustodyError) {
    failure = error
    guard error.reason != .leaseEnded else { return }
    (prelude, partial) = ([], [])
  }

  /// Seals all whole chunks of one run and keeps the rest.
  private mutating func seal(_ content: RawSpan, into output: inout [UInt8]) throws(KeyCustodyError) {
    let count = content.byteCount
    guard partial.count + count >= Cobblestone.chunkLength else {
      keep(content)
      return
    }
    let head = partial.isEmpty ? 0 : Cobblestone.chunkLength - partial.count
    let whole = (count - head) / Cobblestone.chunkLength
    var (partial, prelude, index) = (self.partial, self.prelude, self.index)
    (self.partial, self.prelude) = ([], [])
    do throws(KeyCustodyError) {
      try cipher.withChunks { (chunks) throws(KeyCustodyError) in
        output.reserve(prelude.count + (whole + 1) * Cobblestone.sealedChunkLength)
        output += prelude
        prelude = []
        if head > 0 {
          partial.append(copying: content.extracting(0..<head))
          try chunks.seal(unsafe partial.span.bytes, index: index, into: &output)
          index += 1
          partial.removeAll(keepingCapacity: true)
        }
        for chunk in 0..<whole {
          let start = head + chunk * Cobblestone.chunkLength
          try chunks.seal(content.extracting(start..<(start + Cobblestone.chunkLength)), index: index, into: &output)
          index += 1
        }
      }
    } catch {
      (self.partial, self.prelude, self.index) = (partial, prelude, index)
      throw error
    }
    (self.partial, self.prelude, self.index) = (partial, prelude, index)
    let done = head + whole * Cobblestone.chunkLength
    consumed += Int64(done)
    if done < count { keep(content.extracting(done..<count)) }
  }

  private mutating func keep(_ rest: RawSpan) {
    if partial.capacity < Cobblestone.chunkLength { partial.reserveCapacity(Cobblestone.chunkLength) }
    partial.append(copying: rest)
    consumed += Int64(rest.byteCount)
  }
}

/// Requires that a key asked for again is the one in use.
func requireSame(_ key: RootKey, _ other: RootKey) throws(KeyCustodyError) {
  guard key.commitment == other.commitment else {
    throw KeyCustodyError(
      .integrityFailure, .commitmentMismatch, "Root key \(other.id) was asked for, and another came back.",
      remedy: "The keyset of this resource was tampered with, or its store mixes resources up.")
  }
}
