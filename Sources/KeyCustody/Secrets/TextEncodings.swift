/// Text forms of bytes. Not for secrets: strings can't be cleared.
extension [UInt8] {
  /// Two lower-case hexadecimal digits a byte.
  public var hexadecimal: String {
    let alphabet = Alphabet.hexadecimal
    return String.written(count * 2) { text in
      for byte in self {
        text.append(alphabet[Int(byte >> 4)])
        text.append(alphabet[Int(byte & 15)])
      }
    }
  }

  /// Reads hexadecimal digits of either case; `nil` when anything else is in the text.
  public init?(hexadecimal text: some StringProtocol) {
    let digits = Array(text.utf8)
    guard digits.count.isMultiple(of: 2) else { return nil }
    self.init()
    reserveCapacity(digits.count / 2)
    for index in stride(from: 0, to: digits.count, by: 2) {
      guard let high = Self.value(ofHexadecimal: digits[index]), let low = Self.value(ofHexadecimal: digits[index + 1])
      else { return nil }
      append(high << 4 | low)
    }
  }

  private static func value(ofHexadecimal digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
    default: nil
    }
  }

  /// Base64url without padding (RFC 4648, section 5; RFC 7515, appendix C).
  public var base64URL: String {
    let alphabet = Alphabet.base64URL
    return String.written((count * 4 + 2) / 3) { text in
      var index = 0
      while index < count {
        let left = count - index
        let word =
          UInt32(self[index]) << 16 | (left > 1 ? UInt32(self[index + 1]) << 8 : 0)
          | (left > 2 ? UInt32(self[index + 2]) : 0)
        for digit in 0..<Swift.min(left + 1, 4) {
          text.append(alphabet[Int(word >> (18 - 6 * UInt32(digit))) & 63])
        }
        index += 3
      }
    }
  }

  /// Reads base64url, with or without padding; `nil` for any other character, a bad length, or stray bits at the end.
  public init?(base64URL text: some StringProtocol) {
    let digits = Array(text.utf8)
    var count = digits.count
    if count.isMultiple(of: 4) {
      while count > 0, digits[count - 1] == UInt8(ascii: "="), count % 4 != 2 { count -= 1 }
    }
    guard count % 4 != 1 else { return nil }
    let values = Alphabet.values
    self.init(repeating: 0, count: count * 3 / 4)
    var (word, bits, written) = (UInt32(0), UInt32(0), 0)
    for index in 0..<count {
      let value = values[Int(digits[index])]
      guard value < 64 else { return nil }
      word = word << 6 | UInt32(value)
      bits += 6
      if bits >= 8 {
        bits -= 8
        self[written] = UInt8(truncatingIfNeeded: word >> bits)
        written += 1
      }
    }
    guard word & ((1 << bits) - 1) == 0 else { return nil }
  }

  /// The UTF-8 bytes of a text.
  public init(utf8 text: String) { self.init(text.utf8) }
}

extension String {
  /// The text with ASCII letters in lower case; the very same one where it has no other.
  var lowercasedASCII: String {
    let isUpper = { (byte: UInt8) in byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") }
    guard utf8.contains(where: isUpper) else { return self }
    return String(decoding: utf8.map { isUpper($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
  }

  /// A text of so many ASCII characters, which `body` appends.
  fileprivate static func written(_ count: Int, _ body: (inout OutputSpan<UInt8>) -> Void) -> String {
    unsafe String(unsafeUninitializedCapacity: count) { buffer in
      var text = unsafe OutputSpan(buffer: buffer, initializedCount: 0)
      body(&text)
      return unsafe text.finalize(for: buffer)
    }
  }

  /// Whether both are the same bytes: to `==` there are characters that are the same as others, the Kelvin sign and K.
  package func hasBytes(of other: String) -> Bool {
    // Of texts as long as each other `==` is the quicker in saying no.
    guard utf8.count == other.utf8.count, self == other else { return false }
    let (mine, theirs) = (utf8.span, other.utf8.span)
    for index in mine.indices where mine[index] != theirs[index] { return false }
    return true
  }
}

extension UInt8 {
  /// Whether this is an ASCII hexadecimal digit.
  var isHexadecimal: Bool {
    switch self {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
      UInt8(ascii: "A")...UInt8(ascii: "F"):
      true
    default: false
    }
  }
}

private enum Alphabet {
  static let hexadecimal = Array("0123456789abcdef".utf8)
  static let base64URL = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
  /// The value of each character of base64url; 64 for all others.
  static let values: [UInt8] = {
    var values = [UInt8](repeating: 64, count: 256)
    for (value, character) in base64URL.enumerated() { values[Int(character)] = UInt8(value) }
    return values
  }()
}
