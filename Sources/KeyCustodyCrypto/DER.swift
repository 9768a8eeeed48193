package import KeyCustody

/// The few DER structures (ITU-T X.690) that are put together by hand.
package enum DER {
  /// One tag with its content.
  static func element(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
    let count = content.count
    if count < 0x80 { return [tag, UInt8(count)] + content }
    let bytes = withUnsafeBigEndianBytes(of: UInt32(count)).drop { $0 == 0 }
    return [tag, 0x80 | UInt8(bytes.count)] + bytes + content
  }

  private static func withUnsafeBigEndianBytes(of value: UInt32) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
  }

  /// A non-negative INTEGER.
  static func integer(_ magnitude: some Sequence<UInt8>) -> [UInt8] {
    let bytes = Array(magnitude.drop { $0 == 0 })
    return element(0x02, bytes.first.map { $0 >= 0x80 ? [0] + bytes : bytes } ?? [0])
  }

  /// `SubjectPublicKeyInfo` of an RSA key (RFC 8017, appendix A.1.1), from big-endian modulus and exponent.
  package static func rsaPublicKey(modulus: [UInt8], exponent: [UInt8]) -> [UInt8] {
    let algorithm: [UInt8] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00]
    let key = element(0x30, integer(modulus) + integer(exponent))
    return element(0x30, algorithm + element(0x03, [0] + key))
  }

  /// The object identifier of a named curve, with its tag (RFC 5480, section 2.1.1.1): PKCS#11's `CKA_EC_PARAMS`.
  package static func parameters(of curve: EllipticCurve) -> [UInt8] {
    switch curve {
    case .p256: [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]
    case .p384: [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22]
    case .p521: [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23]
    }
  }

  /// `SubjectPublicKeyInfo` of an EC key (RFC 5480, section 2), from its uncompressed point 04 ‖ x ‖ y.
  package static func ecPublicKey(curve: EllipticCurve, point: [UInt8]) -> [UInt8] {
    let algorithm: [UInt8] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01] + parameters(of: curve)
    return element(0x30, element(0x30, algorithm) + element(0x03, [0] + point))
  }

  /// `DigestInfo` with SHA-256 (RFC 8017, section 9.2): what RSASSA-PKCS1-v1_5 signs.
  package static func digestInfoSHA256(_ digest: [UInt8]) -> [UInt8] {
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20]
      + digest
  }
}

/// The two forms of an ECDSA signature: r ‖ s (RFC 7518, section 3.4) and DER (RFC 3279, section 2.2.3).
enum ECDSASignature {
  static func der(fromRaw raw: [UInt8], curve: EllipticCurve) -> [UInt8]? {
    let half = curve.coordinateLength
    guard raw.count == 2 * half else { return nil }
    return DER.element(0x30, DER.integer(raw.prefix(half)) + DER.integer(raw.suffix(half)))
  }

  static func raw(fromDER der: [UInt8], curve: EllipticCurve) -> [UInt8]? {
    var rest = der[...]
    guard let content = take(0x30, &rest), rest.isEmpty else { return nil }
    var inner = content
    guard let r = take(0x02, &inner), let s = take(0x02, &inner), inner.isEmpty else { return nil }
    let half = curve.coordinateLength
    let parts = [r, s].map { $0.drop { $0 == 0 } }
    guard parts.allSatisfy({ $0.count <= half }) else { return nil }
    return parts.flatMap { [UInt8](repeating: 0, count: half - $0.count) + $0 }
  }

  private static func take(_ tag: UInt8, _ bytes: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    guard bytes.popFirst() == tag, let first = bytes.popFirst() else { return nil }
    var count = Int(first)
    if first == 0x81 {
      guard let next = bytes.popFirst() else { return nil }
      count = Int(next)
    } else if first > 0x80 {
      return nil
    }
    guard bytes.count >= count else { return nil }
    defer { bytes = bytes.dropFirst(count) }
    return bytes.prefix(count)
  }
}
