package import KeyCustody

/// A public key that verifies signatures, as a key set writes it (JWK, RFC 7517, section 4).
package struct JSONWebKey: Sendable {
  /// Its name in the set.
  package let keyID: String?
  /// The key.
  package let key: PublicKey
  /// What it may verify: the one algorithm that it declares, or all that fit its type.
  package let algorithms: Set<SignatureAlgorithm>

  /// What only a private or secret key has (RFC 7518, sections 6.2.2, 6.3.2 and 6.4).
  static let privateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]

  /// Reads a key; `nil` when it is not usable here.
  init?(_ members: JSON.Object) {
    guard Self.isForSignatures(members), let encoded = Self.subjectPublicKeyInfo(members),
      let key = try? PublicKey(spki: encoded)
    else { return nil }
    var algorithms = Set(SignatureAlgorithm.fitting(key.type))
    if let declared = members["alg"] {
      guard let name = declared.string, let algorithm = SignatureAlgorithm(exactly: name) else { return nil }
      algorithms.formIntersection([algorithm])
    }
    let keyID = members["kid"]
    guard !algorithms.isEmpty, keyID == nil || keyID?.string != nil else { return nil }
    self.keyID = keyID?.string
    self.key = key
    self.algorithms = algorithms
  }

  /// Whether a token could mean the one or the other.
  func answersLike(_ other: JSONWebKey) -> Bool {
    guard let keyID, let otherID = other.keyID else { return false }
    return keyID == otherID && !algorithms.isDisjoint(with: other.algorithms)
  }

  private static func isForSignatures(_ members: JSON.Object) -> Bool {
    if let use = members["use"], use != "sig" { return false }
    guard let operations = members["key_ops"] else { return true }
    return operations.array?.contains("verify") ?? false
  }

  private static func subjectPublicKeyInfo(_ members: JSON.Object) -> [UInt8]? {
    switch members["kty"] {
    case "RSA":
      guard let modulus = bytes(members["n"]), let exponent = bytes(members["e"]) else { return nil }
      // An exponent of 1 verifies anything. No longer one than 32 bits is in use, and long ones are slow on purpose.
      let value = exponent.count <= 4 ? exponent.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } : 0
      guard value >= 3, value % 2 == 1, modulus.count <= 1024, !Self.isPredictable(modulus) else { return nil }
      return DER.rsaPublicKey(modulus: modulus, exponent: exponent)
    case "EC":
      guard let name = members["crv"]?.string, let curve = EllipticCurve(rawValue: name),
        let x = bytes(members["x"]), let y = bytes(members["y"]),
        x.count == curve.coordinateLength, y.count == curve.coordinateLength
      else { return nil }
      return DER.ecPublicKey(curve: curve, point: [0x04] + x + y)
    default: return nil
    }
  }

  private static func bytes(_ value: JSON?) -> [UInt8]? {
    guard let text = value?.string, text.utf8.last != UInt8(ascii: "=") else { return nil }
    return [UInt8](base64URL: text)
  }

  /// Whether a modulus has the mark of the flawed generator of CVE-2017-15361 (ROCA), whose keys can be factored.
  ///
  /// Its moduli are powers of 65537 modulo each of the first primes. Of sound ones, one in 200 million is too.
  static func isPredictable(_ modulus: [UInt8]) -> Bool {
    let primes: [UInt32] = [
      3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
      113,
      127, 131, 137, 139, 149, 151, 157, 163, 167,
    ]
    return primes.allSatisfy { prime in
      let remainder = modulus.reduce(UInt32(0)) { ($0 << 8 | UInt32($1)) % prime }
      var power: UInt32 = 1
      repeat {
        if power == remainder { return true }
        power = power * (65537 % prime) % prime
      } while power != 1
      return false
    }
  }
}
