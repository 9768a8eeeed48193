import KeyCustody
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// Addresses, versions and what a vault is (SEMANTICS V1).
struct KeyAddressTests {
  @Test("V1: an address without a version means the newest, one with a version that one")
  func newest() async throws {
    let bench = try await VaultBench()
    let first = try await bench.create()
    let versionless = try bench.uri("key")
    #expect(versionless.description == "https://kv1.vault.test/keys/key")
    #expect(first.description == "https://kv1.vault.test/keys/key/\(try #require(first.version))")
    #expect(try await bench.wrap(versionless).key == first)
    let old = try await bench.wrap(versionless)
    let second = try await bench.vaults.rotateKey(versionless, as: bench.owner, context: bench.context).uri
    #expect(second.version != first.version)
    #expect(try await bench.wrap(versionless).key == second)
    #expect(try await bench.wrap(first).key == first)
    #expect(try await bench.unwrap(old), "an older version goes on unwrapping")
    await #expect(throws: error(.integrityFailure, .notAuthentic), "versionless is the newest for unwrapping too") {
      _ = try await bench.unwrap(old, with: versionless)
    }
    let record = try await bench.vaults.key(versionless, as: bench.owner, context: bench.context)
    #expect(record.versions.map(\.version) == [first, second].compactMap(\.version))
    #expect(record.newest?.version == second.version)
  }

  @Test("V1: names of vaults and keys count without regard to case, and keep their spelling")
  func spelling() async throws {
    let bench = try await VaultBench()
    let made = try await bench.create("Invoices")
    #expect(made.name.spelling == "Invoices")
    let shouted = try KeyURI("https://KV1.VAULT.TEST/keys/INVOICES")
    #expect(try await bench.wrap(shouted).key.version == made.version)
    await #expect(throws: error(.invalidInput, .alreadyExists)) { try await bench.create("iNVOICES") }
  }

  @Test("V1: an address of another domain, vault, key or version is not found, each with its reason")
  func unknown() async throws {
    let bench = try await VaultBench()
    let made = try await bench.create()
    let version = try KeyVersionID(random: SystemRandom())
    let cases: [(String, KeyCustodyError.Reason)] = [
      ("https://kv1.other.test/keys/key", .vaultUnknown),
      ("https://kv1.vault.test:8443/keys/key", .vaultUnknown),
      ("https://kv2.vault.test/keys/key", .vaultUnknown),
      ("https://kv1.vault.test/keys/other", .keyUnknown),
      ("https://kv1.vault.test/keys/other/\(version)", .keyVersionUnknown),
      ("https://kv1.vault.test/keys/key/\(version)", .keyVersionUnknown),
    ]
    for (text, reason) in cases {
      let uri = try KeyURI(text)
      let wrapping = await failure { _ = try await bench.wrap(uri) }
      #expect(wrapping == error(.notFound, reason), "wrap \(text)")
      #expect(wrapping?.remedy.isEmpty == false)
      let reading = await failure {
        _ = try await bench.vaults.key(uri, as: bench.owner, context: bench.context)
      }
      #expect(reading == error(.notFound, reason), "get \(text)")
      let changing = await failure {
        try await bench.vaults.updateKey(uri, isEnabled: false, as: bench.owner, context: bench.context)
      }
      #expect(changing == error(.notFound, reason), "update \(text)")
    }
    #expect(try await bench.wrap(made).key == made, "nothing was changed")
  }

  @Test("V1: a vault is made once, on a provider there is, and every vault is listed")
  func vaults() async throws {
    let bench = try await VaultBench()
    func definition(_ name: String, days: Int = 7, provider: String = "keys") throws -> VaultDefinition {
      VaultDefinition(
        name: try VaultName(name), tenant: try TenantID("contoso"), region: try Region("north"), keyProvider: provider,
        softDeleteDays: days)
    }
    await #expect(throws: error(.invalidInput, .alreadyExists)) { try await bench.vaults.create(definition("KV1")) }
    let unknown = await failure { try await bench.vaults.create(definition("kv2", provider: "hsm")) }
    #expect(unknown == error(.invalidInput, .badConfigurationValue))
    #expect(unknown?.remedy.contains("keys") == true, "it names the providers there are")
    for days in [6, 91, 0, -1] {
      await #expect(throws: error(.invalidInput, .wrongSize), "V2: \(days) days") {
        try await bench.vaults.create(definition("kv2", days: days))
      }
    }
    try await bench.vaults.create(definition("kv2", days: 7))
    try await bench.vaults.create(definition("kv3", days: 90))
    #expect(try await bench.vaults.definitions().map(\.name.folded).sorted() == ["kv1", "kv2", "kv3"])
    #expect(try await bench.vaults.definition(VaultName("kv4")) == nil)
  }

  @Test("V1: every vault is listed, however many keys stand before it")
  func manyRecords() async throws {
    let bench = try await VaultBench()
    for number in 0..<(PolicyStoreLimits.pageSize + 10) {
      _ = try await bench.records.compareAndSet(
        RecordKey("vaults/kv1/keys/k\(number)"), expecting: nil, value: Array("{}".utf8))
    }
    try await bench.vaults.create(
      VaultDefinition(name: VaultName("zz"), tenant: TenantID("contoso"), region: Region("north"), keyProvider: "keys"))
    #expect(try await bench.vaults.definitions().map(\.name.folded) == ["kv1", "zz"])
  }

  @Test("V7: a key of a type that can't play the role is refused before anything is recorded")
  func impossibleKeys() async throws {
    let bench = try await VaultBench()
    await #expect(throws: error(.invalidInput, .wrongKeyType)) {
      try await bench.create(type: .ec(.p256), role: .wrapping)
    }
    await #expect(throws: error(.invalidInput, .wrongKeyType)) { try await bench.create(role: .signing) }
    await #expect(throws: error(.unsupported, .notOffered)) { try await bench.create(type: .aes(bits: 128)) }
    #expect(try await bench.recorded().isEmpty)
    try await bench.create()
  }

  @Test("DESIGN 9: another backend behind a vault's provider name is refused, and named")
  func swappedBackend() async throws {
    let bench = try await VaultBench()
    let made = try await bench.create()
    let other = try await VaultBench()
    for providers: [String: any KeyProvider] in [["keys": other.keys], [:]] {
      let swapped = Vaults(
        store: bench.records, providers: providers, domain: "vault.test", audit: bench.audit,
        environment: RuntimeEnvironment(time: bench.clock))
      bench.audit.removeAll()
      let refused = await failure {
        _ = try await swapped.wrap(
          bench.secret(), with: made, algorithm: .aes256KW, as: bench.owner, context: bench.context)
      }
      #expect(refused == error(.unavailable, .backendMismatch))
      #expect(refused?.message.contains(bench.keys.identity.description) == true, "it names the backend wanted")
      #expect(bench.audit.events.map(\.error) == ["unavailable/backend-mismatch"])
      await #expect(throws: error(.unavailable, .backendMismatch)) {
        _ = try await swapped.createKey(
          bench.uri("new"), type: .aes(bits: 256), role: .wrapping, as: bench.owner, context: bench.context)
      }
      await #expect(throws: error(.unavailable, .backendMismatch)) {
        _ = try await swapped.capabilities(of: bench.vault)
      }
    }
    #expect(try await other.inventory().isEmpty, "nothing was made in the other backend")
  }
}
