public import KeyCustody

/// What stands before every layer: 12 bytes, of which nothing is secret.
///
///     offset  length  content
///          0       2  "KC"
///          2       1  "R" for a record, "O" for an object
///          3       1  format number: 1
///          4       8  name of the root key
public struct SealedHeader: Sendable, Hashable {
  /// What follows the header.
  public enum Kind: String, Sendable, Hashable, CaseIterable {
    /// A small value in one piece.
    case record
    /// A stream of any size with random access.
    case object

    var byte: UInt8 { self == .record ? UInt8(ascii: "R") : UInt8(ascii: "O") }
  }

  /// The length in bytes.
  public static let length = 12
  /// The format number this version writes, and the only one it reads.
  public static let formatNumber: UInt8 = 1

  /// What follows.
  public let kind: Kind
  /// The root key of the layer.
  public let rootKey: RootKeyID

  /// Describes a layer.
  public init(kind: Kind, rootKey: RootKeyID) {
    self.kind = kind
    self.rootKey = rootKey
  }

  /// Reads the first 12 bytes; what comes after them is not looked at.
  ///
  /// - Throws: `integrityFailure` (`truncated`) for fewer than 12; `invalidInput` (`malformed`) for what is not sealed
  ///   data; `unsupported` (`unknown-format`) for a format number of another version.
  public init(parsing bytes: some Collection<UInt8>) throws(KeyCustodyError) {
    let head = [UInt8](bytes.prefix(Self.length))
    try self.init(parsing: unsafe head.span.bytes)
  }

  /// Reads the first 12 bytes where they lie; as ``init(parsing:)-(Collection<UInt8>)``.
  public init(parsing head: RawSpan) throws(KeyCustodyError) {
    guard head.byteCount >= Self.length else { throw truncated("The sealed data") }
    let kind: Kind? =
      switch head[2] {
      case Kind.record.byte: .record
      case Kind.object.byte: .object
      default: nil
      }
    guard head[0] == UInt8(ascii: "K"), head[1] == UInt8(ascii: "C"), let kind else {
      throw KeyCustodyError(
        .invalidInput, .malformed, "This is not sealed data: it does not begin with KCR or KCO.",
        remedy: "Check that the right file or column was read, and that it was sealed at all.")
    }
    guard head[3] == Self.formatNumber else {
      throw KeyCustodyError(
        .unsupported, .unknownFormat,
        "This is sealed in format \(head[3]); this version knows format \(Self.formatNumber) only.",
        remedy: "Open it with the version that sealed it, or a newer one.")
    }
    self.init(kind: kind, rootKey: RootKeyID(unsafe head.unsafeLoadUnaligned(fromByteOffset: 4, as: UInt64.self)))
  }

  /// Reads a header and requires what the caller knows already.
  init(parsing bytes: some Collection<UInt8>, kind: Kind, key: RootKey) throws(KeyCustodyError) {
    try self.init(parsing: bytes)
    try require(kind)
    guard rootKey == key.id else {
      throw KeyCustodyError(
        .integrityFailure, .unknownRootKey, "This is sealed under root key \(rootKey), not under \(key.id).",
        remedy: "Open it with the keys of the resource that sealed it.")
    }
  }

  func require(_ expected: Kind) throws(KeyCustodyError) {
    guard kind == expected else {
      throw KeyCustodyError(
        .invalidInput, .malformed, "This is a sealed \(kind.rawValue), not a sealed \(expected.rawValue).",
        remedy: "Open it as a sealed \(kind.rawValue).")
    }
  }

  /// Writes the 12 bytes to the start of a buffer.
  func store(in target: inout MutableRawSpan) {
    target.storeBytes(of: Self.mark(kind), toByteOffset: 0, as: UInt32.self)
    target.storeBytes(of: rootKey.stored, toByteOffset: 4, as: UInt64.self)
  }

  /// The first four bytes, as they are stored.
  private static func mark(_ kind: Kind) -> UInt32 {
    let letters = UInt32(UInt8(ascii: "K")) << 24 | UInt32(UInt8(ascii: "C")) << 16
    return (letters | UInt32(kind.byte) << 8 | UInt32(formatNumber)).bigEndian
  }

  /// The root key that a record's header names.
  ///
  /// - Throws: as ``init(parsing:)-(Collection<UInt8>)``, and for another kind.
  static func rootKey(ofRecord head: RawSpan) throws(KeyCustodyError) -> RootKeyID {
    guard head.byteCount >= length, unsafe head.unsafeLoadUnaligned(as: UInt32.self) == mark(.record) else {
      let header = try SealedHeader(parsing: head)
      try header.require(.record)
      return header.rootKey
    }
    return RootKeyID(unsafe head.unsafeLoadUnaligned(fromByteOffset: 4, as: UInt64.self))
  }

  /// The 12 bytes.
  public var bytes: [UInt8] {
    return [UInt8](capacity: Self.length) { output in
      output.append(UInt8(ascii: "K"))
      output.append(UInt8(ascii: "C"))
      output.append(kind.byte)
      output.append(Self.formatNumber)
      rootKey.append(to: &output)
    }
  }
}
