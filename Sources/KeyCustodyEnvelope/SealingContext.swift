public import KeyCustody

/// What sealed data belongs to.
///
/// Every layer binds it: data that was moved to another resource, class or object, or whose identifiers kept in clear
/// were changed, does not open (E14).
///
/// Resource and data class count in their lower-case form; object and identifiers byte for byte.
public struct SealingContext: Sendable, Hashable {
  /// The longest object name, in bytes of UTF-8.
  public static let maximumObjectLength = 512
  /// The most identifiers.
  public static let maximumIdentifierCount = 32
  /// The longest name of an identifier, in bytes of UTF-8.
  public static let maximumNameLength = 128
  /// The longest value of an identifier, in bytes of UTF-8.
  public static let maximumValueLength = 1024

  /// The resource.
  public let resource: ResourceID
  /// The class of data, by the service's profile.
  public let dataClass: DataClass
  /// Names the object within the resource.
  public let object: String
  /// Identifiers that are stored in clear beside the sealed data.
  public let identifiers: [String: String]
  /// The encoded fields that all layers share; made once, since a context is often used again.
  private let sharedFields: [UInt8]

  /// Describes what data belongs to.
  ///
  /// - Throws: `invalidInput` (`wrong-size`) for an object name outside 1 to 512 bytes, more than 32 identifiers, or an
  ///   identifier with a name outside 1 to 128 bytes or a value over 1,024 bytes.
  public init(
    resource: ResourceID, dataClass: DataClass, object: String, identifiers: [String: String] = [:]
  ) throws(KeyCustodyError) {
    try Self.check("An object's name", object.utf8.count, 1...Self.maximumObjectLength)
    try Self.check(identifiers)
    self.resource = resource
    self.dataClass = dataClass
    self.object = object
    self.identifiers = identifiers
    var fields: [UInt8] = []
    fields.appendField(resource.folded.utf8)
    fields.appendField(dataClass.folded.utf8)
    fields.appendField(object.utf8)
    Self.append(identifiers, to: &fields)
    sharedFields = fields
  }

  /// The number of identifiers, then their names and values, ordered by the bytes of the name.
  static func append(_ identifiers: [String: String], to fields: inout [UInt8]) {
    let pairs = identifiers.map { (name: Array($0.key.utf8), value: Array($0.value.utf8)) }
    fields.appendCount(pairs.count)
    for pair in pairs.sorted(by: { $0.name.lexicographicallyPrecedes($1.name) }) {
      fields.appendField(pair.name)
      fields.appendField(pair.value)
    }
  }

  /// The start of ``encoded(for:header:)``, which all values of one resource, class and root key share.
  static func prefix(
    layer: Layer, header: SealedHeader, resource: ResourceID, dataClass: DataClass
  ) -> [UInt8] {
    var bytes = label
    bytes.appendField(header.bytes)
    bytes.appendField(layer.rawValue.utf8)
    bytes.appendField(resource.folded.utf8)
    bytes.appendField(dataClass.folded.utf8)
    return bytes
  }

  /// Requires identifiers within their limits.
  static func check(_ identifiers: [String: String]) throws(KeyCustodyError) {
    guard identifiers.count <= maximumIdentifierCount else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize,
        "A context takes \(maximumIdentifierCount) identifiers at most, not \(identifiers.count).",
        remedy: "Put what needs no name of its own into one of them, or into what is sealed.")
    }
    for (name, value) in identifiers {
      try check("An identifier's name", name.utf8.count, 1...maximumNameLength)
      try check("An identifier's value", value.utf8.count, 0...maximumValueLength)
    }
  }

  static func check(_ what: StaticString, _ length: Int, _ lengths: ClosedRange<Int>) throws(KeyCustodyError) {
    guard lengths.contains(length) else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize,
        "\(what) has \(lengths.lowerBound) to \(lengths.upperBound) bytes, not \(length).",
        remedy: "Give one within these bounds: a letter of English is one byte, others are up to four.")
    }
  }

  private static let label = Array("key-custody/v1/context".utf8)

  /// The canonical bytes that a layer authenticates: a label, then fields that each follow their length (32 bits,
  /// big-endian): the layer's own header, the layer's name, resource, data class, object; then the number of identifiers
  /// and their names and values, ordered by the bytes of the name.
  func encoded(for layer: Layer, header: SealedHeader) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Self.label.count + 4 + SealedHeader.length + 12 + sharedFields.count)
    bytes += Self.label
    bytes.appendField(header.bytes)
    bytes.appendField(layer.rawValue.utf8)
    bytes += sharedFields
    return bytes
  }
}

extension [UInt8] {
  /// Appends a number of 32 bits, big-endian.
  mutating func appendCount(_ count: Int) {
    let number = UInt32(count)
    append(UInt8(truncatingIfNeeded: number >> 24))
    append(UInt8(truncatingIfNeeded: number >> 16))
    append(UInt8(truncatingIfNeeded: number >> 8))
    append(UInt8(truncatingIfNeeded: number))
  }
  /// Appends a field behind its length.
  mutating func appendField(_ field: some Collection<UInt8>) {
    appendCount(field.count)
    append(contentsOf: field)
  }
}
