import KeyCustody
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

@testable import KeyCustodyPKCS11

@Suite("Opening and closing beside calls that hang")
struct HungClosingTests {
  @Test(
    "Closing ends, whatever hangs", arguments: [["hang C_CloseSession nth=1"], ["hang C_CloseSession from=1"]])
  func closing(_ rules: [String]) async throws {
    let backend = try await FaultyBackend(sessions: 1, changing: ["timeout": 5])
    for rule in rules { try backend.module.command(rule) }
    await backend.provider.close()
    try backend.module.command("release")
  }

  @Test("An opening that fails beside a call that hangs ends")
  func opening() async throws {
    let token = try await SoftHSM.makeToken()
    let module = try FaultModule(rules: ["hang C_GenerateRandom nth=1", "hang C_CloseSession nth=1"])
    let error = await #expect(throws: KeyCustodyError.self) {
      _ = try await FaultyBackend.open(token, module, changing: ["timeout": 1])
    }
    #expect(error == KeyCustodyError(.timeout, .deadline, ""))
    try module.command("clear")
    try module.command("release")
  }

  @Test("A slot list that hangs holds up no other module, not even while a token is to be made")
  func slotList() async throws {
    let token = try await SoftHSM.makeToken()
    let hung = try FaultModule(rules: ["hang C_GetSlotList nth=1"])
    let sound = try FaultModule()
    let cryptoki = try Cryptoki(path: hung.path)
    let listing = Task {
      try await BlockingWorker().run { () throws(KeyCustodyError) in
        do throws(PKCS11Failure) {
          try cryptoki.initialize()
          return try cryptoki.slotsWithToken().count
        } catch { throw error.translated }
      }
    }
    while try hung.report().injected["hang"] ?? 0 < 1 { await Task.yield() }
    let making = Task { try await SoftHSM.makeToken() }
    let start = ContinuousClock.now
    try await FaultyBackend.open(token, sound).close()
    // Waiting for the other module would take as long as it hangs; waiting in vain, half a minute.
    #expect(try hung.report().inside == 1)
    #expect(ContinuousClock.now - start < .seconds(25))
    try hung.command("release")
    #expect(try await listing.value > 0)
    _ = try await making.value
    try cryptoki.finalize()
  }

  @Test("A token is opened again while an old call hangs; the login that it keeps alive is known")
  func reopening() async throws {
    let clock = ManualClock()
    let backend = try await FaultyBackend(sessions: 1, time: clock)
    try backend.module.command("hang C_GenerateRandom nth=1")
    try await backend.expectLate(clock, hangs: 1) { try await backend.provider.probe(nil, context: $0) }
    await backend.provider.close()
    let again = try await FaultyBackend.open(backend.token, backend.module)
    try await again.probe(nil, context: Backends.context)
    try backend.module.command("release")
    await again.close()
  }

  @Test("A name is free again when the call that hangs under it has come back; till then others wait to their deadline")
  func names() async throws {
    let clock = ManualClock()
    let backend = try await FaultyBackend(sessions: 2, time: clock)
    let provider = backend.provider
    let version = try Backends.name()
    let request = GenerateKeyRequest(version: version, type: .ec(.p256), role: .signing)
    try backend.module.command("hang C_GenerateKeyPair nth=1")
    try await backend.expectLate(clock, hangs: 1) { _ = try await provider.generate(request, context: $0) }
    try await backend.expectLate(clock) { _ = try await provider.generate(request, context: $0) }
    try await backend.expectLate(clock) { try await provider.destroy(version, context: $0) }
    try backend.module.command("release")
    // The first has made the key after all.
    await #expect(throws: KeyCustodyError(.invalidInput, .alreadyExists, "")) {
      _ = try await provider.generate(request, context: Backends.context)
    }
    #expect(try await provider.inventory?.versions(after: nil, limit: 9) == [version])
    try await provider.destroy(version, context: Backends.context)
    await provider.close()
    #expect(try backend.module.report().misuse == FaultModule.Report.clean)
  }

  @Test("A key that another process destroyed costs the others nothing while the module can't be started anew")
  func lostKeyBesideHang() async throws {
    let clock = ManualClock()
    let backend = try await FaultyBackend(sessions: 2, time: clock)
    let provider = backend.provider
    let key = try await provider.make(.aes(bits: 256), .wrapping)
    try backend.module.command("hang C_GenerateRandom nth=1")
    try await backend.expectLate(clock, hangs: 1) { try await provider.probe(nil, context: $0) }
    let copy = try ModuleCopy()
    let other = try await Backends.keys(backend.token, changing: copy.settings(backend.token))
    try await other.destroy(key.version, context: Backends.context)
    await other.close()
    await #expect(throws: KeyCustodyError(.unavailable, .init("module-hangs"), "")) {
      _ = try await provider.describe(key.version, context: Backends.context)
    }
    try await provider.probe(nil, context: Backends.context)
    try backend.module.command("release")
    await provider.close()
  }
}
