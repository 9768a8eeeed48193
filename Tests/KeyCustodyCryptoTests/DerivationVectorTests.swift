import KeyCustody
import KeyCustodyCrypto
import Testing

/// Published vectors of the functions that keys are derived with.
struct DerivationVectorTests {
  private static let hashes: [(String, HashAlgorithm)] = [
    ("sha256", .sha256), ("sha384", .sha384), ("sha512", .sha512),
  ]

  private func mac(_ hash: HashAlgorithm, key: [UInt8], _ data: [UInt8]) throws -> [UInt8] {
    try Hashing.hmac(hash, key: unsafe key.span.bytes, [data]).array
  }

  @Test("Wycheproof: HMAC", arguments: hashes)
  func hmac(name: String, hash: HashAlgorithm) throws {
    guard let file = try Vectors.wycheproof("hmac_\(name)") else { return }
    var tally = Tally(wycheproof: "hmac_\(name)")
    for group in file.testGroups {
      for test in group.tests {
        let tag = try bytes(test.tag ?? "")
        let found = try mac(hash, key: try bytes(test.key ?? ""), try bytes(test.msg ?? ""))
        let isGood = Array(found.prefix(tag.count)) == tag
        #expect(isGood == (test.result == "valid"), "\(test.tcId) \(test.comment)")
        if test.result == "valid" { tally.valid += 1 } else { tally.invalid += 1 }
      }
    }
    tally.report()
  }

  @Test("Wycheproof: HKDF, its first step being HMAC under the salt", arguments: hashes)
  func hkdf(name: String, hash: HashAlgorithm) throws {
    guard let file = try Vectors.wycheproof("hkdf_\(name)") else { return }
    var tally = Tally(wycheproof: "hkdf_\(name)")
    for test in file.testGroups.flatMap(\.tests) {
      guard test.result == "valid", let size = test.size, size <= 255 * hash.length else {
        tally.skip("of more than RFC 5869 allows: a caller's mistake, not an input")
        continue
      }
      let extracted = try mac(hash, key: try bytes(test.salt ?? ""), try bytes(test.ikm ?? ""))
      let info = try bytes(test.info ?? "")
      let found = try Hashing.expand(hash, key: unsafe extracted.span.bytes, info: info, count: size).array
      #expect(found.hexadecimal == test.okm, "\(test.tcId) \(test.comment)")
      tally.valid += 1
    }
    tally.report()
  }

  @Test("Wycheproof: PBKDF2 with HMAC-SHA-512, as far as 32 bytes show")
  func pbkdf2() throws {
    guard let file = try Vectors.wycheproof("pbkdf2_hmacsha512") else { return }
    var tally = Tally(wycheproof: "pbkdf2_hmacsha512")
    for test in file.testGroups.flatMap(\.tests) {
      let expected = try bytes(test.dk ?? "")
      let found = try Hashing.pbkdf2(
        passphrase: SecretBytes(copying: try bytes(test.password ?? "")), salt: try bytes(test.salt ?? ""),
        iterations: test.iterationCount ?? 0
      ).array
      let shown = min(found.count, expected.count)
      #expect(found.prefix(shown) == expected.prefix(shown), "\(test.tcId) \(test.comment)")
      tally.valid += 1
    }
    tally.report()
  }

  @Test("RFC 5869 as pyca carries it: HKDF with SHA-256")
  func rfc5869() throws {
    let name = "pyca/rfc-5869-HKDF-SHA256.txt"
    guard let cases = try Vectors.nist(name) else { return }
    var tally = Tally(name)
    for test in cases {
      let extracted = try mac(.sha256, key: try bytes(test["salt"] ?? ""), try bytes(test["IKM"] ?? ""))
      #expect(extracted.hexadecimal == test["PRK"])
      let count = try #require(Int(test["L"] ?? ""))
      let info = try bytes(test["info"] ?? "")
      let found = try Hashing.expand(.sha256, key: unsafe extracted.span.bytes, info: info, count: count).array
      #expect(found.hexadecimal == test["OKM"])
      tally.valid += 1
    }
    tally.report()
  }
}
