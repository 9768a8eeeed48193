import CKeyCustodyPKCS11

/// Attributes of an object, to make it or to find it.
struct Template: Sendable {
  /// The value of an attribute.
  enum Value: Sendable, Hashable {
    /// CK_BBOOL.
    case flag(Bool)
    /// CK_ULONG.
    case number(CK_ULONG)
    /// Bytes.
    case bytes([UInt8])
    /// An array of CK_ULONG.
    case numbers([CK_ULONG])

    /// As C lays it out.
    var encoded: [UInt8] {
      switch self {
      case .flag(let flag): [flag ? 1 : 0]
      case .number(let number): number.octets
      case .bytes(let bytes): bytes
      case .numbers(let numbers): numbers.flatMap(\.octets)
      }
    }
  }

  /// The attributes, in order.
  let entries: [(type: CK_ATTRIBUTE_TYPE, value: Value)]
  private let encoded: Encoded

  init(_ entries: [(CK_ATTRIBUTE_TYPE, Value)]) {
    self.entries = entries.map { (type: $0.0, value: $0.1) }
    encoded = Encoded(self.entries)
  }

  static func + (left: Self, right: Self) -> Self {
    Template((left.entries + right.entries).map { ($0.type, $0.value) })
  }

  /// The same attributes with some values exchanged.
  func setting(_ changes: [CK_ATTRIBUTE_TYPE: Value]) -> Template {
    Template(entries.map { ($0.type, changes[$0.type] ?? $0.value) })
  }

  /// Lends the attributes as C takes them, and CKA_VALUE from memory that is not copied.
  func lend<Result, Failure: Error>(
    value: UnsafeRawBufferPointer? = nil,
    _ body: (UnsafeMutablePointer<CK_ATTRIBUTE>?, CK_ULONG) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let count = entries.count
    guard let value = unsafe value else { return try unsafe body(encoded.attributes.baseAddress, CK_ULONG(count)) }
    let attributes = UnsafeMutableBufferPointer<CK_ATTRIBUTE>.allocate(capacity: count + 1)
    defer { unsafe attributes.deallocate() }
    _ = unsafe attributes.initialize(from: encoded.attributes)
    let start = unsafe UnsafeMutableRawPointer(mutating: value.baseAddress)
    unsafe attributes.initializeElement(
      at: count, to: CK_ATTRIBUTE(type: CKA_VALUE, pValue: start, ulValueLen: CK_ULONG(value.count)))
    return try unsafe body(attributes.baseAddress, CK_ULONG(count + 1))
  }
}

/// Attributes laid out for C once, since some templates go with every wrap and unwrap.
@safe
private final class Encoded: @unchecked Sendable {
  // Unchecked: written at init only; modules read templates, though PKCS#11 has no `const`.
  let attributes: UnsafeMutableBufferPointer<CK_ATTRIBUTE>
  private let values: UnsafeMutableRawBufferPointer

  init(_ entries: [(type: CK_ATTRIBUTE_TYPE, value: Template.Value)]) {
    // Every value begins at a multiple of 8, as CK_ULONG asks.
    var memory: [UInt8] = []
    var places: [(offset: Int, count: Int)] = []
    for entry in entries {
      let encoded = entry.value.encoded
      places.append((memory.count, encoded.count))
      memory += encoded
      memory += [UInt8](repeating: 0, count: (8 - memory.count % 8) % 8)
    }
    unsafe values = .allocate(byteCount: max(8, memory.count), alignment: 8)
    unsafe values.copyBytes(from: memory)
    unsafe attributes = .allocate(capacity: entries.count)
    for (index, (entry, place)) in zip(entries, places).enumerated() {
      let start = unsafe values.baseAddress?.advanced(by: place.offset)
      unsafe attributes.initializeElement(
        at: index, to: CK_ATTRIBUTE(type: entry.type, pValue: start, ulValueLen: CK_ULONG(place.count)))
    }
  }

  deinit {
    unsafe attributes.deallocate()
    unsafe values.deallocate()
  }
}

extension CK_ULONG {
  /// The number as C lays it out on this machine.
  var octets: [UInt8] { unsafe withUnsafeBytes(of: self) { unsafe Array($0) } }

  /// Reads what C laid out; `nil` for another length.
  init?(octets: [UInt8]?) {
    guard let octets, octets.count == MemoryLayout<CK_ULONG>.size else { return nil }
    self = unsafe octets.withUnsafeBytes { unsafe $0.loadUnaligned(as: CK_ULONG.self) }
  }
}
