public import KeyCustody

/// Names a root key: the first 8 bytes of its commitment, written as 16 lower-case hexadecimal digits.
public struct RootKeyID: Sendable, Hashable, CustomStringConvertible {
  /// The length in bytes.
  public static let length = 8

  private let number: UInt64

  /// Takes the 8 bytes as they stand in a header.
  ///
  /// - Throws: `invalidInput` (`wrong-size`).
  public init(bytes: some Collection<UInt8>) throws(KeyCustodyError) {
    guard bytes.count == Self.length else {
      throw KeyCustodyError(.invalidInput, .wrongSize, "A root key is named by 8 bytes, not \(bytes.count).")
    }
    number = bytes.reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// Reads the written form.
  ///
  /// - Throws: `invalidInput` (`bad-name`).
  public init(_ text: String) throws(KeyCustodyError) {
    guard text.utf8.count == 2 * Self.length, let bytes = [UInt8](hexadecimal: text) else {
      throw KeyCustodyError(.invalidInput, .badName, "A root key is named by 16 hexadecimal digits.")
    }
    try self.init(bytes: bytes)
  }

  /// The name as it lies in a header.
  init(_ stored: UInt64) { number = UInt64(bigEndian: stored) }

  /// The 8 bytes as they lie in a header.
  var stored: UInt64 { number.bigEndian }

  /// The name within a commitment of 32 bytes.
  package init(commitment: [UInt8]) {
    number = commitment.prefix(Self.length).reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// The 8 bytes.
  public var bytes: [UInt8] {
    [UInt8](capacity: Self.length) { append(to: &$0) }
  }

  func append(to output: inout OutputSpan<UInt8>) {
    for shift in stride(from: 56, through: 0, by: -8) {
      output.append(UInt8(truncatingIfNeeded: number >> UInt64(shift)))
    }
  }

  /// The written form.
  public var description: String { bytes.hexadecimal }
}

extension RootKeyID: Codable {
  /// Reads the written form.
  public init(from decoder: any Decoder) throws {
    try self.init(try decoder.singleValueContainer().decode(String.self))
  }
  /// Writes the written form.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
