internal import KeyCustody
internal import KeyCustodyCrypto

/// What all records of one resource, data class and root key authenticate alike, encoded once.
@safe
final class RecordScope: @unchecked Sendable {
  // Unchecked: the allocation is written only before `init` returns and then only read until `deinit`.
  let key: RootKey
  let layer: Layer
  /// Not an array: lending an object's array would retain and release it for each record.
  private let prefix: UnsafeMutableRawBufferPointer

  init(key: RootKey, layer: Layer, resource: ResourceID, dataClass: DataClass) {
    self.key = key
    self.layer = layer
    let bytes = SealingContext.prefix(
      layer: layer, header: SealedHeader(kind: .record, rootKey: key.id), resource: resource, dataClass: dataClass)
    unsafe prefix = .allocate(byteCount: bytes.count, alignment: 16)
    unsafe prefix.copyBytes(from: bytes)
  }

  deinit { unsafe prefix.deallocate() }

  /// The rest of a record's context: checked, and its identifiers encoded; empty for none.
  ///
  /// With the scope's own part it gives the bytes of ``SealingContext/encoded(for:header:)``.
  ///
  /// - Throws: `invalidInput` (`wrong-size`), as ``SealingContext``.
  @inline(__always)
  static func rest(
    object: borrowing String, identifiers: borrowing [String: String]
  ) throws(KeyCustodyError) -> [UInt8] {
    let length = object.utf8.count
    if length < 1 || length > SealingContext.maximumObjectLength {
      try SealingContext.check("An object's name", length, 1...SealingContext.maximumObjectLength)
    }
    return identifiers.isEmpty ? [] : try encoded(identifiers)
  }

  private static func encoded(_ identifiers: [String: String]) throws(KeyCustodyError) -> [UInt8] {
    try SealingContext.check(identifiers)
    var bytes: [UInt8] = []
    SealingContext.append(identifiers, to: &bytes)
    return bytes
  }

  /// Throws `unavailable` (`lease-ended`) unless the key's lease lives at `now`, in ``LeaseTerms/ticks(_:)``.
  func requireLease(at now: Int64) throws(KeyCustodyError) { try key.requireLease(at: now) }

  /// Seals `content` into `output`, which is longer by one layer's overhead; what `output` holds behind header and
  /// nonce where `content` is `nil`.
  @inline(__always)
  func seal(
    _ content: RawSpan?, name: RawSpan, rest: RawSpan, random: any RandomSource, into output: inout MutableRawSpan
  ) throws(KeyCustodyError) {
    // The allocation lives as long as this.
    defer { extendLifetime(self) }
    try key.sealRecord(random: random, into: &output) { (cipher, nonce, body) throws(KeyCustodyError) in
      try cipher.sealRecord(
        content, nonce: nonce, start: unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(prefix)), name: name,
        identifiers: rest, into: &body)
    }
  }

  /// Opens `sealed`, whose header was checked, into `output`, which is shorter by one layer's overhead.
  @inline(__always)
  func open(
    _ sealed: RawSpan, name: RawSpan, rest: RawSpan, into output: inout MutableRawSpan
  ) throws(KeyCustodyError) {
    defer { extendLifetime(self) }
    try key.openRecord(sealed, into: &output) { cipher, nonce, body, output in
      cipher.openRecord(
        body, nonce: nonce, start: unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(prefix)), name: name,
        identifiers: rest, into: &output)
    }
  }
}
