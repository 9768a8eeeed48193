import KeyCustody
import KeyCustodyCrypto
import Testing

/// Vectors of what is not offered, given to what is: all are refused.
struct OtherHashVectorTests {
  private static let files = [
    "2048_sha224_mgf1sha1", "2048_sha224_mgf1sha224", "2048_sha256_mgf1sha1", "2048_sha384_mgf1sha1",
    "2048_sha384_mgf1sha384", "2048_sha512_224_mgf1sha1", "2048_sha512_224_mgf1sha512_224", "2048_sha512_mgf1sha1",
    "2048_sha512_mgf1sha512", "3072_sha256_mgf1sha1", "3072_sha512_256_mgf1sha1", "3072_sha512_256_mgf1sha512_256",
    "3072_sha512_mgf1sha1", "3072_sha512_mgf1sha512", "4096_sha256_mgf1sha1", "4096_sha512_mgf1sha1",
    "4096_sha512_mgf1sha512",
  ]

  @Test("Wycheproof: RSA-OAEP with other hashes is refused under every name offered", arguments: files)
  func otherHashes(name: String) throws {
    let name = "rsa_oaep_\(name)"
    guard let file = try Vectors.wycheproof(name) else { return }
    var tally = Tally(wycheproof: name)
    for group in file.testGroups {
      let key = try SoftwareKey.read(
        SecretBytes(copying: try bytes(group.privateKeyPkcs8 ?? "")), as: .rsa(bits: group.keySize ?? 0))
      for test in group.tests {
        let wrapped = try bytes(test.ct ?? "")
        for algorithm in [WrapAlgorithm.rsaOAEP, .rsaOAEP256] {
          #expect(throws: KeyCustodyError.notAuthenticWrap, "\(test.tcId) as \(algorithm)") {
            _ = try key.unwrap(wrapped, algorithm).array
          }
        }
        tally.invalid += 1
      }
    }
    tally.report()
  }

  private static let pairs: [(String, WrapAlgorithm, WrapAlgorithm)] = [
    ("rsa_oaep_2048_sha1_mgf1sha1", .rsaOAEP, .rsaOAEP256),
    ("rsa_oaep_2048_sha256_mgf1sha256", .rsaOAEP256, .rsaOAEP),
  ]

  @Test("Wycheproof: a valid RSA-OAEP vector opens under its own name and not under the other", arguments: pairs)
  func exchanged(name: String, own: WrapAlgorithm, other: WrapAlgorithm) throws {
    guard let file = try Vectors.wycheproof(name) else { return }
    for group in file.testGroups {
      let key = try SoftwareKey.read(
        SecretBytes(copying: try bytes(group.privateKeyPkcs8 ?? "")), as: .rsa(bits: group.keySize ?? 0))
      for test in group.tests where test.result == "valid" && (test.label ?? "").isEmpty {
        let wrapped = try bytes(test.ct ?? "")
        #expect(try key.unwrap(wrapped, own).array.hexadecimal == test.msg, "\(test.tcId)")
        #expect(throws: KeyCustodyError.notAuthenticWrap, "\(test.tcId)") { _ = try key.unwrap(wrapped, other).array }
      }
    }
  }

  @Test("Wycheproof: RSA-OAEP with odd keys: those offered open, the others are not read")
  func oddKeys() throws {
    let name = "rsa_oaep_misc"
    guard let file = try Vectors.wycheproof(name) else { return }
    var tally = Tally(wycheproof: name)
    let offered: [String: WrapAlgorithm] = ["SHA-1 SHA-1": .rsaOAEP, "SHA-256 SHA-256": .rsaOAEP256]
    for group in file.testGroups {
      let material = SecretBytes(copying: try bytes(group.privateKeyPkcs8 ?? ""))
      guard KeyType.offered.contains(.rsa(bits: group.keySize ?? 0)) else {
        for bits in [2048, 3072, 4096] {
          #expect(throws: KeyCustodyError(.invalidInput, .wrongKeyType, "")) {
            try SoftwareKey.read(material, as: .rsa(bits: bits))
          }
        }
        tally.invalid += group.tests.count
        continue
      }
      guard let algorithm = offered["\(group.sha ?? "") \(group.mgfSha ?? "")"] else {
        tally.skip("with other hashes, of which the other files tell", count: group.tests.count)
        continue
      }
      let key = try SoftwareKey.read(material, as: .rsa(bits: group.keySize ?? 0))
      for test in group.tests {
        guard test.result == "valid", (test.label ?? "").isEmpty else {
          tally.skip("acceptable either way, or with a label")
          continue
        }
        #expect(try key.unwrap(try bytes(test.ct ?? ""), algorithm).array.hexadecimal == test.msg, "\(test.tcId)")
        tally.valid += 1
      }
    }
    tally.report()
  }

  @Test("Wycheproof: an RSA key of three primes is not read, or works")
  func threePrimes() throws {
    let name = "rsa_three_primes_oaep_4096_sha256_mgf1sha256"
    guard let file = try Vectors.wycheproof(name) else { return }
    var tally = Tally(wycheproof: name)
    for group in file.testGroups {
      let material = SecretBytes(copying: try bytes(group.privateKeyPkcs8 ?? ""))
      guard let key = try? SoftwareKey.read(material, as: .rsa(bits: 4096)) else {
        // Refused as a whole: no vector of it opens.
        tally.invalid += group.tests.count
        continue
      }
      for test in group.tests {
        let found = try? key.unwrap(try bytes(test.ct ?? ""), .rsaOAEP256).array.hexadecimal
        let isValid = test.result == "valid" && (test.label ?? "").isEmpty
        #expect(found == (isValid ? test.msg : nil), "\(test.tcId) \(test.comment)")
        if isValid { tally.valid += 1 } else { tally.invalid += 1 }
      }
    }
    tally.report()
  }

  private static let foreignKeys = ["ecdsa_secp256k1_sha256_p1363", "ecdsa_secp256k1_sha256"]

  @Test("Wycheproof: keys of a curve that is not offered are not read", arguments: foreignKeys)
  func foreignCurve(name: String) throws {
    guard let file = try Vectors.wycheproof(name) else { return }
    var tally = Tally(wycheproof: name)
    for group in file.testGroups {
      let spki = try bytes(group.publicKeyDer ?? "")
      let error = #expect(throws: KeyCustodyError.self) { try PublicKey(spki: spki) }
      #expect(error?.code == .invalidInput)
      tally.invalid += group.tests.count
    }
    tally.report()
  }
}
