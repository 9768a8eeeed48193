import KeyCustody
import KeyCustodyMemory
import Testing

/// What is special to keys in memory; what every key provider does is in the conformance kit.
struct MemoryKeyProviderTests {
  private let context = CallContext(purpose: .probe)

  private func open(_ plugin: MemoryPlugin, name: String? = nil) async throws -> any KeyProvider {
    var section: [String: ConfigurationValue] = ["plugin": "memory"]
    if let name { section["name"] = .string(name) }
    return try await [plugin.plugin].openKeyProvider(KeyCustodyConfiguration(section).root, RuntimeEnvironment())
  }

  private func request(_ type: KeyType, _ role: KeyRole, backupable: Bool = false) throws -> GenerateKeyRequest {
    GenerateKeyRequest(
      version: try KeyVersionID(random: SystemRandom()), type: type, role: role, backupable: backupable)
  }

  @Test("Opening anew through the same plugin value finds the same keys")
  func reopening() async throws {
    let plugin = MemoryPlugin()
    let first = try await open(plugin)
    let made = try await first.generate(try request(.aes(bits: 256), .wrapping), context: context)
    let wrap = WrapRequest(version: made.version, algorithm: .aes256KW, context: context)
    let secret = try SystemRandom().secret(32)
    let wrapped = try await first.wrap(secret, with: wrap)
    await first.close()

    let second = try await open(plugin)
    #expect(second.identity == first.identity)
    #expect(try await second.describe(made.version, context: context) == made)
    let unwrapped = try await second.unwrap(wrapped.bytes, with: wrap)
    let isSame = unwrapped.isEqual(to: secret)
    #expect(isSame)
    await second.close()
  }

  @Test("Two plugin values, and two names, share nothing")
  func separation() async throws {
    let plugin = MemoryPlugin()
    let first = try await open(plugin)
    let made = try await first.generate(try request(.aes(bits: 256), .wrapping), context: context)
    for other in [try await open(plugin, name: "other"), try await open(MemoryPlugin())] {
      #expect(other.identity != first.identity)
      await #expect(throws: KeyCustodyError.noSuchVersion) {
        try await other.describe(made.version, context: context)
      }
      await other.close()
    }
    await first.close()
  }

  @Test("A key destroyed by one opening is gone for another that has it loaded, and that one says so")
  func destroyedElsewhere() async throws {
    let plugin = MemoryPlugin()
    let (first, second) = (try await open(plugin), try await open(plugin))
    let made = try await first.generate(try request(.ec(.p256), .signing), context: context)
    let sign = SignRequest(version: made.version, algorithm: .es256, context: context)
    let digest = [UInt8](repeating: 7, count: 32)
    #expect(try await second.sign(digest, with: sign).count == 64)
    var events = second.events().makeAsyncIterator()
    try await first.destroy(made.version, context: context)
    await #expect(throws: KeyCustodyError.noSuchVersion) { try await second.sign(digest, with: sign) }
    #expect(await events.next() == .keyGone(made.version))
    await first.close()
    await second.close()
  }

  @Test("A key that took a destroyed key's name is never mixed up with it")
  func replacedElsewhere() async throws {
    let plugin = MemoryPlugin()
    let (first, second) = (try await open(plugin), try await open(plugin))
    let asked = try request(.aes(bits: 256), .wrapping)
    let made = try await first.generate(asked, context: context)
    #expect(try await second.describe(made.version, context: context) == made)
    try await first.destroy(made.version, context: context)
    let again = try await first.generate(asked, context: context)
    #expect(again.fingerprint != made.fingerprint)
    #expect(try await second.describe(made.version, context: context) == again)
    await first.close()
    await second.close()
  }

  @Test("A backup comes back in its own store only, and only of keys made for backups")
  func backups() async throws {
    let plugin = MemoryPlugin()
    let (provider, other) = (try await open(plugin), try await open(MemoryPlugin()))
    let backup = try #require(provider.backup)
    let made = try await provider.generate(try request(.ec(.p384), .signing, backupable: true), context: context)
    let blob = try await backup.backUp(made.version, context: context)
    await #expect(throws: KeyCustodyError(.invalidInput, .alreadyExists, "")) {
      try await backup.restore(blob, context: context)
    }
    try await provider.destroy(made.version, context: context)
    #expect(try await backup.restore(blob, context: context) == made)
    #expect(try await provider.describe(made.version, context: context) == made)

    let foreign = try #require(other.backup)
    await #expect(throws: KeyCustodyError(.integrityFailure, .notAuthentic, "")) {
      try await foreign.restore(blob, context: context)
    }
    let plain = try await provider.generate(try request(.aes(bits: 256), .wrapping), context: context)
    await #expect(throws: KeyCustodyError(.unsupported, .notOffered, "")) {
      try await backup.backUp(plain.version, context: context)
    }
    await provider.close()
    await other.close()
  }

  @Test("A backup with any one bit changed, or cut anywhere, is refused")
  func damagedBackups() async throws {
    let provider = try await open(MemoryPlugin())
    let backup = try #require(provider.backup)
    let made = try await provider.generate(try request(.aes(bits: 256), .wrapping, backupable: true), context: context)
    let blob = try await backup.backUp(made.version, context: context)
    try await provider.destroy(made.version, context: context)
    for index in blob.indices {
      var changed = blob
      changed[index] ^= 1 << UInt8(index % 8)
      await #expect(throws: KeyCustodyError.self) { try await backup.restore(changed, context: context) }
      await #expect(throws: KeyCustodyError.self) {
        try await backup.restore(Array(blob.prefix(index)), context: context)
      }
    }
    #expect(try await backup.restore(blob, context: context) == made)
    await provider.close()
  }

  @Test("What was not run at opening is declared, not probed: to make an RSA key, and larger ones")
  func evidence() async throws {
    let provider = try await MemoryKeyProvider()
    let findings = provider.capabilities.findings
    #expect(findings[.generate(.rsa(bits: 2048))] == .declared)
    #expect(findings[.importing(.rsa(bits: 2048))] == .probed)
    #expect(findings[.generate(.rsa(bits: 3072))] == .declared)
    #expect(findings[.generate(.rsa(bits: 4096))] == .declared)
    #expect(findings[.unwrap(.rsaOAEP256)] == .probed)
    #expect(findings[.backup] == .probed)
    await provider.close()
  }

  @Test("More keys than are kept loaded all go on working", arguments: [300])
  func manyKeys(count: Int) async throws {
    let provider = try await MemoryKeyProvider()
    var made: [KeyDescription] = []
    for _ in 0..<count {
      made.append(try await provider.generate(try request(.aes(bits: 256), .wrapping), context: context))
    }
    let secret = try SystemRandom().secret(16)
    for key in made {
      let wrap = WrapRequest(version: key.version, algorithm: .aes256KW, context: context)
      let wrapped = try await provider.wrap(secret, with: wrap)
      let unwrapped = try await provider.unwrap(wrapped.bytes, with: wrap)
      let isSame = unwrapped.isEqual(to: secret)
      #expect(isSame)
    }
    let inventory = try #require(provider.inventory)
    #expect(try await inventory.versions(after: nil, limit: 1000) == made.map(\.version).sorted())
    await provider.close()
  }

  @Test("64 clients make the same key at once: one wins, the others are told that it exists")
  func sameKeyAtOnce() async throws {
    let provider = try await MemoryKeyProvider()
    let asked = try request(.ec(.p256), .signing)
    let winners = await withTaskGroup(of: KeyDescription?.self) { group in
      for _ in 0..<64 {
        group.addTask {
          do throws(KeyCustodyError) {
            return try await provider.generate(asked, context: CallContext(purpose: .probe))
          } catch {
            #expect(error == KeyCustodyError(.invalidInput, .alreadyExists, ""))
            return nil
          }
        }
      }
      return await group.reduce(into: [KeyDescription]()) { winners, made in if let made { winners.append(made) } }
    }
    #expect(winners.count == 1)
    #expect(try await provider.describe(asked.version, context: context) == winners.first)
    await provider.close()
  }

  @Test("An unknown key in the section is refused with the nearest one")
  func unknownKey() async throws {
    let section = KeyCustodyConfiguration(["plugin": "memory", "nam": "x"]).root
    let error = await #expect(throws: KeyCustodyError.self) {
      try await [MemoryPlugin().plugin].openKeyProvider(section, RuntimeEnvironment())
    }
    #expect(error?.reason == .unknownConfigurationKey)
    #expect(error?.remedy.contains("'name'") == true)
  }
}

extension KeyCustodyError {
  static let noSuchVersion = KeyCustodyError(.notFound, .keyVersionUnknown, "")
}
