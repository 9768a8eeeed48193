public import KeyCustody
internal import KeyCustodyCrypto

/// One layer of a sealed record: header ‖ nonce (24 bytes) ‖ ciphertext ‖ tag (16 bytes), sealed by XAES-256-GCM
/// (c2sp.org/XAES-256-GCM) with the encoded context as additional data.
///
/// The first 12 bytes of the nonce are random per sealer, the last 12 count up, so that the derived key is kept and a
/// record costs one call of AES-256-GCM. A virtual machine that is copied while it runs would count on twice; don't
/// copy one that holds a lease, or use ``NonceSource/random``.
public enum RecordLayer {
  /// What a layer adds, in bytes.
  public static let overhead = bodyOffset + AES256GCM.tagLength
  /// The most bytes of content of a record.
  public static let maximumContentLength = 1 << 20
  /// The most bytes that one layer takes: content, or content that another layer has sealed already.
  static let maximumLayerLength = maximumContentLength + overhead
  private static let nonceLength = 24
  /// Where the ciphertext begins: behind header and nonce.
  static let bodyOffset = SealedHeader.length + nonceLength

  /// Seals one layer.
  ///
  /// - Throws: `invalidInput` (`wrong-size`) for more than 1 MiB and one layer's overhead; `unavailable` (`lease-ended`).
  public static func seal(
    _ content: [UInt8], key: RootKey, layer: Layer, context: SealingContext, random: any RandomSource
  ) throws(KeyCustodyError) -> [UInt8] {
    let aad = context.encoded(for: layer, header: SealedHeader(kind: .record, rootKey: key.id))
    var sealed: [UInt8] = []
    try sealed.append(count: content.count + overhead) { (output: inout MutableRawSpan) throws(KeyCustodyError) in
      try key.sealRecord(unsafe content.span.bytes, aad: unsafe aad.span.bytes, random: random, into: &output)
    }
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
    let count = try contentLength(sealed: sealed.count)
    let aad = context.encoded(for: layer, header: header)
    var content: [UInt8] = []
    try content.append(count: count) { (output: inout MutableRawSpan) throws(KeyCustodyError) in
      try key.openRecord(unsafe sealed.span.bytes, aad: unsafe aad.span.bytes, into: &output)
    }
    return content
  }

  /// The length of a layer's content.
  ///
  /// - Throws: `integrityFailure` (`truncated`, `not-authentic`) for a length that can't be.
  static func contentLength(sealed count: Int) throws(KeyCustodyError) -> Int {
    guard count >= overhead else { throw truncated("The sealed record") }
    guard count - overhead <= maximumLayerLength else { throw sealedNotAuthentic("The sealed record") }
    return count - overhead
  }

  static func requireLength(_ count: Int, atMost limit: Int) throws(KeyCustodyError) {
    guard count <= limit else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "A record has \(maximumContentLength) bytes at most; this one has \(count).",
        remedy: "Seal it as an object.")
    }
  }
}
