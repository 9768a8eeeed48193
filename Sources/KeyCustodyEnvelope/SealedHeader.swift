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
    guard head.count == Self.length else { throw truncated("The sealed data") }
    guard head[0] == UInt8(ascii: "K"), head[1] == UInt8(ascii: "C"),
      let kind = Kind.allCases.first(where: { $0.byte == head[2] })
    else {
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
    self.init(kind: kind, rootKey: try RootKeyID(bytes: head[4...]))
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
