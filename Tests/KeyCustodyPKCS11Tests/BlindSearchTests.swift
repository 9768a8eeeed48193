import KeyCustody
import KeyCustodyTestSupport
import Testing

@testable import KeyCustodyPKCS11

/// A session that was logged out answers searches with success and nothing; whoever logs in again makes it look well.
@Suite("What a logged-out session says is not believed")
struct BlindSearchTests {
  @Test("A listing cut off by a logout is listed again", arguments: 1...12)
  func listings(_ call: Int) async throws {
    let report = try await FaultyBackend.with(sessions: 1) { backend in
      let keys = [
        try await backend.provider.make(.ec(.p256), .signing),
        try await backend.provider.make(.aes(bits: 256), .wrapping),
      ]
      try backend.module.command("logout C_FindObjectsInit nth=\(call)")
      #expect(try await backend.provider.inventory?.leftovers() == [])
      let names = try await backend.provider.inventory?.versions(after: nil, limit: 9)
      #expect(names == keys.map(\.version).sorted())
    }
    #expect(report.misuse == FaultModule.Report.clean)
  }

  @Test("RELIABILITY 3.3: a destruction that a logout cuts off is finished, not half", arguments: 1...8)
  func destruction(_ call: Int) async throws {
    let report = try await FaultyBackend.with(sessions: 1) { backend in
      let key = try await backend.provider.make(.ec(.p256), .signing)
      try backend.module.command("logout C_FindObjectsInit nth=\(call)")
      try await backend.provider.destroy(key.version, context: Backends.context)
      try backend.module.command("clear")
      #expect(try await backend.provider.inventory?.versions(after: nil, limit: 9) == [])
      #expect(try await backend.provider.inventory?.leftovers() == [])
    }
    #expect(report.misuse == FaultModule.Report.clean)
  }

  @Test("A store that loads while somebody logs out has its records", arguments: 1...12)
  func loading(_ call: Int) async throws {
    let token = try await SoftHSM.makeToken()
    let store = try await Backends.store(token)
    for name in ["a", "b", "c"] {
      _ = try await store.compareAndSet(try RecordKey(name), expecting: nil, value: [1])
    }
    await store.close()
    let module = try FaultModule(rules: ["logout C_FindObjectsInit nth=\(call)"])
    var settings = token.settings.merging(["module": .string(module.path)]) { $1 }
    settings["lockFile"] = .string("\(token.pinFile).lock")
    let section = KeyCustodyConfiguration(["store": .section(settings)]).root.section("store")
    let again = try await [PKCS11Plugin.plugin].openPolicyStore(section, RuntimeEnvironment())
    let records = try await again.list(prefix: "", after: nil, limit: 10)
    #expect(records.map(\.key.description) == ["a", "b", "c"])
    let changed = try await again.compareAndSet(try RecordKey("a"), expecting: records[0].revision, value: [2])
    guard case .stored(let revision) = changed else {
      Issue.record("\(changed)")
      return
    }
    #expect(revision > records[2].revision)
    await again.close()
  }

  @Test("A key that is searched for while another session logs in again is found")
  func searchedMeanwhile() async throws {
    let token = try await SoftHSM.makeToken()
    let module = try FaultModule()
    let first = try await FaultyBackend.open(token, module)
    let key = try await first.make(.aes(bits: 256), .wrapping)
    await first.close()
    // In a new start of the module nobody has seen the key yet.
    let provider = try await FaultyBackend.open(token, module)
    try module.command("logout C_FindObjectsInit nth=1")
    try module.command("hang C_FindObjectsFinal nth=1")
    async let found = provider.describe(key.version, context: Backends.context)
    while try module.report().injected["hang"] != 1 { await Task.yield() }
    try await provider.probe(nil, context: Backends.context)
    try module.command("release")
    #expect(try await found == key)
    await provider.close()
    #expect(try module.report().misuse == FaultModule.Report.clean)
  }

  @Test("Intact bytes are not called altered by a device that fails for a while")
  func burst() async throws {
    for count in 1...12 {
      let report = try await FaultyBackend.with(sessions: 1) { backend in
        let key = try await backend.provider.make(.aes(bits: 256), .wrapping)
        let secret = try SystemRandom().secret(32)
        let wrapped = try await backend.provider.wrap(secret, key, .aes256KW)
        try backend.module.command("fail C_UnwrapKey rv=GENERAL_ERROR count=\(count)")
        let found = try await backend.unwrapAtLast(wrapped, key, .aes256KW)
        let isSame = found.secret.bytes.isEqual(to: secret)
        #expect(isSame)
      }
      #expect(report.misuse == FaultModule.Report.clean)
    }
  }

  @Test("Nor by one that fails in several ways, one after the other")
  func mixedBurst() async throws {
    let report = try await FaultyBackend.with(sessions: 1) { backend in
      let key = try await backend.provider.make(.aes(bits: 256), .wrapping)
      let secret = try SystemRandom().secret(32)
      let wrapped = try await backend.provider.wrap(secret, key, .aes256KW)
      try backend.module.command("fail C_UnwrapKey rv=DEVICE_ERROR count=3")
      try backend.module.command("fail C_UnwrapKey nth=4 rv=ENCRYPTED_DATA_INVALID")
      let found = try await backend.provider.unwrap(wrapped, key, .aes256KW)
      let isSame = found.isEqual(to: secret)
      #expect(isSame)
    }
    #expect(report.injected["fail"] == 4)
  }

  @Test(
    "A refusal by a token that is going away is not believed; by one that stays, it is",
    arguments: ["MECHANISM_INVALID", "KEY_TYPE_INCONSISTENT", "KEY_FUNCTION_NOT_PERMITTED"])
  func refusals(_ code: String) async throws {
    let report = try await FaultyBackend.with(sessions: 1) { backend in
      let key = try await backend.provider.make(.aes(bits: 256), .wrapping)
      let secret = try SystemRandom().secret(32)
      let wrapped = try await backend.provider.wrap(secret, key, .aes256KW)
      try backend.module.command("fail C_UnwrapKey nth=1 rv=\(code)")
      try backend.module.command("fail C_FindObjectsInit nth=1 rv=TOKEN_NOT_PRESENT")
      let found = try await backend.unwrapAtLast(wrapped, key, .aes256KW)
      let isSame = found.secret.bytes.isEqual(to: secret)
      #expect(isSame)
      #expect(try backend.module.report().injected["fail"] == 2)
      try backend.module.command("fail C_UnwrapKey nth=1 rv=\(code)")
      let refused = await #expect(throws: KeyCustodyError.self) {
        _ = try await backend.provider.unwrap(wrapped, key, .aes256KW)
      }
      #expect(refused?.code == .unsupported || refused?.reason == .wrongKeyType, "\(refused.debugDescription)")
    }
    #expect(report.misuse == FaultModule.Report.clean)
  }

  @Test("A vendor's own code is a device's trouble, not a defect of ours")
  func vendorCodes() async throws {
    _ = try await FaultyBackend.with { backend in
      let key = try await backend.provider.make(.aes(bits: 256), .wrapping)
      try backend.module.command("fail C_WrapKey nth=1 rv=0x80000123")
      _ = try await backend.provider.wrap(try SystemRandom().secret(32), key, .aes256KW)
      try backend.module.command("fail C_WrapKey rv=0x80000123")
      let error = await #expect(throws: KeyCustodyError.self) {
        _ = try await backend.provider.wrap(try SystemRandom().secret(32), key, .aes256KW)
      }
      #expect(error?.code == .unavailable)
    }
  }

  @Test("A token that was emptied is told as such, and accepted when it is opened again")
  func emptied() async throws {
    let backend = try await FaultyBackend(sessions: 1)
    let key = try await backend.provider.make(.aes(bits: 256), .wrapping)
    try await TokenObjects.look(at: backend.token, in: try ModuleCopy()) { (session) throws(PKCS11Failure) in
      for object in try session.find(Template([]), limit: 100) { try session.destroy(object) }
    }
    let missing = KeyCustodyError(.unavailable, .init("sentinel-missing"), "")
    for version in [key.version, try Backends.name()] {
      await #expect(throws: missing) { _ = try await backend.provider.describe(version, context: Backends.context) }
    }
    await backend.provider.close()
    let again = try await FaultyBackend.open(backend.token, backend.module)
    await #expect(throws: KeyCustodyError(.notFound, .keyVersionUnknown, "")) {
      _ = try await again.describe(key.version, context: Backends.context)
    }
    await again.close()
  }

  @Test("Attributes that are missing while a token goes away make no other key of it", arguments: 1...20)
  func missingAttributes(_ call: Int) async throws {
    let token = try await SoftHSM.makeToken()
    let first = try await FaultyBackend.open(token, try FaultModule())
    let keys = [
      try await first.make(.aes(bits: 256), .wrapping), try await first.make(.rsa(bits: 2048), .wrapping),
      try await first.make(.ec(.p256), .signing),
    ]
    await first.close()
    for count in [1, 2, 14] {
      // Another instance of the module, so that nothing is known of the keys.
      let module = try FaultModule()
      let provider = try await FaultyBackend.open(token, module, sessions: 1)
      for key in keys {
        try module.command("fail C_GetAttributeValue from=\(call) count=\(count) rv=ATTRIBUTE_TYPE_INVALID")
        var found: KeyDescription?
        while found == nil {
          do throws(KeyCustodyError) {
            found = try await provider.describe(key.version, context: Backends.context)
          } catch {
            // So much may be said.
            guard error.code == .unavailable else { throw error }
          }
        }
        #expect(found == key, "\(count)")
        try module.command("clear")
      }
      await provider.close()
    }
  }

  @Test("RELIABILITY 3.40: a flipped bit in a key's attributes makes no other key of it", arguments: 1...12)
  func flippedAttributes(_ call: Int) async throws {
    let token = try await SoftHSM.makeToken()
    let module = try FaultModule()
    let first = try await FaultyBackend.open(token, module)
    let keys = [try await first.make(.rsa(bits: 2048), .wrapping), try await first.make(.ec(.p256), .signing)]
    await first.close()
    // Another instance of the module, so that nothing is known of the keys.
    let other = try FaultModule()
    let provider = try await FaultyBackend.open(token, other)
    for key in keys {
      try other.command("corrupt C_GetAttributeValue nth=\(call)")
      var found: KeyDescription?
      for _ in 0..<3 where found == nil {
        found = try? await provider.describe(key.version, context: Backends.context)
      }
      #expect(found?.fingerprint == key.fingerprint && found?.publicKey == key.publicKey)
      try other.command("clear")
      #expect(try await provider.describe(key.version, context: Backends.context).fingerprint == key.fingerprint)
    }
    await provider.close()
  }
}
