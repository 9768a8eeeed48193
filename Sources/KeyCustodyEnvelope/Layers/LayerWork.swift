internal import KeyCustody

/// How one layer of one object is sealed or opened: each worker makes its own cipher from it, for chunks of its own.
struct LayerRecipe: Sendable {
  let key: RootKey
  let layer: Layer
  let salt: [UInt8]
  /// The encoded context.
  let context: [UInt8]
  /// Where the key is asked for again.
  let source: (any RootKeySource)?
  let isSealing: Bool
  /// Whether the key is asked for at every piece of 1 MiB: always to open, and to seal where no lease ends it.
  let asksAtPieces: Bool

  /// The length of a whole chunk as it comes in.
  var chunkLength: Int { isSealing ? Cobblestone.chunkLength : Cobblestone.sealedChunkLength }

  /// A new object's layer, with a fresh salt.
  ///
  /// - Parameter isRenewal: whether it comes in place of another layer, whose key is asked for at every piece.
  static func sealing(
    _ key: RootKey, _ layer: Layer, _ context: SealingContext, source: (any RootKeySource)?, random: any RandomSource,
    isRenewal: Bool = false
  ) async throws(KeyCustodyError) -> LayerRecipe {
    let current = if key.needsLease, let source { try await source.rootKey(key.id, layer: layer) } else { key }
    return LayerRecipe(
      key: current, layer: layer, salt: try random.bytes(Cobblestone.saltLength),
      context: context.encoded(for: layer, header: SealedHeader(kind: .object, rootKey: key.id)), source: source,
      isSealing: true, asksAtPieces: !isRenewal && !current.isLeased)
  }

  /// A layer that begins with `prelude`, if its key is to be had and fits.
  static func opening(
    _ prelude: [UInt8], _ layer: Layer, _ context: SealingContext, source: any RootKeySource
  ) async throws(KeyCustodyError) -> LayerRecipe {
    let header = try SealedHeader(parsing: prelude)
    try header.require(.object)
    let encoded = context.encoded(for: layer, header: header)
    var attempt = 1
    while true {
      let key = try await source.rootKey(header.rootKey, layer: layer)
      do throws(KeyCustodyError) {
        let (_, salt) = try readPrelude(prelude, key: key, context: encoded)
        return LayerRecipe(
          key: key, layer: layer, salt: salt, context: encoded, source: source, isSealing: false, asksAtPieces: true)
      } catch {
        // The lease ended between the look-up and the use.
        guard error.reason == .leaseEnded, attempt < maximumRenewals else { throw error }
        attempt += 1
      }
    }
  }
}

/// One worker's part in one layer.
///
/// For one task at a time.
final class LayerWork {
  private let recipe: LayerRecipe
  private var key: RootKey
  private var cipher: ObjectCipher?

  init(_ recipe: LayerRecipe) {
    self.recipe = recipe
    key = recipe.key
  }

  /// What stands before the first chunk of a sealed layer.
  func prelude() async throws(KeyCustodyError) -> [UInt8] {
    try await renewing { (cipher) throws(KeyCustodyError) in
      SealedHeader(kind: .object, rootKey: self.key.id).bytes + self.recipe.salt + cipher.commitment
    }
  }

  /// Asks for the key again, so that a revocation stops long work; sealing asks only when its lease has ended or is
  /// suspended, or there is none.
  func checkLease() async throws(KeyCustodyError) {
    guard let source = recipe.source, recipe.asksAtPieces || key.needsLease else { return }
    let current = try await source.rootKey(key.id, layer: recipe.layer)
    guard current !== key else { return }
    try requireSame(current, key)
    (key, cipher) = (current, nil)
  }

  /// Appends what chunks that follow one another become: whole ones, and at the end of the layer the last one, which is
  /// short and may be empty.
  ///
  /// Chunks of a sealed layer are given once for each index: other bytes under the same index would give the key away.
  func process(
    _ input: [UInt8], _ range: Range<Int>, first: UInt64, isEnd: Bool, into output: inout [UInt8]
  ) async throws(KeyCustodyError) {
    let start = output.count
    for attempt in 1... {
      try await prepare()
      do throws(KeyCustodyError) {
        guard let cipher else { throw leaseEnded() }
        try key.requireLease()
        return try process(unsafe input.span.bytes.extracting(range), with: cipher, first, isEnd, into: &output)
      } catch {
        output.removeSubrange(start...)
        guard error.reason == .leaseEnded, recipe.source != nil, attempt < maximumRenewals else { throw error }
      }
    }
  }

  private func process(
    _ input: RawSpan, with cipher: ObjectCipher, _ first: UInt64, _ isEnd: Bool, into output: inout [UInt8]
  ) throws(KeyCustodyError) {
    let (length, isSealing) = (recipe.chunkLength, recipe.isSealing)
    let whole = input.byteCount / length
    output.reserve((whole + 1) * Cobblestone.sealedChunkLength)
    try cipher.withChunks { (chunks) throws(KeyCustodyError) in
      for number in 0..<(isEnd ? whole + 1 : whole) {
        let chunk = input.extracting((number * length)..<min((number + 1) * length, input.byteCount))
        let index = first + UInt64(number)
        if isSealing {
          try chunks.seal(chunk, index: index, into: &output)
          continue
        }
        do throws(KeyCustodyError) { try chunks.open(chunk, index: index, into: &output) } catch {
          throw error.reason == .notAuthentic && number == whole ? damagedEnd() : error
        }
      }
    }
  }

  private func renewing<Result>(
    _ body: (ObjectCipher) throws(KeyCustodyError) -> Result
  ) async throws(KeyCustodyError) -> Result {
    try await prepare()
    guard let cipher else { throw leaseEnded() }
    return try body(cipher)
  }

  private func prepare() async throws(KeyCustodyError) {
    if key.needsLease { try await checkLease() }
    if cipher == nil { cipher = try key.objectCipher(salt: recipe.salt, context: recipe.context) }
  }
}
