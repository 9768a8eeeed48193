package import KeyCustody

/// The few DER structures (ITU-T X.690) that are put together by hand.
package enum DER {
  /// One tag with its content.
  static func element(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] { header(tag, content.count) + content }

  /// A tag and the length of its content.
  static func header(_ tag: UInt8, _ count: Int) -> [UInt8] {
    if count < 0x80 { return [tag, UInt8(count)] }
    let bytes = withUnsafeBigEndianBytes(of: UInt32(count)).drop { $0 == 0 }
    return [tag, 0x80 | UInt8(bytes.count)] + bytes
  }

  private static func withUnsafeBigEndianBytes(of value: UInt32) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
  }

  /// A non-negative INTEGER.
  static func integer(_ magnitude: some Sequence<UInt8>) -> [UInt8] {
    let bytes = Array(magnitude.drop { $0 == 0 })
    return element(0x02, bytes.first.map { $0 >= 0x80 ? [0] + bytes : bytes } ?? [0])
  }

  /// `AlgorithmIdentifier` of RSA keys (RFC 8017, appendix A.1).
  static let rsaAlgorithm: [UInt8] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
  ]

  /// `AlgorithmIdentifier` of EC keys (RFC 5480, section 2.1.1).
  static func ecAlgorithm(_ curve: EllipticCurve) -> [UInt8] {
    let algorithm: [UInt8] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]
    return element(0x30, algorithm + parameters(of: curve))
  }

  /// `SubjectPublicKeyInfo` of an RSA key (RFC 8017, appendix A.1.1), from big-endian modulus and exponent.
  package static func rsaPublicKey(modulus: [UInt8], exponent: [UInt8]) -> [UInt8] {
    let key = element(0x30, integer(modulus) + integer(exponent))
    return element(0x30, rsaAlgorithm + element(0x03, [0] + key))
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
    element(0x30, ecAlgorithm(curve) + element(0x03, [0] + point))
  }

  /// `DigestInfo` with the SHA-2 of the digest's length, 32, 48 or 64 bytes (RFC 8017, section 9.2): what
  /// RSASSA-PKCS1-v1_5 signs.
  package static func digestInfo(_ digest: [UInt8]) -> [UInt8] {
    // The last arc of the hash function's object identifier: SHA-256 is 1, SHA-384 is 2, SHA-512 is 3.
    let hash = UInt8(digest.count / 16 - 1)
    let identifier = element(0x06, [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash])
    return element(0x30, element(0x30, identifier + element(0x05, [])) + element(0x04, digest))
  }
}

/// The two forms of an ECDSA signature: r ‖ s (RFC 7518, section 3.4) and DER (RFC 3279, section 2.2.3).
package enum ECDSASignature {
  package static func der(fromRaw raw: [UInt8], curve: EllipticCurve) -> [UInt8]? {
    let half = curve.coordinateLength
    guard raw.count == 2 * half else { return nil }
    return DER.element(0x30, DER.integer(raw.prefix(half)) + DER.integer(raw.suffix(half)))
  }

  package static func raw(fromDER der: [UInt8], curve: EllipticCurve) -> [UInt8]? {
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
