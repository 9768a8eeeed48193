@testable import KeyCustody
@testable import KeyCustodyCrypto

extension FuzzTarget {
  /// PKCS#8 of the P-256 key whose private number is 1.
  static let sampleKey: [UInt8] =
    [
      0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
      0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01, 0x01, 0x04, 0x20,
    ] + [UInt8](repeating: 0, count: 31) + [1]

  private static func readPublicKey(_ bytes: [UInt8]) {
    guard let key = allowing([.invalidInput], { try PublicKey(spki: bytes) }) else { return }
    require(KeyType.offered.contains(key.type), "a key of a type that is not offered was read")
    guard let algorithm = SignatureAlgorithm.fitting(key.type).first else { return }
    let digest = [UInt8](repeating: 5, count: algorithm.digestLength)
    let isGood = made { try key.verify([UInt8](repeating: 1, count: 64), digest: digest, algorithm) }
    require(!isGood, "a signature of nobody verifies")
  }

  private static func readPrivateKey(_ bytes: [UInt8], as type: KeyType) {
    let read = allowing([.invalidInput]) { () throws -> SoftwareKey in
      try SoftwareKey.read(SecretBytes(copying: bytes), as: type)
    }
    guard let key = read else { return }
    let again = made { try SoftwareKey.read(try key.serialized(), as: type) }
    require(made { try again.fingerprint() } == made { try key.fingerprint() }, "a key does not read back")
    require(key.type == type, "a key of another type was read")
  }

  private static func readSignature(_ bytes: [UInt8], _ curve: EllipticCurve) {
    if let raw = ECDSASignature.raw(fromDER: bytes, curve: curve) {
      require(raw.count == 2 * curve.coordinateLength, "a raw signature of another length")
      let der = ECDSASignature.der(fromRaw: raw, curve: curve)
      require(der.flatMap { ECDSASignature.raw(fromDER: $0, curve: curve) } == raw, "a signature does not read back")
    }
    let padded = bytes + [UInt8](repeating: 3, count: max(0, 2 * curve.coordinateLength - bytes.count))
    let raw = Array(padded.prefix(2 * curve.coordinateLength))
    let der = ECDSASignature.der(fromRaw: raw, curve: curve)
    require(der.flatMap { ECDSASignature.raw(fromDER: $0, curve: curve) } == raw, "a signature is not kept")
  }

  /// What is read from DER: public keys, private keys, signatures.
  ///
  /// The first byte chooses.
  static let der = FuzzTarget(
    name: "der",
    seeds: {
      let key = made { try SoftwareKey.read(SecretBytes(copying: sampleKey), as: .ec(.p256)) }
      let point = made { try key.publicKey() } ?? []
      let modulus = [0xc1] + pattern(254) + [0x01]
      let rsa = DER.rsaPublicKey(modulus: modulus, exponent: [1, 0, 1])
      let signature = ECDSASignature.der(fromRaw: [0x80] + pattern(63), curve: .p256) ?? []
      return [[0] + point, [0] + rsa, [1] + sampleKey, [2] + signature, [3] + pattern(96), [4] + pattern(132)]
    },
    run: { input in
      guard let mode = input.first else { return }
      let bytes = Array(input.dropFirst())
      switch mode % 5 {
      case 0: readPublicKey(bytes)
      case 1: readPrivateKey(bytes, as: .ec(.p256))
      case 2: readSignature(bytes, .p256)
      case 3: readSignature(bytes, .p384)
      default: readSignature(bytes, .p521)
      }
    })
}
