import KeyCustody
import KeyCustodyCrypto
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Vectors of Project Wycheproof and of NIST's validation programme.
struct VectorTests {
  @Test("Wycheproof: AES key wrap under 256-bit keys")
  func keyWrap() throws {
    guard let file = try Vectors.wycheproof("aes_wrap") else { return }
    var tally = Tally(wycheproof: "aes_wrap")
    for group in file.testGroups {
      guard group.keySize == 256 else {
        tally.skip("under keys of 128 and 192 bits, not offered", count: group.tests.count)
        continue
      }
      for test in group.tests {
        let (key, plain, wrapped) = (try bytes(test.key ?? ""), try bytes(test.msg ?? ""), try bytes(test.ct ?? ""))
        // We wrap 16 to 64 bytes: the one vector of 384 bytes, and the one of 8, must be refused.
        if test.result == "valid" && plain.count <= 64 {
          #expect(try unwrap(wrapped, key) == plain, "\(test.tcId)")
          #expect(try wrap(plain, key) == wrapped, "\(test.tcId)")
          tally.valid += 1
        } else {
          #expect(throws: KeyCustodyError.notAuthenticWrap, "\(test.tcId)") { try unwrap(wrapped, key) }
          tally.invalid += 1
        }
      }
    }
    tally.report()
  }

  @Test("Wycheproof: AES-256-GCM with 96-bit nonces and 128-bit tags")
  func gcm() throws {
    guard let file = try Vectors.wycheproof("aes_gcm") else { return }
    var tally = Tally(wycheproof: "aes_gcm")
    for group in file.testGroups {
      guard group.keySize == 256 else {
        tally.skip("under keys of 128 and 192 bits, not offered", count: group.tests.count)
        continue
      }
      guard group.ivSize == 96, group.tagSize == 128 else {
        tally.skip("with a nonce or tag of another length, refused by design", count: group.tests.count)
        continue
      }
      for test in group.tests {
        let (key, nonce) = (try bytes(test.key ?? ""), try bytes(test.iv ?? ""))
        let (extra, plain) = (try bytes(test.aad ?? ""), try bytes(test.msg ?? ""))
        let sealed = try bytes((test.ct ?? "") + (test.tag ?? ""))
        let found = try gcmOpen(sealed, key, nonce, extra)
        if test.result == "valid" {
          #expect(found == plain, "\(test.tcId)")
          #expect(try gcmSeal(plain, key, nonce, extra) == sealed, "\(test.tcId)")
          tally.valid += 1
        } else {
          #expect(found == nil, "\(test.tcId)")
          tally.invalid += 1
        }
      }
    }
    tally.report()
  }

  private static let oaepFiles: [(String, WrapAlgorithm)] = [
    ("rsa_oaep_2048_sha1_mgf1sha1", .rsaOAEP), ("rsa_oaep_3072_sha1_mgf1sha1", .rsaOAEP),
    ("rsa_oaep_4096_sha1_mgf1sha1", .rsaOAEP), ("rsa_oaep_2048_sha256_mgf1sha256", .rsaOAEP256),
    ("rsa_oaep_3072_sha256_mgf1sha256", .rsaOAEP256), ("rsa_oaep_4096_sha256_mgf1sha256", .rsaOAEP256),
  ]

  @Test("Wycheproof: RSA-OAEP, both hashes, no label", arguments: oaepFiles)
  func oaep(name: String, algorithm: WrapAlgorithm) throws {
    guard let file = try Vectors.wycheproof(name) else { return }
    var tally = Tally(wycheproof: name)
    for group in file.testGroups {
      let material = SecretBytes(copying: try bytes(group.privateKeyPkcs8 ?? ""))
      let key = try SoftwareKey.read(material, as: .rsa(bits: group.keySize ?? 0))
      for test in group.tests {
        let wrapped = try bytes(test.ct ?? "")
        // A vector with a label is valid for those who give that label; we give none and must refuse it.
        if test.result == "valid" && (test.label ?? "").isEmpty {
          #expect(try key.unwrap(wrapped, algorithm).array.hexadecimal == test.msg, "\(test.tcId)")
          tally.valid += 1
        } else {
          #expect(throws: KeyCustodyError.notAuthenticWrap, "\(test.tcId)") {
            _ = try key.unwrap(wrapped, algorithm).array
          }
          tally.invalid += 1
        }
      }
    }
    tally.report()
  }

  private static let signatureFiles: [(String, SignatureAlgorithm, HashAlgorithm)] = [
    ("ecdsa_secp256r1_sha256_p1363", .es256, .sha256), ("ecdsa_secp384r1_sha384_p1363", .es384, .sha384),
    ("ecdsa_secp521r1_sha512_p1363", .es512, .sha512), ("rsa_signature_2048_sha256", .rs256, .sha256),
    ("rsa_signature_3072_sha256", .rs256, .sha256), ("rsa_signature_4096_sha256", .rs256, .sha256),
    ("rsa_signature_2048_sha384", .rs384, .sha384), ("rsa_signature_3072_sha384", .rs384, .sha384),
    ("rsa_signature_4096_sha384", .rs384, .sha384), ("rsa_signature_2048_sha512", .rs512, .sha512),
    ("rsa_signature_3072_sha512", .rs512, .sha512), ("rsa_signature_4096_sha512", .rs512, .sha512),
    ("rsa_pss_2048_sha256_mgf1_32", .ps256, .sha256), ("rsa_pss_3072_sha256_mgf1_32", .ps256, .sha256),
    ("rsa_pss_2048_sha384_mgf1_48", .ps384, .sha384), ("rsa_pss_4096_sha384_mgf1_48", .ps384, .sha384),
    ("rsa_pss_4096_sha512_mgf1_64", .ps512, .sha512),
  ]

  @Test("Wycheproof: signatures", arguments: signatureFiles)
  func signatures(name: String, algorithm: SignatureAlgorithm, hash: HashAlgorithm) throws {
    guard let file = try Vectors.wycheproof(name) else { return }
    var tally = Tally(wycheproof: name)
    for group in file.testGroups {
      let key = try PublicKey(spki: try bytes(group.publicKeyDer ?? ""))
      for test in group.tests {
        let digest = try Hashing.digest(hash, try bytes(test.msg ?? ""))
        let isGood = try key.verify(try bytes(test.sig ?? ""), digest: digest, algorithm)
        switch test.result {
        case "valid":
          #expect(isGood, "\(test.tcId) \(test.comment)")
          tally.valid += 1
        case "acceptable":
          // Every one of these is an encoding that leaves out what RFC 8017 demands; either answer is safe.
          tally.skip("acceptable either way")
        default:
          #expect(!isGood, "\(test.tcId) \(test.comment)")
          tally.invalid += 1
        }
      }
    }
    tally.report()
  }

  @Test("RFC 3394 as a file has it: AES key wrap under 256-bit keys")
  func rfc3394() throws {
    struct File: Decodable {
      struct Case: Decodable {
        var kek: String
        var keyData: String
        var wrapped: String
      }
      var cases: [Case]
      private enum CodingKeys: String, CodingKey { case cases = "aes_kw" }
    }
    guard let data = try Vectors.read("rfc3394.json") else { return }
    var tally = Tally("rfc3394.json")
    for test in try JSONDecoder().decode(File.self, from: data).cases {
      let (key, plain, wrapped) = (try bytes(test.kek), try bytes(test.keyData), try bytes(test.wrapped))
      guard key.count == 32 else {
        tally.skip("under keys of 128 and 192 bits, not offered")
        continue
      }
      #expect(try wrap(plain, key) == wrapped)
      #expect(try unwrap(wrapped, key) == plain)
      tally.valid += 1
    }
    tally.report()
  }

  @Test("NIST: AES key wrap with AES-256, wrapping and unwrapping", arguments: ["KW_AE_256", "KW_AD_256"])
  func nistKeyWrap(name: String) throws {
    guard let cases = try Vectors.nist("nist-kw/\(name).txt") else { return }
    var tally = Tally("nist-kw/\(name).txt")
    for test in cases {
      let (key, wrapped) = (try bytes(test["K"] ?? ""), try bytes(test["C"] ?? ""))
      if let text = test["P"] {
        let plain = try bytes(text)
        guard plain.count <= 64 else {
          tally.skip("of secrets over 64 bytes, refused by design")
          continue
        }
        #expect(try wrap(plain, key) == wrapped)
        #expect(try unwrap(wrapped, key) == plain)
        tally.valid += 1
      } else {
        #expect(test["FAIL"] != nil)
        #expect(throws: KeyCustodyError.notAuthenticWrap) { try unwrap(wrapped, key) }
        tally.invalid += 1
      }
    }
    tally.report()
  }

  @Test("NIST: AES-256-GCM decryption with 96-bit nonces and 128-bit tags")
  func nistGCM() throws {
    guard let cases = try Vectors.nist("nist-gcm/gcmDecrypt256.rsp") else { return }
    var tally = Tally("nist-gcm/gcmDecrypt256.rsp")
    for test in cases {
      guard test["IVlen"] == "96", test["Taglen"] == "128" else {
        tally.skip("with a nonce or tag of another length, refused by design")
        continue
      }
      let sealed = try bytes((test["CT"] ?? "") + (test["Tag"] ?? ""))
      let found = try gcmOpen(
        sealed, try bytes(test["Key"] ?? ""), try bytes(test["IV"] ?? ""), try bytes(test["AAD"] ?? ""))
      if let plain = test["PT"] {
        #expect(found?.hexadecimal == plain)
        tally.valid += 1
      } else {
        #expect(found == nil)
        tally.invalid += 1
      }
    }
    tally.report()
  }
}
