import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import Testing

@testable import KeyCustodyPKCS11

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

@Suite("Objects on a token that others touch too")
struct ObjectTests {
  private static func purpose(_ version: KeyVersionID, _ type: KeyType, _ role: KeyRole) -> KeyTemplates.Purpose {
    KeyTemplates.Purpose(GenerateKeyRequest(version: version, type: type, role: role), allowsRawRSA: false)
  }

  @Test("Two objects under one name are refused, and the name is told")
  func duplicates() async throws {
    try await Backends.withKeys { provider, token in
      let key = try await provider.make(.aes(bits: 256), .wrapping)
      try await TokenObjects.look(at: token) { (session) throws(PKCS11Failure) in
        _ = try session.generate(Self.purpose(key.version, .aes(bits: 256), .wrapping))
      }
      let error = await #expect(throws: KeyCustodyError.self) {
        _ = try await provider.describe(key.version, context: Backends.context)
      }
      #expect(error == KeyCustodyError(.integrityFailure, .init("duplicate-objects"), ""))
      #expect(error?.message.contains(key.version.description) == true)
      await #expect(throws: KeyCustodyError(.integrityFailure, .init("duplicate-objects"), "")) {
        try await provider.destroy(key.version, context: Backends.context)
      }
      #expect(try await provider.inventory?.versions(after: nil, limit: 10) == [key.version])
    }
  }

  @Test("RELIABILITY 3.20: of many that make one name at once, over two providers, exactly one wins")
  func oneWinner() async throws {
    let token = try await SoftHSM.makeToken()
    let providers = [try await Backends.keys(token), try await Backends.keys(token)]
    let version = try Backends.name()
    let outcomes = await withTaskGroup(of: Result<KeyDescription, KeyCustodyError>.self) { group in
      for number in 0..<16 {
        group.addTask {
          do throws(KeyCustodyError) {
            return .success(
              try await providers[number % 2].generate(
                GenerateKeyRequest(version: version, type: .ec(.p256), role: .signing), context: Backends.context))
          } catch { return .failure(error) }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(outcomes.filter { if case .success = $0 { true } else { false } }.count == 1)
    for case .failure(let error) in outcomes { #expect(error == KeyCustodyError(.invalidInput, .alreadyExists, "")) }
    for provider in providers { await provider.close() }
  }

  @Test("A key that another process destroyed is not found at once, and its end is told")
  func destroyedElsewhere() async throws {
    // A module of its own: it is started anew before the key is believed to be gone.
    let own = try ModuleCopy()
    try await Backends.withKeys(in: own) { provider, token in
      let key = try await provider.make(.rsa(bits: 2048), .wrapping)
      let wrapped = try await provider.wrap(try SystemRandom().secret(32), key, .rsaOAEP)
      let events = provider.events()
      let copy = try ModuleCopy()
      let other = try await Backends.keys(token, changing: copy.settings(token))
      try await other.destroy(key.version, context: Backends.context)
      await other.close()
      let gone = KeyCustodyError(.notFound, .keyVersionUnknown, "")
      await #expect(throws: gone) { _ = try await provider.unwrap(wrapped, key, .rsaOAEP) }
      await #expect(throws: gone) { _ = try await provider.wrap(try SystemRandom().secret(32), key, .rsaOAEP) }
      for await event in events {
        #expect(event == .keyGone(key.version))
        break
      }
    }
  }

  @Test("Another key under a known name is not used")
  func exchanged() async throws {
    try await Backends.withKeys { provider, token in
      let key = try await provider.make(.aes(bits: 256), .wrapping)
      let wrapped = try await provider.wrap(try SystemRandom().secret(32), key, .aes256KW)
      let copy = try ModuleCopy()
      let other = try await Backends.keys(token, changing: copy.settings(token))
      try await other.destroy(key.version, context: Backends.context)
      _ = try await other.generate(
        GenerateKeyRequest(version: key.version, type: key.type, role: key.role), context: Backends.context)
      await other.close()
      await #expect(throws: KeyCustodyError(.integrityFailure, .init("key-exchanged"), "")) {
        _ = try await provider.unwrap(wrapped, key, .aes256KW)
      }
    }
  }

  @Test("RELIABILITY 5.1: a vanished token is out of reach, its keys are not 'not found', and it comes back by itself")
  func vanished() async throws {
    // A module of its own: it is started anew again and again.
    let copy = try ModuleCopy()
    let token = try await SoftHSM.makeToken()
    let provider = try await Backends.keys(token, changing: copy.settings(token))
    let key = try await provider.make(.rsa(bits: 2048), .wrapping)
    let secret = try SystemRandom().secret(32)
    let wrapped = try await provider.wrap(secret, key, .rsaOAEP256)
    let events = provider.events()
    let folder = try #require(token.folder)
    let elsewhere = try TemporaryFolder()
    let away = elsewhere.appending("token")
    try #require(unsafe rename(folder, away) == 0)
    for _ in 0..<3 {
      let error = await #expect(throws: KeyCustodyError.self) {
        _ = try await provider.describe(try Backends.name(), context: Backends.context)
      }
      #expect(error?.code == .unavailable, "\(error?.debugDescription ?? "")")
      #expect(error?.retryAfter != nil)
    }
    let error = await #expect(throws: KeyCustodyError.self) {
      _ = try await provider.unwrap(wrapped, key, .rsaOAEP256)
    }
    #expect(error?.code == .unavailable, "\(error?.debugDescription ?? "")")
    await #expect(throws: KeyCustodyError.self) { _ = try await provider.inventory?.versions(after: nil, limit: 9) }
    let made = await #expect(throws: KeyCustodyError.self) { _ = try await provider.make(.ec(.p256), .signing) }
    #expect(made?.code == .unavailable)
    try #require(unsafe rename(away, folder) == 0)
    var told: [KeyProviderEvent] = []
    for await event in events {
      told.append(event)
      if event == .available { break }
    }
    #expect(told.count == 2)
    let isSame = try await provider.unwrap(wrapped, key, .rsaOAEP256).isEqual(to: secret)
    #expect(isSame)
    await provider.close()
  }

  @Test("A destruction that was cut off can be finished; until then the name stays taken")
  func leftovers() async throws {
    let own = try ModuleCopy()
    try await Backends.withKeys(in: own) { provider, token in
      let key = try await provider.make(.rsa(bits: 2048), .wrapping)
      try await TokenObjects.look(at: token, in: own) { (session) throws(PKCS11Failure) in
        for handle in try session.handles(of: key.version).privates { try session.destroy(handle) }
      }
      await #expect(throws: KeyCustodyError(.notFound, .keyVersionUnknown, "")) {
        _ = try await provider.describe(key.version, context: Backends.context)
      }
      await #expect(throws: KeyCustodyError(.invalidInput, .alreadyExists, "")) {
        _ = try await provider.generate(
          GenerateKeyRequest(version: key.version, type: .ec(.p256), role: .signing), context: Backends.context)
      }
      #expect(try await provider.inventory?.versions(after: nil, limit: 10) == [])
      #expect(try await provider.inventory?.leftovers().map(\.version) == [key.version])
      try await provider.destroy(key.version, context: Backends.context)
      let left = try await TokenObjects.look(at: token, in: own) { (session) throws(PKCS11Failure) in
        try session.handles(of: key.version).isEmpty
      }
      #expect(left)
    }
  }

  @Test("An RSA key whose public half was lost still unwraps, and its description says so")
  func publicHalfLost() async throws {
    try await Backends.withKeys { provider, token in
      let key = try await provider.make(.rsa(bits: 2048), .wrapping)
      try await TokenObjects.look(at: token) { (session) throws(PKCS11Failure) in
        for handle in try session.handles(of: key.version).publics { try session.destroy(handle) }
      }
      let found = try await provider.describe(key.version, context: Backends.context)
      #expect(found.publicKey == key.publicKey && found.fingerprint == key.fingerprint)
      #expect(found.remarks.count == 1)
    }
  }

  @Test("RELIABILITY 3.9: half-made objects of a killed process are passed over")
  func halfMade() async throws {
    try await Backends.withKeys { provider, token in
      let key = try await provider.make(.ec(.p384), .signing)
      let folder = try #require(token.folder)
      for number in 0..<3 {
        SoftHSM.write([], to: "\(folder)/0000000\(number)-dead-beef-0000-00000000000\(number).object")
      }
      #expect(try await provider.inventory?.versions(after: nil, limit: 10) == [key.version])
      #expect(try await provider.describe(key.version, context: Backends.context) == key)
      #expect(try await provider.make(.ec(.p384), .signing).type == .ec(.p384))
      // A module that starts later sees them; those without a byte it leaves out itself.
      for number in 3..<5 {
        let generation: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 1]
        SoftHSM.write(generation, to: "\(folder)/0000000\(number)-dead-beef-0000-00000000000\(number).object")
      }
      let copy = try ModuleCopy()
      let later = try await Backends.keys(token, changing: copy.settings(token))
      #expect(try await later.describe(key.version, context: Backends.context) == key)
      let leftovers = try await later.inventory?.leftovers() ?? []
      #expect(leftovers.count == 2 && leftovers.allSatisfy { $0.version == nil && !$0.remedy.isEmpty }, "\(leftovers)")
      await later.close()
    }
  }

  @Test("Objects that are not ours are neither listed nor used")
  func foreign() async throws {
    try await Backends.withKeys { provider, token in
      let both = try Backends.name()
      try await TokenObjects.look(at: token) { (session) throws(PKCS11Failure) in
        var short = Self.purpose(both, .aes(bits: 256), .wrapping)
        short.id = [1, 2, 3]
        _ = try session.generate(short)
        let purpose = Self.purpose(both, .aes(bits: 256), .wrapping)
        _ = try session.generateKey(
          .bare(CKM_AES_KEY_GEN),
          KeyTemplates.secretKey(purpose).setting([CKA_DECRYPT: .flag(true)])
            + KeyTemplates.parameters(of: purpose.type))
      }
      #expect(try await provider.inventory?.versions(after: nil, limit: 10) == [both])
      await #expect(throws: KeyCustodyError(.unsupported, .init("foreign-key"), "")) {
        _ = try await provider.describe(both, context: Backends.context)
      }
    }
  }

  @Test("Imported keys are those that were given, and say what the token can't vouch for", arguments: KeyType.offered)
  func imports(_ type: KeyType) async throws {
    try await Backends.withKeys { provider, token in
      let software = try SoftwareKey.generate(type, random: SystemRandom())
      let role: KeyRole = if case .ec = type { .signing } else { .wrapping }
      let version = try Backends.name()
      let key = try await provider.importKey(
        try software.serialized(), as: GenerateKeyRequest(version: version, type: type, role: role),
        context: Backends.context)
      #expect(key.origin == .imported && key.isHardwareProtected && key.type == type)
      #expect(key.publicKey == (try software.publicKey()))
      #expect(key.remarks.contains { $0.contains("imported") })
      let values = try await TokenObjects.look(at: token) { (session) throws(PKCS11Failure) in
        KeyAttributes(
          try session.read(
            TemplateTests.usages + [CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_MODIFIABLE, CKA_VALUE],
            of: try session.lookUp(version).handle))
      }
      #expect(values.flag(CKA_SENSITIVE) && !values.flag(CKA_EXTRACTABLE) && !values.flag(CKA_MODIFIABLE))
      #expect(values.values[CKA_VALUE] == nil)
      switch type {
      case .ec:
        let algorithm = try #require(SignatureAlgorithm.fitting(type).first)
        let digest = try SystemRandom().bytes(algorithm.digestLength)
        let signature = try await provider.sign(digest, key, algorithm)
        let publicKey = try PublicKey(spki: try #require(try software.publicKey()))
        #expect(try publicKey.verify(signature, digest: digest, algorithm))
      case .rsa, .aes:
        let algorithm = try #require(WrapAlgorithm.fitting(type).first)
        let secret = try SystemRandom().secret(32)
        let tokenUnwraps = try await provider.unwrap(try software.wrap(secret, algorithm), key, algorithm).isEqual(
          to: secret)
        #expect(tokenUnwraps)
        let wrapped = try await provider.wrap(secret, key, algorithm)
        let hostUnwraps = try software.unwrap(wrapped, algorithm).isEqual(to: secret)
        #expect(hostUnwraps)
      }
    }
  }

  @Test(
    "A fingerprint survives reopening, of every kind of key",
    arguments: [KeyType.rsa(bits: 2048), .ec(.p256), .ec(.p521), .aes(bits: 256)])
  func fingerprints(_ type: KeyType) async throws {
    let token = try await SoftHSM.makeToken()
    let first = try await Backends.keys(token)
    let role: KeyRole = if case .ec = type { .signing } else { .wrapping }
    let (one, two) = (try await first.make(type, role), try await first.make(type, role))
    #expect(one.fingerprint != two.fingerprint)
    await first.close()
    // Through a module that was initialised anew, so that nothing is remembered.
    let copy = try ModuleCopy()
    let second = try await Backends.keys(token, changing: copy.settings(token))
    #expect(try await second.describe(one.version, context: Backends.context) == one)
    #expect(try await second.describe(two.version, context: Backends.context) == two)
    await second.close()
  }
}
