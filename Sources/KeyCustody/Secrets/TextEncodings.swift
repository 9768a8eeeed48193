/// Text forms of bytes. Not for secrets: strings can't be cleared.
extension [UInt8] {
  /// Two lower-case hexadecimal digits a byte.
  public var hexadecimal: String {
    var result: [UInt8] = []
    result.reserveCapacity(count * 2)
    for byte in self {
      result.append(Alphabet.hexadecimal[Int(byte >> 4)])
      result.append(Alphabet.hexadecimal[Int(byte & 15)])
    }
    return String(decoding: result, as: UTF8.self)
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
    var result = [UInt8](repeating: 0, count: (count * 4 + 2) / 3)
    var (index, written) = (0, 0)
    while index < count {
      let left = count - index
      let word =
        UInt32(self[index]) << 16 | (left > 1 ? UInt32(self[index + 1]) << 8 : 0)
        | (left > 2 ? UInt32(self[index + 2]) : 0)
      for digit in 0..<Swift.min(left + 1, 4) {
        result[written] = alphabet[Int(word >> (18 - 6 * UInt32(digit))) & 63]
        written += 1
      }
      index += 3
    }
    return String(decoding: result, as: UTF8.self)
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
