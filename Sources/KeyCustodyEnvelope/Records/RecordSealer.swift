public import KeyCustody

/// Seals records of one resource and data class by plain calls, in one layer or two, into arrays or a buffer of the
/// caller's.
///
/// It is as good as the leases of its root keys: once one ends, sealing throws `unavailable` (`lease-ended`). Any number
/// of tasks may use one; none waits for another, and no two records ever get the same nonce: not in the copies of the
/// process that `fork` makes either.
public struct RecordSealer: Sendable {
  private let inner: RecordScope
  /// The same again for one layer. (Unwrapping an optional would retain and release it for each record.)
  private let outer: RecordScope
  private let isDouble: Bool
  private let random: any RandomSource
  /// What sealing adds, in bytes.
  public let overhead: Int

  /// Seals in two layers: the service's inside, the customer's outside.
  public init(keys: LayeredKeys, resource: ResourceID, dataClass: DataClass, random: any RandomSource) {
    inner = RecordScope(key: keys.service, layer: .service, resource: resource, dataClass: dataClass)
    outer = RecordScope(key: keys.customer, layer: .customer, resource: resource, dataClass: dataClass)
    isDouble = true
    overhead = 2 * RecordLayer.overhead
    self.random = random
  }

  /// Seals in one layer.
  public init(
    key: RootKey, layer: Layer, resource: ResourceID, dataClass: DataClass, random: any RandomSource
  ) {
    inner = RecordScope(key: key, layer: layer, resource: resource, dataClass: dataClass)
    outer = inner
    isDouble = false
    overhead = RecordLayer.overhead
    self.random = random
  }

  /// Seals a record.
  ///
  /// - Parameters:
  ///   - content: at most 1 MiB.
  ///   - object: the record's name within the resource, 1 to 512 bytes; needed again to open it.
  ///   - identifiers: what is kept in clear beside it.
  /// - Throws: `invalidInput` (`wrong-size`); `unavailable` (`lease-ended`).
  public func seal(
    _ content: [UInt8], as object: String, identifiers: [String: String] = [:]
  ) throws(KeyCustodyError) -> [UInt8] {
    var sealed: [UInt8] = []
    try sealed.append(count: content.count + overhead) { (output: inout MutableRawSpan) throws(KeyCustodyError) in
      try seal(unsafe content.span.bytes, as: object, identifiers: identifiers, into: &output)
    }
    return sealed
  }

  /// Seals a record into a buffer of exactly its length: that of the content and ``overhead``.
  ///
  /// - Throws: as ``seal(_:as:identifiers:)``, `invalidInput` (`wrong-size`) for a buffer of another length included; the
  ///   buffer's bytes are undefined then, and tell nothing.
  public func seal(
    _ content: RawSpan, as object: String, identifiers: [String: String] = [:], into output: inout MutableRawSpan
  ) throws(KeyCustodyError) {
    if content.byteCount > RecordLayer.maximumContentLength {
      try RecordLayer.requireLength(content.byteCount, atMost: RecordLayer.maximumContentLength)
    }
    guard output.byteCount == content.byteCount + overhead else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize,
        "The buffer for this record must have \(content.byteCount + overhead) bytes, not \(output.byteCount).")
    }
    let rest = try RecordScope.rest(object: object, identifiers: identifiers)
    let name = unsafe object.utf8.span.bytes
    guard isDouble else {
      try inner.seal(content, name: name, rest: unsafe rest.span.bytes, random: random, into: &output)
      return
    }
    // The inner layer goes where the outer one encrypts it in place.
    let place = RecordLayer.bodyOffset..<(RecordLayer.bodyOffset + content.byteCount + RecordLayer.overhead)
    do {
      var target = output._mutatingExtracting(place)
      try inner.seal(content, name: name, rest: unsafe rest.span.bytes, random: random, into: &target)
    }
    try outer.seal(nil, name: name, rest: unsafe rest.span.bytes, random: random, into: &output)
  }

  /// Throws `unavailable` (`lease-ended`) when a lease has ended by `now`, in running time.
  package func requireLeases(at now: Duration) throws(KeyCustodyError) {
    let now = LeaseTerms.ticks(now)
    try inner.requireLease(at: now)
    if isDouble { try outer.requireLease(at: now) }
  }
}
