public import KeyCustody

/// Seals and opens both layers at once: the service layer inside, the customer layer outside (E2).
///
/// Opening looks keys up by the names in the headers; the inner header is known only when the outer layer is open.
/// Long work asks for its keys again at every piece of 1 MiB, so that a revocation stops it.
public enum TwoLayers {
  /// Makes a transform that seals both layers.
  static func sealing(
    _ keys: LayeredKeys, source: (any RootKeySource)?, context: SealingContext, random: any RandomSource
  ) async throws(KeyCustodyError) -> Chain<RenewingSealer, RenewingSealer> {
    let inner = try await RenewingSealer(
      key: keys.service, source: source, layer: .service, context: context, random: random)
    let outer = try await RenewingSealer(
      key: keys.customer, source: source, layer: .customer, context: context, random: random)
    return Chain(inner, outer)
  }

  /// Makes a transform that opens both layers.
  static func opening(
    _ source: any RootKeySource, context: SealingContext
  ) -> Chain<RenewingOpener, RenewingOpener> {
    Chain(
      RenewingOpener(source: source, layer: .customer, context: context),
      RenewingOpener(source: source, layer: .service, context: context))
  }

  /// Makes a transform that renews the outer layer.
  static func renewing(
    from source: any RootKeySource, to newKey: RootKey, context: SealingContext, random: any RandomSource
  ) async throws(KeyCustodyError) -> Chain<RenewingOpener, RenewingSealer> {
    Chain(
      RenewingOpener(source: source, layer: .customer, context: context),
      try await RenewingSealer(
        key: newKey, source: source, layer: .customer, context: context, random: random, isRenewal: true))
  }
}

// Records.
extension TwoLayers {
  /// Seals a record of at most 1 MiB.
  ///
  /// - Throws: `invalidInput` (`wrong-size`); `unavailable` (`lease-ended`).
  public static func sealRecord(
    _ content: [UInt8], keys: LayeredKeys, context: SealingContext, random: any RandomSource
  ) throws(KeyCustodyError) -> [UInt8] {
    try RecordLayer.requireLength(content.count, atMost: RecordLayer.maximumContentLength)
    let inner = try RecordLayer.seal(content, key: keys.service, layer: .service, context: context, random: random)
    return try RecordLayer.seal(inner, key: keys.customer, layer: .customer, context: context, random: random)
  }

  /// Opens a record.
  ///
  /// - Throws: as ``RecordLayer/open(_:key:layer:context:)``; what the source throws.
  public static func openRecord(
    _ sealed: [UInt8], keys source: any RootKeySource, context: SealingContext
  ) async throws(KeyCustodyError) -> [UInt8] {
    let inner = try await openRecordLayer(sealed, source, .customer, context)
    return try await openRecordLayer(inner, source, .service, context)
  }

  /// Seals the outer layer of a record anew, under another root key.
  ///
  /// The inner layer stays closed.
  ///
  /// - Throws: as ``openRecord(_:keys:context:)``.
  public static func renewOuterLayer(
    ofRecord sealed: [UInt8], from source: any RootKeySource, to newKey: RootKey, context: SealingContext,
    random: any RandomSource
  ) async throws(KeyCustodyError) -> [UInt8] {
    let inner = try await openRecordLayer(sealed, source, .customer, context)
    // What comes out must be a layer of ours: plaintext never passes here.
    try SealedHeader(parsing: inner).require(.record)
    return try RecordLayer.seal(inner, key: newKey, layer: .customer, context: context, random: random)
  }

  private static func openRecordLayer(
    _ sealed: [UInt8], _ source: any RootKeySource, _ layer: Layer, _ context: SealingContext
  ) async throws(KeyCustodyError) -> [UInt8] {
    let header = try SealedHeader(parsing: sealed)
    try header.require(.record)
    var attempt = 1
    while true {
      let key = try await source.rootKey(header.rootKey, layer: layer)
      do throws(KeyCustodyError) {
        return try RecordLayer.open(sealed, key: key, layer: layer, context: context)
      } catch {
        // The lease ended between the look-up and the use.
        guard error.reason == .leaseEnded, attempt < maximumRenewals else { throw error }
        attempt += 1
      }
    }
  }
}

// Random access.
extension TwoLayers {
  /// Opens an object for reading anywhere in its content.
  ///
  /// Every read asks for both keys again.
  ///
  /// - Throws: as ``ObjectLayerReader``; what the source throws.
  public static func reader(
    over bytes: any RandomAccessBytes, keys source: any RootKeySource, context: SealingContext
  ) async throws(KeyCustodyError) -> any RandomAccessBytes {
    let outer = try await layerReader(over: bytes, source, .customer, context)
    return try await layerReader(over: outer, source, .service, context)
  }

  private static func layerReader(
    over bytes: any RandomAccessBytes, _ source: any RootKeySource, _ layer: Layer, _ context: SealingContext
  ) async throws(KeyCustodyError) -> ObjectLayerReader {
    let header = try SealedHeader(parsing: try await bytes.read(at: 0, count: SealedHeader.length))
    try header.require(.object)
    var attempt = 1
    while true {
      let key = try await source.rootKey(header.rootKey, layer: layer)
      do throws(KeyCustodyError) {
        return try await ObjectLayerReader(
          over: bytes, key: key, source: source, layer: layer, context: context.encoded(for: layer, header: header))
      } catch {
        guard error.reason == .leaseEnded, attempt < maximumRenewals else { throw error }
        attempt += 1
      }
    }
  }
}
