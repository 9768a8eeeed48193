import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import Testing

/// Every operation of a software key, over every type.
struct SoftwareKeyTests {
  private static let signing: [(KeyType, SignatureAlgorithm)] = KeyType.offered.flatMap { type in
    SignatureAlgorithm.fitting(type).map { (type, $0) }
  }
  private static let rsa: [KeyType] = [.rsa(bits: 2048), .rsa(bits: 3072), .rsa(bits: 4096)]

  @Test("A key written and read again is the same key", arguments: KeyType.offered)
  func serialization(type: KeyType) throws {
    let made = try SharedKeys.key(type)
    let again = try SoftwareKey.read(try made.serialized(), as: type)
    #expect(try again.fingerprint() == made.fingerprint())
    #expect(try again.publicKey() == made.publicKey())
    #expect(again.type == type)
  }

  @Test("A key is not read as one of another type", arguments: KeyType.offered)
  func otherTypes(type: KeyType) throws {
    let material = try SharedKeys.key(type).serialized()
    for other in KeyType.offered where other != type {
      #expect(throws: KeyCustodyError.self) { try SoftwareKey.read(material, as: other) }
    }
    #expect(throws: KeyCustodyError.self) {
      try SoftwareKey.read(SecretBytes(copying: material.array + [0]), as: type)
    }
    #expect(throws: KeyCustodyError.self) {
      try SoftwareKey.read(SecretBytes(copying: Array(material.array.dropLast())), as: type)
    }
  }

  @Test("What a key signs its public key verifies, and nothing else", arguments: signing)
  func signatures(type: KeyType, algorithm: SignatureAlgorithm) throws {
    let key = try SharedKeys.key(type)
    let publicKey = try PublicKey(spki: try #require(try key.publicKey()))
    var digest = try SystemRandom().bytes(algorithm.digestLength)
    var signature = try key.sign(digest, algorithm)
    if case .ec(let curve) = type { #expect(signature.count == 2 * curve.coordinateLength) }
    #expect(try publicKey.verify(signature, digest: digest, algorithm))
    digest[0] ^= 1
    #expect(try !publicKey.verify(signature, digest: digest, algorithm))
    digest[0] ^= 1
    signature[signature.count - 1] ^= 1
    #expect(try !publicKey.verify(signature, digest: digest, algorithm))
    #expect(try !publicKey.verify([], digest: digest, algorithm))
    #expect(throws: KeyCustodyError(.invalidInput, .wrongSize, "")) {
      try key.sign(Array(digest.dropLast()), algorithm)
    }
  }

  @Test("200 raw ECDSA signatures verify: r and s keep their leading zeros", arguments: EllipticCurve.allCases)
  func leadingZeros(curve: EllipticCurve) throws {
    let key = try SharedKeys.key(.ec(curve))
    let publicKey = try PublicKey(spki: try #require(try key.publicKey()))
    let algorithm = SignatureAlgorithm.fitting(.ec(curve))[0]
    for _ in 0..<200 {
      let digest = try SystemRandom().bytes(algorithm.digestLength)
      let signature = try key.sign(digest, algorithm)
      #expect(signature.count == 2 * curve.coordinateLength)
      #expect(try publicKey.verify(signature, digest: digest, algorithm))
    }
  }

  @Test(
    "OAEP wraps and unwraps, and its two hashes are not taken for each other",
    .disabled(if: FIPSRun.isOn, "FIPS mode wraps nothing by RSA-OAEP with SHA-1"), arguments: rsa)
  func oaep(type: KeyType) throws {
    let key = try SharedKeys.key(type)
    let secret = try SystemRandom().secret(64)
    for (right, wrong) in [(WrapAlgorithm.rsaOAEP, WrapAlgorithm.rsaOAEP256), (.rsaOAEP256, .rsaOAEP)] {
      let wrapped = try key.wrap(secret, right)
      #expect(try key.unwrap(wrapped, right).array == secret.array)
      #expect(throws: KeyCustodyError.notAuthenticWrap) { _ = try key.unwrap(wrapped, wrong).array }
      for index in stride(from: 0, to: wrapped.count, by: 64) {
        var changed = wrapped
        changed[index] ^= 1
        #expect(throws: KeyCustodyError.notAuthenticWrap) { _ = try key.unwrap(changed, right).array }
      }
      for cut in [[], Array(wrapped.dropLast()), wrapped + [0]] {
        #expect(throws: KeyCustodyError.notAuthenticWrap) { _ = try key.unwrap(cut, right).array }
      }
      #expect(try key.wrap(secret, right) != wrapped)
    }
  }

  @Test("RSA-OAEP-256 wraps and unwraps, and opens nothing that was changed", arguments: rsa)
  func oaep256(type: KeyType) throws {
    let key = try SharedKeys.key(type)
    let secret = try SystemRandom().secret(64)
    var wrapped = try key.wrap(secret, .rsaOAEP256)
    #expect(try key.unwrap(wrapped, .rsaOAEP256).array == secret.array)
    wrapped[wrapped.count / 2] ^= 1
    #expect(throws: KeyCustodyError.notAuthenticWrap) { _ = try key.unwrap(wrapped, .rsaOAEP256).array }
  }

  @Test("An algorithm that does not fit a key is refused", arguments: KeyType.offered)
  func wrongAlgorithms(type: KeyType) throws {
    let key = try SharedKeys.key(type)
    let secret = try SystemRandom().secret(32)
    for algorithm in [WrapAlgorithm.rsaOAEP, .rsaOAEP256, .aes256KW]
    where !WrapAlgorithm.fitting(type).contains(algorithm) {
      #expect(throws: KeyCustodyError(.invalidInput, .wrongKeyType, "")) { try key.wrap(secret, algorithm) }
      #expect(throws: KeyCustodyError(.invalidInput, .wrongKeyType, "")) { _ = try key.unwrap([1], algorithm).array }
    }
    for algorithm in SignatureAlgorithm.allCases where !SignatureAlgorithm.fitting(type).contains(algorithm) {
      #expect(throws: KeyCustodyError(.invalidInput, .wrongKeyType, "")) {
        try key.sign([UInt8](repeating: 0, count: algorithm.digestLength), algorithm)
      }
    }
  }

  @Test("The encoding of a public key put together by hand is OpenSSL's own", arguments: KeyType.offered)
  func publicKeys(type: KeyType) throws {
    guard let spki = try SharedKeys.key(type).publicKey() else { return }
    switch type {
    case .ec(let curve):
      let point = Array(spki.suffix(2 * curve.coordinateLength + 1))
      #expect(point.first == 4)
      #expect(DER.ecPublicKey(curve: curve, point: point) == spki)
    case .rsa(let bits):
      // A modulus has its top bit set, so it is preceded by one zero byte; the exponent 65537 stands at the end.
      #expect(spki.suffix(5) == [0x02, 0x03, 0x01, 0x00, 0x01])
      let modulus = Array(spki.dropLast(5).suffix(bits / 8))
      #expect(DER.rsaPublicKey(modulus: modulus, exponent: [1, 0, 1]) == spki)
      #expect(DER.rsaPublicKey(modulus: [0, 0] + modulus, exponent: [0, 1, 0, 1]) == spki)
    case .aes: break
    }
    #expect(try PublicKey(spki: spki).type == type)
    #expect(throws: KeyCustodyError.self) { try PublicKey(spki: spki + [0]) }
    #expect(throws: KeyCustodyError.self) { try PublicKey(spki: Array(spki.dropLast())) }
  }

  @Test("DigestInfo is the one of RFC 8017, section 9.2, note 1")
  func digestInfo() {
    let prefixes = [
      32: "3031300d060960864801650304020105000420", 48: "3041300d060960864801650304020205000430",
      64: "3051300d060960864801650304020305000440",
    ]
    for (length, prefix) in prefixes {
      let digest = [UInt8](repeating: 9, count: length)
      #expect(DER.digestInfo(digest).hexadecimal == prefix + String(repeating: "09", count: length))
    }
  }
}

/// One key of each type for all tests: RSA takes its time to make.
enum SharedKeys {
  private static let keys = Result { () throws -> [KeyType: SoftwareKey] in
    var keys: [KeyType: SoftwareKey] = [:]
    for type in KeyType.offered { keys[type] = try SoftwareKey.generate(type, random: SystemRandom()) }
    return keys
  }

  static func key(_ type: KeyType) throws -> SoftwareKey { try #require(try keys.get()[type]) }
}
