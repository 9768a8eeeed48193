public import KeyCustody

/// What a key envelope is for.
///
/// All of it stands in the envelope's protected header, and none of it is taken from there: the reader brings it from
/// the binding of the resource.
public struct KeyEnvelopeFacts: Sendable, Hashable {
  /// The full URI of the KEK's version.
  public var kid: String
  /// How the KEK wraps.
  public var algorithm: WrapAlgorithm
  /// The resource.
  public var resource: ResourceID
  /// The layer.
  public var layer: Layer
  /// What the root key is for.
  public var group: RootKeyGroup
  /// Counts the root keys of one resource, layer and group.
  public var epoch: Int

  /// States the facts.
  public init(
    kid: String, algorithm: WrapAlgorithm, resource: ResourceID, layer: Layer, group: RootKeyGroup, epoch: Int
  ) {
    self.kid = kid
    self.algorithm = algorithm
    self.resource = resource
    self.layer = layer
    self.group = group
    self.epoch = epoch
  }

  /// The protected header: JSON in ASCII without white space, its members always in the same order.
  var protectedHeader: [UInt8] {
    get throws(KeyCustodyError) {
      var header: [UInt8] = []
      header.reserveCapacity(384)
      try Self.append("{\"alg\":\"", algorithm.rawValue, to: &header)
      try Self.append("\",\"enc\":\"A256GCM\",\"kid\":\"", kid, to: &header)
      try Self.append("\",\"kc-res\":\"", resource.folded, to: &header)
      try Self.append("\",\"kc-layer\":\"", layer.rawValue, to: &header)
      try Self.append("\",\"kc-group\":\"", group.rawValue, to: &header)
      header += "\",\"kc-epoch\":\(epoch)}".utf8
      return header
    }
  }

  /// Adds what introduces a text, and the text.
  ///
  /// What would need escaping has no place in a key's address or an algorithm's name.
  private static func append(
    _ head: String, _ text: String, to header: inout [UInt8]
  ) throws(KeyCustodyError) {
    header += head.utf8
    let start = header.count
    header += text.utf8
    let isPlain = header[start...].allSatisfy {
      $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
    }
    guard isPlain, (1...1024).contains(header.count - start) else {
      throw KeyCustodyError(
        .invalidInput, .malformed, "A key's address or algorithm has characters that can't stand in an envelope.",
        remedy: "Use 1 to 1,024 printable ASCII characters without spaces, quotes and backslashes.")
    }
  }
}
