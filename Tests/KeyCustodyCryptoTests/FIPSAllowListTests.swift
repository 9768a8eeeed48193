import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import Testing

/// V12: what FIPS mode allows and refuses, by name.
struct FIPSAllowListTests {
  typealias Use = FIPSAllowList.Use

  @Test(
    "V12: what is not on the list is refused by name, with the reason and what to use",
    arguments: [
      ("RSA1_5", Use.wrapping, "SP 800-131A"), ("RSA1_5", .unwrapping, "SP 800-131A"),
      ("RSA-OAEP", .wrapping, "SHA-1"), ("ES256K", .signing, "secp256k1"), ("EdDSA", .signing, "FIPS 186-5"),
      ("RS1", .signing, "SHA-1"), ("C20P", .sealing, "not an approved cipher"),
      ("A128KW", .wrapping, "not on the list"),
      ("A256KW", .signing, "not on the list"), ("ES256", .wrapping, "not on the list"),
      ("", .deriving, "not on the list"),
      ("a256kw", .wrapping, "not on the list"),
    ])
  func refused(name: String, use: Use, reason: String) throws {
    let error = try #require(throws: KeyCustodyError.self) { try FIPSAllowList.require(name, for: use) }
    #expect(error == KeyCustodyError(.unsupported, .notOffered, ""))
    #expect(error.message.contains("'\(name)'") && error.message.contains(reason), "\(error.message)")
    #expect(error.remedy.hasPrefix("Use one of: "))
  }

  @Test("V12: every algorithm that this project makes new data with is on the list")
  func allowed() throws {
    for algorithm in SignatureAlgorithm.allCases { try FIPSAllowList.require(algorithm.rawValue, for: .signing) }
    for algorithm in [WrapAlgorithm.rsaOAEP256, .aes256KW] {
      try FIPSAllowList.require(algorithm.rawValue, for: .wrapping)
      try FIPSAllowList.require(algorithm.rawValue, for: .unwrapping)
    }
    try FIPSAllowList.require("RSA-OAEP", for: .unwrapping)
    for type in KeyType.offered { try FIPSAllowList.require(type) }
  }

  @Test("V12: keys too short are refused", arguments: [KeyType.rsa(bits: 1024), .rsa(bits: 2047), .aes(bits: 128)])
  func shortKeys(type: KeyType) throws {
    let error = try #require(throws: KeyCustodyError.self) { try FIPSAllowList.require(type) }
    #expect(error.code == .unsupported && error.message.contains("\(type)"))
  }

  @Test("V12: the process works in the mode it was started for, and says with which module")
  func module() throws {
    let module = OpenSSLLibrary.shared.module
    #expect(module.mode == (FIPSRun.isOn ? .fips : .standard))
    #expect(module.name == (FIPSRun.isOn ? "OpenSSL FIPS Provider" : "OpenSSL Default Provider"))
    #expect(module.version.hasPrefix("3."))
  }

  @Test("V12: a mode that is settled is kept; the other one is refused, and says why")
  func otherMode() throws {
    let own = OpenSSLLibrary.shared.module.mode
    #expect(try CryptographyChoice.settle(nil).mode == own)
    #expect(try CryptographyChoice.settle(own).mode == own)
    let error = try #require(throws: KeyCustodyError.self) {
      try CryptographyChoice.settle(own == .fips ? .standard : .fips)
    }
    #expect(error.reason == .cryptographyMode)
    #expect(error.message.contains("already") && error.remedy.contains("KEYCUSTODY_FIPS"))
  }

  @Test(
    "V12: in FIPS mode a key refuses what the list refuses", .enabled(if: FIPSRun.isOn, "only `make fips` is in it"))
  func keysRefuse() throws {
    let key = try SharedKeys.key(.rsa(bits: 2048))
    let secret = try OpenSSLRandom().secret(32)
    #expect(throws: KeyCustodyError(.unsupported, .notOffered, "")) { try key.wrap(secret, .rsaOAEP) }
    #expect(throws: KeyCustodyError(.integrityFailure, .notAuthentic, "")) {
      _ = try key.unwrap([UInt8](repeating: 1, count: 256), .rsaOAEP).array
    }
    #expect(throws: KeyCustodyError(.unsupported, .notOffered, "")) {
      _ = try decodeOAEP(SecretBytes(count: 256) { _ in }, .rsaOAEP256).array
    }
    #expect(throws: KeyCustodyError.self) {
      _ = try Hashing.pbkdf2(passphrase: secret, salt: Array("salt".utf8), iterations: 1).array
    }
  }
}
