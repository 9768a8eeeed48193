import KeyCustody

/// As much of a DER `SubjectPublicKeyInfo` (RFC 5280, section 4.1) as tells the type and size of the key in it.
enum SubjectPublicKeyInfo {
  /// The type of the key, where it is RSA or on one of the curves known here; `nil` for anything malformed.
  static func keyType(of bytes: [UInt8]) -> KeyType? {
    var outer = DERReader(bytes[...])
    guard var info = outer.read(0x30), outer.isAtEnd, var algorithm = info.read(0x30),
      let object = algorithm.read(0x06), let bits = info.read(0x03), info.isAtEnd, bits.rest.first == 0
    else { return nil }
    let key = bits.rest.dropFirst()
    switch Array(object.rest) {
    case rsaEncryption: return rsaType(key)
    case ecPublicKey:
      guard let curve = algorithm.read(0x06).flatMap({ curves[Array($0.rest)] }), key.first == 4,
        key.count == 1 + 2 * curve.coordinateLength
      else { return nil }
      return .ec(curve)
    default: return nil
    }
  }

  private static func rsaType(_ key: ArraySlice<UInt8>) -> KeyType? {
    var outer = DERReader(key)
    guard var numbers = outer.read(0x30), outer.isAtEnd, let modulus = numbers.read(0x02), numbers.read(0x02) != nil,
      numbers.isAtEnd
    else { return nil }
    let digits = modulus.rest.drop { $0 == 0 }
    guard let first = digits.first else { return nil }
    return .rsa(bits: digits.count * 8 - first.leadingZeroBitCount)
  }

  // 1.2.840.113549.1.1.1 (RFC 8017, appendix A.1), 1.2.840.10045.2.1 and the curves (RFC 5480, section 2.1.1).
  private static let rsaEncryption: [UInt8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]
  private static let ecPublicKey: [UInt8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]
  private static let curves: [[UInt8]: EllipticCurve] = [
    [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]: .p256, [0x2b, 0x81, 4, 0, 0x22]: .p384, [0x2b, 0x81, 4, 0, 0x23]: .p521,
  ]
}

/// Reads DER elements one after another.
private struct DERReader {
  private(set) var rest: ArraySlice<UInt8>
  init(_ bytes: ArraySlice<UInt8>) { rest = bytes }
  var isAtEnd: Bool { rest.isEmpty }

  /// The content of the next element, if it has this tag.
  mutating func read(_ tag: UInt8) -> DERReader? {
    guard rest.popFirst() == tag, let first = rest.popFirst() else { return nil }
    var length = Int(first)
    if first >= 0x80 {
      guard first > 0x80, first <= 0x83 else { return nil }
      length = 0
      for _ in 0..<(first & 0x7f) {
        guard let digit = rest.popFirst() else { return nil }
        length = length << 8 | Int(digit)
      }
    }
    guard rest.count >= length else { return nil }
    defer { rest = rest.dropFirst(length) }
    return DERReader(rest.prefix(length))
  }
}
