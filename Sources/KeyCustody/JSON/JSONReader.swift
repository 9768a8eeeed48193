extension JSON {
  /// How deep arrays and objects may stand in one another.
  package static let deepest = 32

  /// Reads one JSON text (RFC 8259).
  ///
  /// Refused are: text that is not UTF-8, half a surrogate pair, a name that stands twice in an object (names that
  /// differ only in how a letter is composed count as the same), nesting deeper than ``deepest``, anything after the
  /// value, a whole number beyond 64 bits, and any other beyond what `Double` reaches. How long a text may be is the
  /// caller's to say, before.
  ///
  /// - Throws: `invalidInput` (`malformed`); the diagnostic names the byte.
  package init(_ bytes: [UInt8]) throws(KeyCustodyError) {
    var reader = JSONReader(bytes: bytes)
    self = try reader.document()
  }
}

/// A place in a text that is being read.
private struct JSONReader {
  let bytes: [UInt8]
  var position = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  mutating func document() throws(KeyCustodyError) -> JSON {
    let value = try self.value(depth: 0)
    skipSpace()
    guard position == bytes.count else { throw refused("Something stands after the value.") }
    return value
  }

  private func refused(_ reason: String) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .malformed, "The text is not JSON that can be taken. \(reason)", diagnostic: "at byte \(position)")
  }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
  }

  /// Whether the next byte is this one, which is then behind.
  private mutating func take(_ byte: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: byte) else { return false }
    position += 1
    return true
  }

  private mutating func value(depth: Int) throws(KeyCustodyError) -> JSON {
    skipSpace()
    switch next {
    case UInt8(ascii: "{"): return try object(depth: depth + 1)
    case UInt8(ascii: "["): return try array(depth: depth + 1)
    case UInt8(ascii: "\""): return .string(try string())
    case .some(UInt8(ascii: "-")), .some(UInt8(ascii: "0")...UInt8(ascii: "9")): return try number()
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: throw refused("A value is missing.")
    }
  }

  private mutating func word(_ word: StaticString, _ value: JSON) throws(KeyCustodyError) -> JSON {
    let end = position + word.utf8CodeUnitCount
    guard end <= bytes.count, bytes[position..<end].elementsEqual(word.description.utf8) else {
      throw refused("A value is missing.")
    }
    position = end
    return value
  }

  private func enter(_ depth: Int) throws(KeyCustodyError) {
    guard depth <= JSON.deepest else { throw refused("It is nested deeper than \(JSON.deepest).") }
  }

  private mutating func array(depth: Int) throws(KeyCustodyError) -> JSON {
    try enter(depth)
    position += 1
    var values: [JSON] = []
    skipSpace()
    if take("]") { return .array(values) }
    while true {
      values.append(try value(depth: depth))
      skipSpace()
      if take("]") { return .array(values) }
      guard take(",") else { throw refused("An array does not end.") }
    }
  }

  private mutating func object(depth: Int) throws(KeyCustodyError) -> JSON {
    try enter(depth)
    position += 1
    var members: [JSON.Object.Member] = []
    // A set only where there are many: most objects are small.
    var names: Set<String> = []
    skipSpace()
    if take("}") { return .object(JSON.Object(distinct: members)) }
    while true {
      skipSpace()
      guard next == UInt8(ascii: "\"") else { throw refused("A member has no name.") }
      let name = try string()
      if members.count == 16 { names = Set(members.map(\.name)) }
      let isNew = members.count < 16 ? !members.contains { $0.name == name } : names.insert(name).inserted
      guard isNew else { throw refused("A name stands twice in an object.") }
      skipSpace()
      guard take(":") else { throw refused("A member has no value.") }
      members.append(JSON.Object.Member(name: name, value: try value(depth: depth)))
      skipSpace()
      if take("}") { return .object(JSON.Object(distinct: members)) }
      guard take(",") else { throw refused("An object does not end.") }
    }
  }

  // MARK: Numbers

  private mutating func digits() throws(KeyCustodyError) {
    let start = position
    while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
    guard position > start else { throw refused("A number lacks a digit.") }
  }

  private mutating func number() throws(KeyCustodyError) -> JSON {
    let start = position
    _ = take("-")
    if !take("0") { try digits() }
    var isWhole = true
    if take(".") {
      isWhole = false
      try digits()
    }
    if take("e") || take("E") {
      isWhole = false
      if !take("+") { _ = take("-") }
      try digits()
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if isWhole, let number = Int64(text) { return .integer(number) }
    if !isWhole, let number = Double(text), number.isFinite { return .number(number) }
    position = start
    throw refused("A number is too large.")
  }

  // MARK: Texts

  private mutating func string() throws(KeyCustodyError) -> String {
    position += 1
    let start = position
    while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { position += 1 }
    if next == UInt8(ascii: "\"") {
      defer { position += 1 }
      return try text(bytes.span.extracting(start..<position))
    }
    return try escapedString(from: start)
  }

  private func text(_ bytes: Span<UInt8>) throws(KeyCustodyError) -> String {
    guard let text = try? UTF8Span(validating: bytes) else { throw refused("A text is not UTF-8.") }
    return String(copying: text)
  }

  /// The text that began at `start` and has an escape at the current place, or ends badly there.
  private mutating func escapedString(from start: Int) throws(KeyCustodyError) -> String {
    var content = Array(bytes[start..<position])
    while let byte = next {
      switch byte {
      case UInt8(ascii: "\""):
        position += 1
        return try text(content.span)
      case UInt8(ascii: "\\"):
        position += 1
        try escape(into: &content)
      case 0..<0x20: throw refused("A control character stands in a text.")
      default:
        position += 1
        content.append(byte)
      }
    }
    throw refused("A text does not end.")
  }

  private mutating func escape(into content: inout [UInt8]) throws(KeyCustodyError) {
    guard let byte = next else { throw refused("A text does not end.") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(byte)
    case UInt8(ascii: "b"): content.append(0x08)
    case UInt8(ascii: "f"): content.append(0x0c)
    case UInt8(ascii: "n"): content.append(0x0a)
    case UInt8(ascii: "r"): content.append(0x0d)
    case UInt8(ascii: "t"): content.append(0x09)
    case UInt8(ascii: "u"): content.append(contentsOf: Array(String(try scalar()).utf8))
    default: throw refused("There is no such escape.")
    }
  }

  /// What follows `\u`: four digits, or a surrogate pair.
  private mutating func scalar() throws(KeyCustodyError) -> Character {
    let first = try codeUnit()
    var value = UInt32(first)
    if UTF16.isLeadSurrogate(first), take("\\"), take("u") {
      let second = try codeUnit()
      guard UTF16.isTrailSurrogate(second) else { throw refused("Half a surrogate pair stands in a text.") }
      value = 0x10000 + (UInt32(first) - 0xd800) << 10 + (UInt32(second) - 0xdc00)
    }
    guard let scalar = Unicode.Scalar(value) else { throw refused("Half a surrogate pair stands in a text.") }
    return Character(scalar)
  }

  private mutating func codeUnit() throws(KeyCustodyError) -> UInt16 {
    guard position + 4 <= bytes.count,
      let pair = [UInt8](hexadecimal: String(decoding: bytes[position..<position + 4], as: UTF8.self))
    else { throw refused("An escape lacks its four digits.") }
    position += 4
    return UInt16(pair[0]) << 8 | UInt16(pair[1])
  }
}
