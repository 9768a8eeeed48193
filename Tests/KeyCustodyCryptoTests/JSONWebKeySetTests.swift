import KeyCustody
import Testing

@testable import KeyCustodyCrypto

@Suite("Key sets (RFC 7517)")
struct JSONWebKeySetTests {
  /// The public keys of RFC 7517, appendix A.1.
  private static let ec: [(String, JSON?)] = [
    ("kty", "EC"), ("crv", "P-256"), ("x", "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"),
    ("y", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"), ("kid", "1"),
  ]
  private static let rsa: [(String, JSON?)] = [
    ("kty", "RSA"),
    (
      "n",
      .string(
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj"
          + "hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQ"
          + "vRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzK"
          + "nqDKgw")
    ), ("e", "AQAB"), ("alg", "RS256"), ("kid", "2011-04-29"),
  ]

  private func key(_ members: [(String, JSON?)], _ changes: [(String, JSON?)] = []) -> JSON {
    var object = JSON.Object()
    for (name, value) in members + changes { object[name] = value }
    return .object(object)
  }

  private func read(_ keys: [JSON]) throws(KeyCustodyError) -> JSONWebKeySet {
    try JSONWebKeySet(JSON(dictionaryLiteral: ("keys", .array(keys)), ("other", 1)).bytes)
  }

  @Test("RFC 7517, appendix A.1: the example keys")
  func example() throws {
    let keys = try read([key(Self.ec), key(Self.rsa)]).keys
    #expect(keys.map(\.keyID) == ["1", "2011-04-29"])
    #expect(keys.map(\.key.type) == [.ec(.p256), .rsa(bits: 2048)])
    #expect(keys.map(\.algorithms) == [[.es256], [.rs256]])
  }

  @Test(
    "A key that is not usable is left out, and the others stay",
    arguments: [
      [("use", "enc")], [("use", 1)], [("key_ops", ["encrypt"])], [("key_ops", "verify")], [("alg", "RSA-OAEP")],
      [("alg", "HS256")], [("alg", 1)], [("alg", "none")], [("alg", "rs256")], [("kty", "oct")], [("kty", "OKP")],
      [("kty", "rsa")], [("kty", nil)], [("kid", 1)], [("n", nil)], [("e", nil)], [("e", "AQ")], [("e", "Ag")],
      [("e", "AAAA")],
      [("e", "AQABAQAB")], [("n", "AQAB")], [("n", "")], [("n", "====")], [("n", 1)], [("alg", "ES256")],
    ] as [[(String, JSON?)]])
  func leftOut(_ changes: [(String, JSON?)]) throws {
    let keys = try read([key(Self.rsa, changes), key(Self.ec)]).keys
    #expect(keys.map(\.keyID) == ["1"])
  }

  @Test(
    "A point that is not on its curve, or of another size, is left out",
    arguments: [
      [("x", "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D5")], [("y", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyN")],
      [("y", "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4")], [("crv", "P-384")], [("crv", "secp256k1")],
      [("crv", nil)],
      [("x", "AAAA")], [("x", ""), ("y", "")], [("x", "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4=")],
    ] as [[(String, JSON?)]])
  func badPoints(_ changes: [(String, JSON?)]) throws {
    #expect(try read([key(Self.ec, changes)]).keys.isEmpty)
  }

  @Test(
    "A set that holds a private or secret key is refused", arguments: ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
  func privateKeys(_ member: String) {
    #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) {
      try read([key(Self.ec), key([("kty", "other"), (member, "AA")])])
    }
  }

  @Test("Two keys of one name are refused where a token could mean both")
  func sameName() throws {
    #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) { try read([key(Self.rsa), key(Self.rsa)]) }
    let other = key(Self.ec, [("kid", "2011-04-29")])
    #expect(try read([key(Self.rsa), other, key(Self.rsa, [("alg", "PS256")])]).keys.count == 3)
  }

  @Test("CVE-2017-15361: a modulus of the flawed generator is told from a sound one")
  func flawedGenerator() throws {
    var power: [UInt8] = [1]
    for exponent in 1...128 {
      // Times 65537: itself, and itself two bytes further on.
      let (high, low) = (power + [0, 0], [0, 0] + power)
      var carry = 0
      power = zip(high, low).reversed().map { (left, right) -> UInt8 in
        let sum = Int(left) + Int(right) + carry
        carry = sum >> 8
        return UInt8(truncatingIfNeeded: sum)
      }.reversed()
      if carry > 0 { power.insert(UInt8(carry), at: 0) }
      #expect(JSONWebKey.isPredictable(power), "65537 to the power of \(exponent)")
      var next = power
      next[next.count - 1] &+= 2
      #expect(!JSONWebKey.isPredictable(next))
    }
  }

  @Test("A set has at most 64 keys and 256 KiB")
  func limits() throws {
    let keys = (0..<65).map { key(Self.ec, [("kid", .string("\($0)"))]) }
    #expect(try read(Array(keys.dropLast())).keys.count == 64)
    #expect(throws: KeyCustodyError(.invalidInput, .wrongSize, "")) { try read(keys) }
    let text = Array(#"{"keys":[]}"#.utf8)
    let padding = [UInt8](repeating: 0x20, count: 256 * 1024 - text.count)
    #expect(try JSONWebKeySet(padding + text).keys.isEmpty)
    #expect(throws: KeyCustodyError(.invalidInput, .wrongSize, "")) { try JSONWebKeySet([0x20] + padding + text) }
  }

  @Test(
    "What is no key set is refused",
    arguments: ["", "[]", "{}", #"{"keys":{}}"#, #"{"keys":[1]}"#, #"{"keys":[],"keys":[]}"#])
  func malformed(_ text: String) {
    #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) { try JSONWebKeySet(Array(text.utf8)) }
  }
}
