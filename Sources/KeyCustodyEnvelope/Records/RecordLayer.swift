public import KeyCustody
internal import KeyCustodyCrypto

/// One layer of a sealed record: header ‖ nonce (24 bytes) ‖ ciphertext ‖ tag (16 bytes), sealed by XAES-256-GCM
/// (c2sp.org/XAES-256-GCM) with the encoded context as additional data.
///
/// The first 12 bytes of the nonce are random per sealer, the last 12 count up, so that the derived key is kept and a
/// record costs one call of AES-256-GCM. A virtual machine that is copied while it runs would count on twice; don't
/// copy one that holds a lease.
public enum RecordLayer {
  /// What a layer adds, in bytes.
  public static let overhead = SealedHeader.length + nonceLength + AES256GCM.tagLength
  /// The most bytes of content of a record.
  public static let maximumContentLength = 1 << 20
  /// The most bytes that one layer takes: content, or content that another layer has sealed already.
  static let maximumLayerLength = maximumContentLength + overhead
  private static let nonceLength = 24

  /// Seals one layer.
  ///
  /// - Throws: `invalidInput` (`wrong-size`) for more than 1 MiB and one layer's overhead; `unavailable` (`lease-ended`).
  public static func seal(
    _ content: [UInt8], key: RootKey, layer: Layer, context: SealingContext, random: any RandomSource
  ) throws(KeyCustodyError) -> [UInt8] {
    guard content.count <= maximumLayerLength else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize,
        "A record has \(maximumContentLength) bytes at most; this one has \(content.count).",
        remedy: "Seal it as an object.")
    }
    let header = SealedHeader(kind: .record, rootKey: key.id)
    let aad = context.encoded(for: layer, header: header)
    var sealer = try key.takeSealer(roomFor: content.count, random: random)
    var sealed: [UInt8] = []
    sealed.reserveCapacity(content.count + overhead)
    sealed += header.bytes
    let nonce = sealer.nextNonce(for: content.count)
    try sealed.append(count: nonceLength) { (output: inout MutableRawSpan) in
      sealer.prefix.store(in: &output, at: 0)
      for word in 0..<3 { output.storeBytes(of: nonce[word], toByteOffset: 12 + 4 * word, as: UInt32.self) }
    }
    try sealed.append(count: content.count + AES256GCM.tagLength) {
      (output: inout MutableRawSpan) throws(KeyCustodyError) in
      try sealer.cipher.seal(
        unsafe content.span.bytes, nonce: unsafe nonce.span.bytes, additionalData: unsafe aad.span.bytes, into: &output)
    }
    key.keep(sealer)
    return sealed
  }

  /// Opens one layer.
  ///
  /// - Throws: `integrityFailure` (`truncated`, `unknown-root-key`, `not-authentic`); `invalidInput` (`malformed`) and
  ///   `unsupported` (`unknown-format`) by its header; `unavailable` (`lease-ended`).
  public static func open(
    _ sealed: [UInt8], key: RootKey, layer: Layer, context: SealingContext
  ) throws(KeyCustodyError) -> [UInt8] {
    let header = try SealedHeader(parsing: sealed, kind: .record, key: key)
    guard sealed.count >= overhead else { throw truncated("The sealed record") }
    let count = sealed.count - overhead
    guard count <= maximumLayerLength else { throw notAuthentic("The sealed record") }
    let aad = context.encoded(for: layer, header: header)
    let bytes = unsafe sealed.span.bytes
    let nonceStart = SealedHeader.length
    let bodyStart = nonceStart + nonceLength
    let prefix = NoncePrefix(bytes.extracting(nonceStart..<bodyStart))
    var opener = try key.takeOpener(prefix)
    var content: [UInt8] = []
    var isAuthentic = false
    try content.append(count: count) { (output: inout MutableRawSpan) in
      isAuthentic = opener.cipher.open(
        bytes.extracting(bodyStart..<sealed.count),
        nonce: bytes.extracting((nonceStart + NoncePrefix.length)..<bodyStart), additionalData: unsafe aad.span.bytes,
        into: &output)
    }
    key.keep(opener)
    guard isAuthentic else { throw notAuthentic("The sealed record") }
    return content
  }
}
