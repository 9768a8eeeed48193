import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import Testing

@testable import KeyCustodyPKCS11

@Suite("Wrapping and signing on SoftHSM")
struct MechanismTests {
  @Test("SoftHSM 2.6.1 offers what we say it offers, and says how it is known")
  func capabilities() async throws {
    try await Backends.withKeys { provider, _ in
      let found = provider.capabilities.findings
      for ability: KeyProviderCapabilities.Ability in [
        .generate(.rsa(bits: 2048)), .generate(.ec(.p256)), .generate(.ec(.p384)), .generate(.ec(.p521)),
        .generate(.aes(bits: 256)), .unwrap(.rsaOAEP), .unwrap(.aes256KW), .wrap(.aes256KW), .sign(.es256),
        .sign(.es384), .sign(.es512), .sign(.rs256), .sign(.ps256), .importing(.rsa(bits: 2048)),
        .importing(.ec(.p521)), .importing(.aes(bits: 256)),
      ] { #expect(found[ability] == .probed, "\(ability)") }
      #expect(found[.unwrap(.rsaOAEP256)]?.word == "emulated")
      #expect(found[.generate(.rsa(bits: 4096))] == .declared)
      #expect(found[.backup]?.isOffered == false)
      #expect(provider.capabilities.preferredWrapAlgorithm(for: .rsa(bits: 2048)) == .rsaOAEP256)
    }
  }

  @Test("What anyone wraps with the public key, the token unwraps", arguments: [2048, 3072, 4096])
  func publicKeyOnly(bits: Int) async throws {
    try await Backends.withKeys { provider, _ in
      let key = try await provider.make(.rsa(bits: bits), .wrapping)
      let publicKey = try PublicKey(spki: try #require(key.publicKey))
      #expect(publicKey.type == .rsa(bits: bits))
      for (algorithm, count) in [
        (WrapAlgorithm.rsaOAEP, 16), (.rsaOAEP, 64), (.rsaOAEP, 1), (.rsaOAEP256, 32), (.rsaOAEP256, 64),
        (.rsaOAEP256, 100),
      ] {
        let secret = try SystemRandom().secret(count)
        let unwrapped = try await provider.unwrap(try publicKey.wrap(secret, algorithm), key, algorithm)
        let isSame = unwrapped.isEqual(to: secret)
        #expect(isSame)
      }
    }
  }

  @Test("E5: without emulation RSA-OAEP-256 is refused before the token is touched")
  func emulationOff() async throws {
    try await Backends.withKeys(emulates: false) { provider, _ in
      #expect(provider.capabilities.preferredWrapAlgorithm(for: .rsa(bits: 2048)) == .rsaOAEP)
      // No such key exists: 'unsupported' and not 'notFound' shows that nobody looked.
      let request = WrapRequest(version: try Backends.name(), algorithm: .rsaOAEP256, context: Backends.context)
      let wrong = KeyCustodyError(.unsupported, .notOffered, "")
      await #expect(throws: wrong) { _ = try await provider.unwrap([UInt8](repeating: 1, count: 256), with: request) }
      await #expect(throws: wrong) {
        _ = try await provider.wrap(SecretBytes(copying: [UInt8](repeating: 1, count: 32)), with: request)
      }
    }
  }

  @Test("A key made without emulation does not unwrap by the bare RSA operation later")
  func madeWithoutEmulation() async throws {
    let token = try await SoftHSM.makeToken()
    let plain = try await Backends.keys(token, emulates: false)
    let key = try await plain.make(.rsa(bits: 2048), .wrapping)
    await plain.close()
    let emulating = try await Backends.keys(token)
    let wrapped = try PublicKey(spki: try #require(key.publicKey)).wrap(try SystemRandom().secret(32), .rsaOAEP256)
    await #expect(throws: KeyCustodyError(.unsupported, .notOffered, "")) {
      _ = try await emulating.unwrap(wrapped, key, .rsaOAEP256)
    }
    await emulating.close()
  }

  @Test("RELIABILITY 3.12: OAEP with the other hash does not unwrap, and every failure is the same")
  func flatFailures() async throws {
    try await Backends.withKeys { provider, _ in
      let key = try await provider.make(.rsa(bits: 2048), .wrapping)
      let publicKey = try PublicKey(spki: try #require(key.publicKey))
      let secret = try SystemRandom().secret(32)
      let good = try publicKey.wrap(secret, .rsaOAEP)
      var altered = good
      altered[100] ^= 1
      let bad: [[UInt8]] = [
        altered, try publicKey.wrap(secret, .rsaOAEP256), [UInt8](repeating: 0, count: 256),
        [UInt8](repeating: 0xff, count: 256), try SystemRandom().bytes(256), [], [1], Array(good.dropLast()),
        good + [0], try SystemRandom().bytes(1 << 20),
      ]
      for algorithm in [WrapAlgorithm.rsaOAEP, .rsaOAEP256] {
        for bytes in bad where bytes != bad[1] || algorithm == .rsaOAEP {
          let error = await #expect(throws: KeyCustodyError.self) {
            _ = try await provider.unwrap(bytes, key, algorithm)
          }
          #expect(error == KeyCustodyError(.integrityFailure, .notAuthentic, ""))
          #expect(error?.diagnostic == nil)
        }
      }
      let isSame = try await provider.unwrap(good, key, .rsaOAEP).isEqual(to: secret)
      #expect(isSame)
    }
  }

  @Test("A256KW takes 16, 24 and 32 bytes; altered or odd input is one failure")
  func keyWrap() async throws {
    try await Backends.withKeys { provider, _ in
      let key = try await provider.make(.aes(bits: 256), .wrapping)
      for count in [16, 24, 32] {
        let secret = try SystemRandom().secret(count)
        let wrapped = try await provider.wrap(secret, key, .aes256KW)
        #expect(wrapped.count == count + 8)
        let isSame = try await provider.unwrap(wrapped, key, .aes256KW).isEqual(to: secret)
        #expect(isSame)
        var altered = wrapped
        altered[3] ^= 0x80
        for bad in [altered, [], Array(wrapped.dropLast()), wrapped + wrapped, try SystemRandom().bytes(1 << 16)] {
          await #expect(throws: KeyCustodyError(.integrityFailure, .notAuthentic, "")) {
            _ = try await provider.unwrap(bad, key, .aes256KW)
          }
        }
      }
      for count in [0, 8, 15, 17, 33, 40, 64, 65, 4096] {
        await #expect(throws: KeyCustodyError(.invalidInput, .wrongSize, "")) {
          _ = try await provider.wrap(SecretBytes(copying: [UInt8](repeating: 7, count: count)), key, .aes256KW)
        }
      }
    }
  }

  @Test(
    "Signatures verify under the public key, whatever zeros they begin with", arguments: SignatureAlgorithm.allCases)
  func signatures(_ algorithm: SignatureAlgorithm) async throws {
    try await Backends.withKeys { provider, _ in
      let type = try #require(KeyType.offered.first { SignatureAlgorithm.fitting($0).contains(algorithm) })
      let key = try await provider.make(type, .signing)
      let publicKey = try PublicKey(spki: try #require(key.publicKey))
      // A coordinate begins with a zero byte once in 256 times; P-521 once in two.
      for _ in 0..<300 {
        let digest = try SystemRandom().bytes(algorithm.digestLength)
        let signature = try await provider.sign(digest, key, algorithm)
        #expect(try publicKey.verify(signature, digest: digest, algorithm))
      }
    }
  }

  @Test("64 unwraps at once over 4 sessions, each its own secret")
  func concurrentUnwraps() async throws {
    try await Backends.withKeys(sessions: 4) { provider, _ in
      let rsa = try await provider.make(.rsa(bits: 2048), .wrapping)
      let aes = try await provider.make(.aes(bits: 256), .wrapping)
      try await withThrowingTaskGroup(of: Bool.self) { group in
        for number in 0..<64 {
          group.addTask {
            let (key, algorithm) = number.isMultiple(of: 2) ? (rsa, WrapAlgorithm.rsaOAEP256) : (aes, .aes256KW)
            let secret = try SystemRandom().secret(32)
            let wrapped = try await provider.wrap(secret, key, algorithm)
            return try await provider.unwrap(wrapped, key, algorithm).isEqual(to: secret)
          }
        }
        for try await isRight in group { #expect(isRight) }
      }
    }
  }

  @Test("RFC 5649: the host's key wrap with padding agrees with two other implementations")
  func keyWrapPadding() throws {
    // The standard's own examples have keys of 192 bits; this answer is of pyca/cryptography and of
    // `openssl enc -id-aes256-wrap-pad`.
    let key = SecretBytes(copying: Array(0..<32))
    let material = SecretBytes(copying: Array(100..<120))
    let wrapped = try key.withBytes { (key) throws(KeyCustodyError) in try KeyWrapPadding.wrap(material, key: key) }
    #expect(wrapped.hexadecimal == "f5129e80e156263174db3eb593dca415b34a59ac30626fd4157e7241c590b6b4")
  }
}
