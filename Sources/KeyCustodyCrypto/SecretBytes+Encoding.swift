package import KeyCustody

/// Secrets out of text, and put together, in memory that is cleared.
extension SecretBytes {
  /// Reads base64url (RFC 4648, section 5), with or without padding.
  ///
  /// No table is looked into, so what the digits are does not show in the time that it takes. `nil` for any other
  /// character, a bad length, or stray bits at the end.
  package static func decoded(base64URL text: String) -> SecretBytes? {
    var digits = text.utf8[...]
    if digits.count.isMultiple(of: 4) {
      for _ in 0..<2 where digits.last == UInt8(ascii: "=") { digits.removeLast() }
    }
    guard digits.count % 4 != 1 else { return nil }
    var isSound = true
    let result = SecretBytes(count: digits.count * 3 / 4) { output in
      var word: UInt32 = 0
      var bits: UInt32 = 0
      var offset = 0
      for digit in digits {
        let value = value(ofBase64URL: digit)
        isSound = isSound && value >= 0
        word = word << 6 | UInt32(bitPattern: value & 63)
        bits += 6
        if bits >= 8 {
          bits -= 8
          output.storeBytes(of: UInt8(truncatingIfNeeded: word >> bits), toByteOffset: offset, as: UInt8.self)
          offset += 1
        }
      }
      isSound = isSound && word & ((1 << bits) - 1) == 0
    }
    guard isSound else { return nil }
    return result
  }

  /// These bytes as base64url without padding (RFC 4648, section 5), in a time that depends on their number alone.
  package var base64URL: SecretBytes {
    withBytes { bytes in
      SecretBytes(count: (bytes.byteCount * 4 + 2) / 3) { output in
        for digit in 0..<output.byteCount {
          // Six bits that begin in one byte and may end in the next.
          let (offset, shift) = (digit * 6 / 8, digit * 6 % 8)
          let next = offset + 1 < bytes.byteCount ? bytes[offset + 1] : 0
          let pair = UInt16(bytes[offset]) << 8 | UInt16(next)
          let value = Int32(pair >> UInt16(10 - shift)) & 63
          output.storeBytes(of: Self.base64URLDigit(of: value), toByteOffset: digit, as: UInt8.self)
        }
      }
    }
  }

  /// The digit of a value from 0 to 63.
  private static func base64URLDigit(of value: Int32) -> UInt8 {
    // All ones from a value on, and else zero.
    func from(_ first: Int32) -> Int32 { (first - 1 - value) >> 31 }
    // Letters, small letters, figures, a dash, a low line: each begins so far from where the one before it ends.
    let digit =
      65 + value + (from(26) & (97 - 65 - 26)) + (from(52) & (48 - 97 - 26)) + (from(62) & (45 - 48 - 10))
      + (from(63) & (95 - 45 - 1))
    return UInt8(truncatingIfNeeded: digit)
  }

  /// The value of a digit; -1 for what is none.
  private static func value(ofBase64URL digit: UInt8) -> Int32 {
    let code = Int32(digit)
    // All ones for a code within the bounds, and else zero.
    func within(_ low: UInt8, _ high: UInt8) -> Int32 { ((Int32(low) - 1 - code) & (code - Int32(high) - 1)) >> 31 }
    return
      (within(UInt8(ascii: "A"), UInt8(ascii: "Z")) & (code - 65 + 1)
      | within(UInt8(ascii: "a"), UInt8(ascii: "z")) & (code - 97 + 26 + 1)
      | within(UInt8(ascii: "0"), UInt8(ascii: "9")) & (code - 48 + 52 + 1)
      | within(UInt8(ascii: "-"), UInt8(ascii: "-")) & (62 + 1)
      | within(UInt8(ascii: "_"), UInt8(ascii: "_")) & (63 + 1)) - 1
  }

  /// These bytes with others before them.
  package func preceded(by head: [UInt8]) -> SecretBytes {
    SecretBytes(copying: head).followed(by: self)
  }

  /// These bytes with others behind them.
  package func followed(by tail: borrowing SecretBytes) -> SecretBytes {
    let start = count
    return SecretBytes(count: start + tail.count) { output in
      unsafe output.withUnsafeMutableBytes { to in
        withBytes { bytes in unsafe bytes.withUnsafeBytes { unsafe to.copyMemory(from: $0) } }
        tail.withBytes { bytes in
          unsafe bytes.withUnsafeBytes { from in
            unsafe UnsafeMutableRawBufferPointer(rebasing: to[start...]).copyMemory(from: from)
          }
        }
      }
    }
  }

  /// A big-endian number without its leading zero bytes.
  var magnitude: SecretBytes {
    withBytes { bytes in
      let zeros = (0..<bytes.byteCount).first { bytes[$0] != 0 } ?? bytes.byteCount
      return SecretBytes(copying: bytes.extracting(zeros..<bytes.byteCount))
    }
  }

  /// How many bits a number has that stands without leading zero bytes.
  var bitCount: Int { withBytes { $0.byteCount == 0 ? 0 : $0.byteCount * 8 - $0[0].leadingZeroBitCount } }

  /// Whether the last bit of a number is set.
  var isOdd: Bool { withBytes { $0.byteCount > 0 && $0[$0.byteCount - 1] & 1 == 1 } }

  /// A number in so many bytes, zeros before it; it must not have more.
  func padded(to length: Int) -> SecretBytes { preceded(by: [UInt8](repeating: 0, count: length - count)) }
}

extension DER {
  /// One tag with its secret content.
  static func element(_ tag: UInt8, _ content: borrowing SecretBytes) -> SecretBytes {
    content.preceded(by: header(tag, content.count))
  }

  /// A positive INTEGER that is secret, from a number without leading zero bytes.
  static func integer(_ magnitude: borrowing SecretBytes) -> SecretBytes {
    let sign: [UInt8] = magnitude.withBytes { $0[0] >= 0x80 ? [0] : [] }
    return magnitude.preceded(by: header(0x02, sign.count + magnitude.count) + sign)
  }

  /// PKCS#8 `PrivateKeyInfo` (RFC 5958, section 2) around the algorithm's own form of a private key.
  static func privateKeyInfo(_ algorithm: [UInt8], _ key: borrowing SecretBytes) -> SecretBytes {
    let version: [UInt8] = [0x02, 0x01, 0x00]
    return element(0x30, element(0x04, key).preceded(by: version + algorithm))
  }

  /// PKCS#8 of an EC key: `ECPrivateKey` (RFC 5915, section 3) with d in full length and the point 04 ‖ x ‖ y.
  static func ecPrivateKey(curve: EllipticCurve, d: borrowing SecretBytes, point: [UInt8]) -> SecretBytes {
    let publicKey = element(0xa1, element(0x03, [0] + point))
    let inner = element(0x04, d).preceded(by: [0x02, 0x01, 0x01]).followed(by: SecretBytes(copying: publicKey))
    return privateKeyInfo(ecAlgorithm(curve), element(0x30, inner))
  }
}
