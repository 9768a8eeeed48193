import KeyCustody

/// Writes a record as one line of JSON: fixed order, no spaces, and nothing but printable ASCII.
///
/// What is not printable ASCII is written as `\uXXXX`, so that no name can end a line, steer a terminal, or look like
/// another one.
struct AuditLineWriter {
  private var bytes: [UInt8] = [UInt8(ascii: "{")]

  mutating func number(_ name: String, _ value: some BinaryInteger) {
    begin(name)
    bytes.append(contentsOf: String(value).utf8)
  }

  mutating func text(_ name: String, _ value: String?) {
    begin(name)
    guard let value else { return bytes.append(contentsOf: "null".utf8) }
    bytes.append(UInt8(ascii: "\""))
    defer { bytes.append(UInt8(ascii: "\"")) }
    // Nearly all are, and need no look at each character.
    if value.utf8.allSatisfy({ (0x20...0x7e).contains($0) && $0 != 0x22 && $0 != 0x5c }) {
      return bytes.append(contentsOf: value.utf8)
    }
    for scalar in value.unicodeScalars {
      switch scalar.value {
      case 0x22, 0x5c: bytes += [0x5c, UInt8(scalar.value)]
      case 0x20...0x7e: bytes.append(UInt8(scalar.value))
      default: for unit in String(scalar).utf16 { escape(unit) }
      }
    }
  }

  mutating func end() -> [UInt8] {
    bytes.append(UInt8(ascii: "}"))
    return bytes
  }

  private mutating func begin(_ name: String) {
    if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
    bytes.append(UInt8(ascii: "\""))
    bytes.append(contentsOf: name.utf8)
    bytes.append(UInt8(ascii: "\""))
    bytes.append(UInt8(ascii: ":"))
  }

  private mutating func escape(_ unit: UInt16) {
    let digits = Array("0123456789abcdef".utf8)
    bytes += [0x5c, UInt8(ascii: "u")] + [12, 8, 4, 0].map { digits[Int(unit >> $0 & 15)] }
  }
}

/// Reads what ``AuditLineWriter`` wrote, member by member; `nil` from the first thing on that is something else.
struct AuditLineReader {
  private let bytes: [UInt8]
  private var place = 0

  init(_ line: [UInt8]) { bytes = line }

  mutating func number<Value: FixedWidthInteger>(_ name: String, _: Value.Type) -> Value? {
    guard begin(name) else { return nil }
    let start = place
    while place < bytes.count, bytes[place] == 0x2d || (0x30...0x39).contains(bytes[place]) { place += 1 }
    return Value(String(decoding: bytes[start..<place], as: UTF8.self))
  }

  mutating func text(_ name: String) -> String? {
    guard begin(name) else { return nil }
    return string()
  }

  /// A text or `null`; `nil` when it is neither.
  mutating func optionalText(_ name: String) -> String?? {
    guard begin(name) else { return nil }
    if skip("null") { return .some(nil) }
    return string().map { .some($0) }
  }

  private mutating func begin(_ name: String) -> Bool { skip(place == 0 ? "{\"" : ",\"") && skip(name) && skip("\":") }

  private mutating func skip(_ text: String) -> Bool {
    let wanted = text.utf8
    guard bytes[place...].starts(with: wanted) else { return false }
    place += wanted.count
    return true
  }

  private mutating func string() -> String? {
    guard skip("\"") else { return nil }
    var units: [UInt16] = []
    while place < bytes.count {
      let byte = bytes[place]
      place += 1
      switch byte {
      case 0x22:
        let text = String(decoding: units, as: UTF16.self)
        // Halves of pairs are repaired by decoding: not what stood there.
        return text.utf16.elementsEqual(units) ? text : nil
      case 0x5c:
        guard let unit = escaped() else { return nil }
        units.append(unit)
      case 0x20...0x7e: units.append(UInt16(byte))
      default: return nil
      }
    }
    return nil
  }

  private mutating func escaped() -> UInt16? {
    guard place < bytes.count else { return nil }
    let byte = bytes[place]
    place += 1
    if byte == 0x22 || byte == 0x5c { return UInt16(byte) }
    guard byte == UInt8(ascii: "u"), place + 4 <= bytes.count else { return nil }
    defer { place += 4 }
    return UInt16(String(decoding: bytes[place..<place + 4], as: UTF8.self), radix: 16)
  }
}
