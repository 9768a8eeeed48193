public import KeyCustody

/// Opens records of one resource and data class by plain calls, with the root keys it was given.
///
/// It is as good as the leases of its root keys: once one that a record needs ends, opening throws `unavailable`
/// (`lease-ended`). Any number of tasks may use one.
public struct RecordOpener: Sendable {
  /// By the keys of the layer that is opened first.
  private let first: [RecordScope]
  /// By the keys of the layer inside it; `nil` for one layer alone.
  private let second: [RecordScope]?

  /// Opens two layers: the customer's outside, the service's inside.
  ///
  /// - Parameter keys: Each with its layer: the primary ones, and older ones that records may still be under.
  public init(keys: [(layer: Layer, key: RootKey)], resource: ResourceID, dataClass: DataClass) {
    let scopes = keys.map { RecordScope(key: $0.key, layer: $0.layer, resource: resource, dataClass: dataClass) }
    first = scopes.filter { $0.layer == .customer }
    second = scopes.filter { $0.layer == .service }
  }

  /// Opens one layer.
  public init(key: RootKey, layer: Layer, resource: ResourceID, dataClass: DataClass) {
    first = [RecordScope(key: key, layer: layer, resource: resource, dataClass: dataClass)]
    second = nil
  }

  /// Opens a record.
  ///
  /// - Throws: `integrityFailure` (`truncated`, `not-authentic`, `unknown-root-key`); `invalidInput` (`malformed`) and
  ///   `unsupported` (`unknown-format`) by its header; `unavailable` (`lease-ended`).
  public func open(
    _ sealed: [UInt8], as object: String, identifiers: [String: String] = [:]
  ) throws(KeyCustodyError) -> [UInt8] {
    try open(sealed, as: object, identifiers: identifiers, at: nil)
  }

  package func open(
    _ sealed: [UInt8], as object: String, identifiers: [String: String], at now: Duration?
  ) throws(KeyCustodyError) -> [UInt8] {
    try [UInt8](count: try contentLength(sealed: sealed.count)) {
      (output: inout MutableRawSpan) throws(KeyCustodyError) in
      try open(unsafe sealed.span.bytes, as: object, identifiers: identifiers, at: now, into: &output)
    }
  }

  /// The length of a record's content, from that of its sealed form.
  ///
  /// - Throws: `integrityFailure` (`truncated`, `not-authentic`) for a length that can't be.
  public func contentLength(sealed count: Int) throws(KeyCustodyError) -> Int {
    let within = try RecordLayer.contentLength(sealed: count)
    return second == nil ? within : try RecordLayer.contentLength(sealed: within)
  }

  /// Opens a record into a buffer of exactly its content's length.
  ///
  /// - Throws: as ``open(_:as:identifiers:)``, and `invalidInput` (`wrong-size`) for a buffer of another length; nothing
  ///   of the content is in the buffer then.
  public func open(
    _ sealed: RawSpan, as object: String, identifiers: [String: String] = [:], into output: inout MutableRawSpan
  ) throws(KeyCustodyError) {
    try open(sealed, as: object, identifiers: identifiers, at: nil, into: &output)
  }

  package func open(
    _ sealed: RawSpan, as object: String, identifiers: [String: String], at now: Duration?,
    into output: inout MutableRawSpan
  ) throws(KeyCustodyError) {
    let count = try contentLength(sealed: sealed.byteCount)
    guard output.byteCount == count else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "The buffer for this record must have \(count) bytes, not \(output.byteCount).")
    }
    let now = now.map(LeaseTerms.ticks)
    let scope = try Self.scope(of: sealed, first, at: now)
    let rest = try RecordScope.rest(object: object, identifiers: identifiers)
    let name = unsafe object.utf8.span.bytes
    guard let second else {
      try scope.open(sealed, name: name, rest: unsafe rest.span.bytes, into: &output)
      return
    }
    try unsafe withUnsafeTemporaryAllocation(byteCount: count + RecordLayer.overhead, alignment: 16) {
      (between) throws(KeyCustodyError) in
      var span = unsafe MutableRawSpan(_unsafeBytes: between)
      try scope.open(sealed, name: name, rest: unsafe rest.span.bytes, into: &span)
      let inner = try Self.scope(of: span.bytes, second, at: now)
      try inner.open(span.bytes, name: name, rest: unsafe rest.span.bytes, into: &output)
    }
  }

  @inline(__always)
  private static func scope(
    of sealed: RawSpan, _ scopes: [RecordScope], at now: Int64?
  ) throws(KeyCustodyError) -> RecordScope {
    let id = try SealedHeader.rootKey(ofRecord: sealed)
    for scope in scopes where scope.key.id == id {
      if let now { try scope.requireLease(at: now) }
      return scope
    }
    throw KeyCustodyError(
      .integrityFailure, .unknownRootKey, "This is sealed under root key \(id), which is not at hand.",
      remedy: "Open it with the keys of the resource that sealed it.")
  }
}
