public import KeyCustody
import KeyCustodyEnvelope

/// Seals small values of one resource and data class by plain calls: no `await`, no look-up, only the two ciphers.
///
/// It comes from ``ProtectedResource/sealer(dataClass:)`` and works while the leases of the two root keys live. Using it
/// has them renewed in the background, as any other use does; when access is withdrawn, or nobody used it for as long as
/// a lease lasts, sealing throws `unavailable` (`lease-ended`): ask the resource for another one then, and hear the
/// reason. Any number of tasks may use one at a time.
///
/// A sealer goes on with the root keys it began with; of transient data, until their epoch ends. While a conversion runs, seal through the resource itself
/// (``ProtectedResource/seal(_:as:dataClass:identifiers:storing:)``), which the conversion waits for.
public final class Sealer: Sendable {
  private let sealer: RecordSealer
  private let time: any TimeSource
  /// When the epoch of transient data ends.
  private let end: Timestamp?

  init(_ sealer: RecordSealer, time: any TimeSource, until end: Timestamp? = nil) {
    self.sealer = sealer
    self.time = time
    self.end = end
  }

  /// What sealing adds, in bytes: 104.
  public var overhead: Int { sealer.overhead }

  private func requireLeases() throws(KeyCustodyError) {
    if let end, time.now() >= end {
      throw KeyCustodyError(
        .unavailable, .leaseEnded, "The epoch of transient data that this sealer seals for is over.",
        remedy: "Ask the resource for another one.")
    }
    try sealer.requireLeases(at: time.running())
  }

  /// Seals a value of at most 1 MiB.
  ///
  /// - Parameters:
  ///   - object: the value's name within the resource, 1 to 512 bytes; needed again to open it.
  ///   - identifiers: what is kept in clear beside the value; a changed or swapped identifier is found on opening.
  /// - Throws: `invalidInput` (`wrong-size`); `unavailable` (`lease-ended`).
  public func seal(
    _ bytes: [UInt8], as object: String, identifiers: [String: String] = [:]
  ) throws(KeyCustodyError) -> [UInt8] {
    try requireLeases()
    return try sealer.seal(bytes, as: object, identifiers: identifiers)
  }

  /// Seals a value into a buffer of exactly its length: that of the value and ``overhead``.
  ///
  /// - Throws: as ``seal(_:as:identifiers:)``; the buffer's bytes are undefined then, and tell nothing.
  public func seal(
    _ bytes: RawSpan, as object: String, identifiers: [String: String] = [:], into output: inout MutableRawSpan
  ) throws(KeyCustodyError) {
    try requireLeases()
    try sealer.seal(bytes, as: object, identifiers: identifiers, into: &output)
  }
}

/// Opens small values of one resource and data class by plain calls.
///
/// It comes from ``ProtectedResource/opener(dataClass:)`` and knows the root keys whose leases lived then. For a value
/// under another one, or once a lease has ended, opening throws `unavailable` (`lease-ended`) or `integrityFailure`
/// (`unknown-root-key`): ``ProtectedResource/open(_:as:dataClass:identifiers:)`` opens what can be opened at all.
public final class Opener: Sendable {
  private let opener: RecordOpener
  private let time: any TimeSource

  init(_ opener: RecordOpener, time: any TimeSource) {
    self.opener = opener
    self.time = time
  }

  /// Opens a value.
  ///
  /// - Throws: `integrityFailure` for anything altered, truncated, swapped or sealed with another context; `invalidInput`
  ///   and `unsupported` by its header; `unavailable` (`lease-ended`).
  public func open(
    _ sealed: [UInt8], as object: String, identifiers: [String: String] = [:]
  ) throws(KeyCustodyError) -> [UInt8] {
    try opener.open(sealed, as: object, identifiers: identifiers, at: time.running())
  }

  /// The length of a value, from that of its sealed form.
  ///
  /// - Throws: `integrityFailure` (`truncated`, `not-authentic`) for a length that can't be.
  public func contentLength(sealed count: Int) throws(KeyCustodyError) -> Int {
    try opener.contentLength(sealed: count)
  }

  /// Opens a value into a buffer of exactly its length.
  ///
  /// - Throws: as ``open(_:as:identifiers:)``; nothing of the value is in the buffer then.
  public func open(
    _ sealed: RawSpan, as object: String, identifiers: [String: String] = [:], into output: inout MutableRawSpan
  ) throws(KeyCustodyError) {
    try opener.open(sealed, as: object, identifiers: identifiers, at: time.running(), into: &output)
  }
}
