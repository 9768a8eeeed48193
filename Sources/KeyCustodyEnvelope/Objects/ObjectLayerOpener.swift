public import KeyCustody
internal import KeyCustodyCrypto

/// Opens one layer of an object, in pieces of any size.
///
/// What comes out is authentic; that it is complete is known only when ``finish(into:)`` has returned. Use nothing of an
/// object before then unless a prefix is of use. After an error of integrity every later call throws it again.
public struct ObjectLayerOpener: ~Copyable {
  private var key: RootKey
  private let context: [UInt8]
  private var cipher: ObjectCipher?
  private var salt: [UInt8] = []
  /// The start of the prelude, or of the next chunk.
  private var partial: [UInt8] = []
  private var index: UInt64 = 0
  private var failure: KeyCustodyError?
  /// The sealed bytes taken so far.
  ///
  /// After `lease-ended` it tells how much of the last piece went in.
  private(set) var consumed: Int64 = 0

  /// Begins; the first 68 bytes say whether key and context fit.
  public init(key: RootKey, layer: Layer, context: SealingContext) {
    self.init(key: key, context: context.encoded(for: layer, header: SealedHeader(kind: .object, rootKey: key.id)))
  }

  init(key: RootKey, context: [UInt8]) {
    self.key = key
    self.context = context
  }

  /// The root key it opens with.
  var keyInUse: RootKey { key }

  /// Goes on under another lease of the same root key.
  mutating func renew(_ key: RootKey) throws(KeyCustodyError) {
    guard key !== self.key else { return }
    try requireSame(key, self.key)
    if cipher != nil { cipher = try key.objectCipher(salt: salt, context: context) }
    self.key = key
  }

  /// Opens more, appending the content of whole chunks to `output`.
  ///
  /// - Throws: `integrityFailure` (`unknown-root-key`, `not-authentic`); `invalidInput` (`malformed`) and `unsupported`
  ///   (`unknown-format`) by its header; `unavailable` (`lease-ended`) once the key is destroyed or its lease
  ///   suspended; `invalidInput` (`wrong-state`) after the end.
  public mutating func update(_ sealed: RawSpan, into output: inout [UInt8]) throws(KeyCustodyError) {
    if let failure { throw failure }
    try key.requireLease()
    do throws(KeyCustodyError) {
      var offset = try takePrelude(sealed)
      while offset < sealed.byteCount {
        let end = min(offset + Cobblestone.runLength, sealed.byteCount)
        try open(sealed.extracting(offset..<end), into: &output)
        offset = end
      }
    } catch {
      remember(error)
      throw error
    }
  }

  /// Opens the last chunk.
  ///
  /// - Throws: as ``update(_:into:)``; `integrityFailure` (`truncated`) when the last chunk is missing.
  public mutating func finish(into output: inout [UInt8]) throws(KeyCustodyError) {
    if let failure { throw failure }
    try key.requireLease()
    do throws(KeyCustodyError) {
      guard let cipher, partial.count >= AES256GCM.tagLength else { throw truncated("The sealed object") }
      let index = self.index
      try cipher.withChunks { [partial] (chunks) throws(KeyCustodyError) in
        try chunks.open(unsafe partial.span.bytes, index: index, into: &output)
      }
    } catch {
      let error = error.reason == .notAuthentic ? damagedEnd() : error
      remember(error)
      throw error
    }
    partial = []
    failure = KeyCustodyError(.invalidInput, .wrongState, "This object is open to its end already.")
  }

  /// Keeps an error; a lease that ended may come back.
  private mutating func remember(_ error: KeyCustodyError) {
    guard error.reason != .leaseEnded else { return }
    failure = error
    cipher = nil
    partial = []
  }

  /// Collects and checks header, salt and commitment; answers how many of the bytes that took.
  private mutating func takePrelude(_ sealed: RawSpan) throws(KeyCustodyError) -> Int {
    guard cipher == nil else { return 0 }
    let taken = min(Cobblestone.preludeLength - partial.count, sealed.byteCount)
    var prelude = partial
    prelude.append(copying: sealed.extracting(0..<taken))
    guard prelude.count == Cobblestone.preludeLength else {
      partial = prelude
      consumed += Int64(taken)
      return taken
    }
    (cipher, salt) = try readPrelude(prelude, key: key, context: context)
    partial = []
    consumed += Int64(taken)
    return taken
  }

  /// Opens all whole chunks of one run and keeps the rest.
  ///
  /// A whole chunk is never the last one.
  private mutating func open(_ sealed: RawSpan, into output: inout [UInt8]) throws(KeyCustodyError) {
    let count = sealed.byteCount
    guard let cipher, partial.count + count >= Cobblestone.sealedChunkLength else {
      keep(sealed)
      return
    }
    let head = partial.isEmpty ? 0 : Cobblestone.sealedChunkLength - partial.count
    let whole = (count - head) / Cobblestone.sealedChunkLength
    var (partial, index) = (self.partial, self.index)
    self.partial = []
    do throws(KeyCustodyError) {
      try cipher.withChunks { (chunks) throws(KeyCustodyError) in
        output.reserve((whole + 1) * Cobblestone.chunkLength)
        if head > 0 {
          partial.append(copying: sealed.extracting(0..<head))
          try chunks.open(unsafe partial.span.bytes, index: index, into: &output)
          index += 1
          partial.removeAll(keepingCapacity: true)
        }
        for chunk in 0..<whole {
          let start = head + chunk * Cobblestone.sealedChunkLength
          let end = start + Cobblestone.sealedChunkLength
          try chunks.open(sealed.extracting(start..<end), index: index, into: &output)
          index += 1
        }
      }
    } catch {
      (self.partial, self.index) = (partial, index)
      throw error
    }
    (self.partial, self.index) = (partial, index)
    let done = head + whole * Cobblestone.sealedChunkLength
    consumed += Int64(done)
    if done < count { keep(sealed.extracting(done..<count)) }
  }

  private mutating func keep(_ rest: RawSpan) {
    if partial.capacity < Cobblestone.sealedChunkLength { partial.reserveCapacity(Cobblestone.sealedChunkLength) }
    partial.append(copying: rest)
    consumed += Int64(rest.byteCount)
  }
}

/// Checks the first 68 bytes of an object's layer and makes its cipher.
func readPrelude(
  _ prelude: [UInt8], key: RootKey, context: [UInt8]
) throws(KeyCustodyError) -> (cipher: ObjectCipher, salt: [UInt8]) {
  _ = try SealedHeader(parsing: prelude, kind: .object, key: key)
  guard prelude.count == Cobblestone.preludeLength else { throw truncated("The sealed object") }
  let saltEnd = SealedHeader.length + Cobblestone.saltLength
  let salt = Array(prelude[SealedHeader.length..<saltEnd])
  let cipher = try key.objectCipher(salt: salt, context: context)
  guard constantTimeEqual(cipher.commitment, Array(prelude[saltEnd...])) else {
    throw sealedNotAuthentic("The sealed object")
  }
  return (cipher, salt)
}
