import KeyCustody
import KeyCustodyCrypto
import Testing

/// Vectors of Project Wycheproof and of NIST's validation programme.
struct VectorTests {
  @Test("Wycheproof: AES key wrap under 256-bit keys")
  func keyWrap() throws {
    guard let file = try Vectors.wycheproof("aes_wrap") else { return }
    var tally = Tally("wycheproof aes_wrap")
    for group in file.testGroups where group.keySize == 256 {
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
    var tally = Tally("wycheproof aes_gcm")
    for group in file.testGroups where group.keySize == 256 && group.ivSize == 96 && group.tagSize == 128 {
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
    var tally = Tally("wycheproof \(name)")
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
    ("rsa_pss_2048_sha256_mgf1_32", .ps256, .sha256), ("rsa_pss_3072_sha256_mgf1_32", .ps256, .sha256),
  ]

  @Test("Wycheproof: signatures", arguments: signatureFiles)
  func signatures(name: String, algorithm: SignatureAlgorithm, hash: HashAlgorithm) throws {
    guard let file = try Vectors.wycheproof(name) else { return }
    var tally = Tally("wycheproof \(name)")
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
          continue
        default:
          #expect(!isGood, "\(test.tcId) \(test.comment)")
          tally.invalid += 1
        }
      }
    }
    tally.report()
  }

  @Test("NIST: AES key wrap with AES-256, wrapping and unwrapping", arguments: ["KW_AE_256", "KW_AD_256"])
  func nistKeyWrap(name: String) throws {
    guard let cases = try Vectors.nist("nist-kw/\(name).txt") else { return }
    var tally = Tally("nist \(name)")
    for test in cases {
      let (key, wrapped) = (try bytes(test["K"] ?? ""), try bytes(test["C"] ?? ""))
      if let text = test["P"] {
        let plain = try bytes(text)
        guard plain.count <= 64 else { continue }
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
    var tally = Tally("nist gcmDecrypt256")
    for test in cases where test["IVlen"] == "96" && test["Taglen"] == "128" {
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
