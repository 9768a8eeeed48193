import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Private JSON Web Keys that are imported, and the members of public ones.
@Suite("JSON Web Keys")
struct JSONWebKeyTests {
  /// A key as it was read, for a test that does something with it.
  private static func read(_ members: [String: String]) throws -> SoftwareKey {
    let key = try PrivateJSONWebKey.importable(members)
    return try SoftwareKey.read(key.material, as: key.type)
  }

  /// What a member says.
  private static func bytes(of member: String?) throws -> [UInt8] {
    let text = try #require(member)
    return try #require([UInt8](base64URL: text))
  }

  /// The error that reading ends with.
  private static func refusal(_ members: [String: String]) -> KeyCustodyError? {
    do throws(KeyCustodyError) { _ = try PrivateJSONWebKey.importable(members).type } catch { return error }
    return nil
  }

  @Test("The private keys of RFC 7517, appendix A.2, are read, and their public members written again")
  func knownKeys() throws {
    for (members, type) in [(WrittenKeys.rsa, KeyType.rsa(bits: 2048)), (WrittenKeys.ec, .ec(.p256))] {
      let key = try PrivateJSONWebKey.importable(members)
      #expect(key.type == type)
      let software = try SoftwareKey.read(key.material, as: type)
      // What OpenSSL writes is what was put together by hand.
      #expect(try software.serialized().array == key.material.array)
      let written = try PublicKey(spki: try #require(try software.publicKey())).jsonWebKeyMembers
      #expect(written.map(\.name) == (type == .ec(.p256) ? ["crv", "x", "y"] : ["n", "e"]))
      for (name, value) in written { #expect(value == members[name]) }
      #expect(try PrivateJSONWebKey.importable(members).takeMaterial().array == key.material.array)
    }
    #expect(Self.refusal(WrittenKeys.shortAES)?.reason == .wrongSize)
  }

  @Test("What a key's public half wraps or verifies, the imported key unwraps or signs", arguments: KeyType.offered)
  func roundTrip(type: KeyType) throws {
    let members = try Self.members(of: try SharedKeys.key(type))
    let imported = try Self.read(members)
    #expect(imported.type == type)
    #expect(try imported.fingerprint() == SharedKeys.key(type).fingerprint())
    let secret = try SystemRandom().secret(32)
    guard let spki = try imported.publicKey() else {
      let wrapped = try SharedKeys.key(type).wrap(secret, .aes256KW)
      #expect(try imported.unwrap(wrapped, .aes256KW).array == secret.array)
      return
    }
    let publicKey = try PublicKey(spki: spki)
    for (name, value) in publicKey.jsonWebKeyMembers { #expect(value == members[name]) }
    for algorithm in SignatureAlgorithm.fitting(type) {
      let digest = try SystemRandom().bytes(algorithm.digestLength)
      #expect(try publicKey.verify(try imported.sign(digest, algorithm), digest: digest, algorithm))
    }
    if case .rsa = type {
      #expect(try imported.unwrap(try publicKey.wrap(secret, .rsaOAEP256), .rsaOAEP256).array == secret.array)
    }
  }

  @Test("The kinds of an HSM's keys are read as the plain ones; padding and leading zeros change nothing")
  func spellings() throws {
    for members in [WrittenKeys.rsa, WrittenKeys.ec, try Self.members(of: try SharedKeys.key(.aes(bits: 256)))] {
      let plain = try PrivateJSONWebKey.importable(members).material.array
      var other = members
      other["kty"] = members["kty"].map { "\($0)-HSM" }
      other["kid"] = "a name"
      for (name, value) in members where !["kty", "crv"].contains(name) {
        let zeros: [UInt8] = name == "k" ? [] : [0, 0]
        let bytes = zeros + (try Self.bytes(of: value))
        let digits = bytes.base64URL
        other[name] = digits + String(repeating: "=", count: (4 - digits.utf8.count % 4) % 4)
      }
      #expect(try PrivateJSONWebKey.importable(other).material.array == plain)
    }
  }

  @Test("A missing, empty or unreadable member is refused by its name")
  func missingMembers() throws {
    let aes = try Self.members(of: try SharedKeys.key(.aes(bits: 256)))
    for members in [WrittenKeys.rsa, WrittenKeys.ec, aes] {
      for name in members.keys {
        for value in [nil, "", "A", "AA=", "A A A", "ééé", "AB", String(repeating: "A", count: 2000)] as [String?] {
          var changed = members
          changed[name] = value
          let error = try #require(Self.refusal(changed), "\(name) = \(value ?? "nil")")
          #expect(error.code == .invalidInput)
          #expect(error.message.contains("'\(name)'"), "\(error)")
          if let value, value.utf8.count > 1 { #expect(!error.description.contains(value)) }
        }
      }
    }
  }

  @Test("A number that does not fit the others is refused", arguments: ["n", "e", "d", "p", "q", "dp", "dq", "qi"])
  func misfits(name: String) throws {
    var members = WrittenKeys.rsa
    var bytes = try Self.bytes(of: members[name])
    // Still odd and of the same length; a changed p or q is even seldom more than composite.
    bytes[bytes.count / 2] ^= 4
    members[name] = bytes.base64URL
    let error = try #require(Self.refusal(members))
    #expect(error.code == .invalidInput)
    // A changed exponent is told from a changed `d` by nobody.
    #expect(error.message.contains("'\(name == "e" ? "d" : name)'"), "\(error)")
  }

  @Test("Sizes, exponents and factors outside what is offered are refused")
  func bounds() throws {
    func refused(_ changes: [String: [UInt8]], _ mention: String) throws {
      var members = WrittenKeys.rsa
      for (name, value) in changes { members[name] = value.base64URL }
      let error = try #require(Self.refusal(members))
      #expect(error.code == .invalidInput && error.message.contains(mention), "\(error)")
    }
    let modulus = try Self.bytes(of: WrittenKeys.rsa["n"])
    try refused(["n": Array(modulus.dropFirst())], "2040 bits")
    try refused(["n": Array(modulus.suffix(128))], "'n'")
    try refused(["n": modulus + [1]], "2056 bits")
    try refused(["n": modulus.dropLast() + [2]], "'n' is even")
    for exponent: [UInt8] in [[1], [2], [1, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0, 1]] { try refused(["e": exponent], "'e'") }
    try refused(["p": [3]], "'p' does not have half")
    try refused(["q": [3]], "'q' does not have half")
    try refused(["d": [1] + [UInt8](repeating: 0, count: 256)], "'d' is greater")
    // The square of a prime.
    try refused(["q": try Self.bytes(of: WrittenKeys.rsa["p"])], "'n'")
  }

  @Test("A point off the curve, and a private number of another point, are refused", arguments: EllipticCurve.allCases)
  func curves(curve: EllipticCurve) throws {
    let members = try Self.members(of: try SharedKeys.key(.ec(curve)))
    let other = try Self.members(of: try SoftwareKey.generate(.ec(curve), random: SystemRandom()))
    var changed = members
    changed["x"] = other["x"]
    #expect(Self.refusal(changed)?.message.contains("'x' and 'y' are no point") == true)
    changed = members
    changed["d"] = other["d"]
    #expect(Self.refusal(changed)?.message.contains("'d' does not belong") == true)
    changed["d"] = [UInt8](repeating: 0xff, count: curve.coordinateLength).base64URL
    #expect(Self.refusal(changed)?.message.contains("'d'") == true)
    changed["d"] = [UInt8](repeating: 0xff, count: curve.coordinateLength + 1).base64URL
    #expect(Self.refusal(changed)?.message.contains("'d' is too long") == true)
    for name in EllipticCurve.allCases.map(\.rawValue) + ["P-256K", "secp256k1"] where name != curve.rawValue {
      changed = members
      changed["crv"] = name
      #expect(Self.refusal(changed)?.code == .invalidInput)
    }
  }

  @Test("An RSA key whose numbers all fit is refused when 'p' is composite", .timeLimit(.minutes(1)))
  func compositeFactor() throws {
    for members in [WrittenKeys.pseudoprime, WrittenKeys.carmichael] {
      let error = try #require(Self.refusal(members))
      #expect(error.code == .invalidInput)
      #expect(error.message == "The key's 'p' is not a prime number.")
    }
  }

  /// A private key's members, taken from the PKCS#8 that OpenSSL writes.
  private static func members(of key: SoftwareKey) throws -> [String: String] {
    let material = try key.serialized().array
    guard let spki = try key.publicKey() else { return ["kty": "oct", "k": material.base64URL] }
    var members: [String: String] = [:]
    for (name, value) in try PublicKey(spki: spki).jsonWebKeyMembers { members[name] = value }
    var reader = DERReader(material)
    var content = try reader.take(0x30)
    _ = try content.take(0x02)
    _ = try content.take(0x30)
    let octets = try content.take(0x04)
    var inner = octets
    var numbers = try inner.take(0x30)
    _ = try numbers.take(0x02)
    if case .ec = key.type {
      members["kty"] = "EC"
      members["d"] = Array(try numbers.take(0x04).bytes).base64URL
    } else {
      members["kty"] = "RSA"
      for name in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] {
        let number = Array(try numbers.take(0x02).bytes.drop { $0 == 0 })
        if let known = members[name] { #expect(known == number.base64URL) }
        members[name] = number.base64URL
      }
    }
    return members
  }
}

/// Goes through DER that is known to be sound.
private struct DERReader {
  var bytes: ArraySlice<UInt8>

  init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes)[...] }

  mutating func take(_ tag: UInt8) throws -> DERReader {
    let found = bytes.prefix(2)
    bytes = bytes.dropFirst(2)
    try #require(found.first == tag && found.count == 2)
    var count = found.last.map(Int.init) ?? 0
    if count >= 0x80 {
      let length = bytes.prefix(count & 0x7f)
      bytes = bytes.dropFirst(length.count)
      count = length.reduce(0) { $0 << 8 | Int($1) }
    }
    defer { bytes = bytes.dropFirst(count) }
    return DERReader(bytes.prefix(count))
  }
}

/// Private keys written as JSON Web Keys.
struct WrittenPrivateKeyTests {
  @Test("A key that is written as a JSON Web Key is read as the same key", arguments: KeyType.offered)
  func roundTrip(type: KeyType) throws {
    let key = try SoftwareKey.generate(type, random: SystemRandom())
    let text = try key.privateJSONWebKeyMembers().array
    let object = try #require(try JSON(Array("{".utf8) + text + Array("}".utf8)).object)
    let kind =
      switch type {
      case .rsa: "RSA"
      case .ec: "EC"
      case .aes: "oct"
      }
    var members = ["kty": kind]
    for member in object.members { members[member.name] = member.value.string }
    let read = try PrivateJSONWebKey.importable(members)
    #expect(read.type == type)
    let again = try SoftwareKey.read(read.material, as: type)
    #expect(try again.fingerprint() == key.fingerprint())
  }

  @Test("Base64url in cleared memory is base64url, of every length and digit")
  func base64URL() throws {
    for count in 0...66 {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 89 &+ count) }
      let text = SecretBytes(copying: bytes).base64URL.array
      #expect(text == Array(bytes.base64URL.utf8))
    }
  }
}
