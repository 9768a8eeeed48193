import KeyCustody
import KeyCustodyTestSupport
import Testing

@testable import KeyCustodyPKCS11

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

@Suite("Mending a token that failed")
struct RecoveryTests {
  /// A wrapping key in use: what was wrapped, and the secret.
  private struct Used {
    let key: KeyDescription
    let wrapped: [UInt8]
    let secret: SecretBox

    init(_ backend: FaultyBackend) async throws {
      key = try await backend.provider.make(.rsa(bits: 2048), .wrapping)
      secret = SecretBox(copying: try SystemRandom().secret(32))
      wrapped = try await backend.provider.wrap(secret.bytes, key, .rsaOAEP)
    }

    /// Unwraps, through at most so many errors that ask for patience.
    func check(_ backend: FaultyBackend, errorsAtMost limit: Int = 0) async throws {
      let (found, errors) = try await backend.unwrapAtLast(wrapped, key, .rsaOAEP)
      let isSame = found.bytes.isEqual(to: secret.bytes)
      #expect(isSame)
      #expect(errors.count <= limit, "\(errors)")
    }
  }

  @Test(
    "One failing call, of any kind, is not felt",
    arguments: [
      "fail C_DecryptInit nth=1", "fail C_Decrypt nth=1", "fail C_Decrypt nth=1 when=after",
      "fail C_Decrypt nth=1 rv=GENERAL_ERROR", "fail C_Decrypt nth=1 rv=SESSION_HANDLE_INVALID",
      "fail C_DecryptInit nth=1 rv=DEVICE_REMOVED", "fail C_DecryptInit nth=1 rv=TOKEN_NOT_PRESENT",
      "fail C_DecryptInit nth=1 rv=KEY_HANDLE_INVALID", "fail C_DecryptInit nth=1 rv=OPERATION_ACTIVE",
      "drop C_DecryptInit nth=1", "logout C_DecryptInit nth=1",
    ])
  func oneFault(_ rule: String) async throws {
    let report = try await FaultyBackend.with { backend in
      let used = try await Used(backend)
      try backend.module.command(rule)
      try await used.check(backend)
      try await used.check(backend)
    }
    #expect(report.misuse == FaultModule.Report.clean)
    #expect(report.injected.values.reduce(0, +) == 1)
  }

  @Test(
    "RELIABILITY 3.2: a token that was gone comes back by itself, however it went",
    arguments: ["removed", "deaf", "stranger"])
  func gone(_ mode: String) async throws {
    let report = try await FaultyBackend.with { backend in
      let used = try await Used(backend)
      let events = backend.provider.events()
      let epoch = backend.provider.token.module.epoch
      try backend.module.command("vanish-now \(mode)")
      let error = await #expect(throws: KeyCustodyError.self) {
        _ = try await backend.provider.unwrap(used.wrapped, used.key, .rsaOAEP)
      }
      #expect(error?.code == .unavailable && error?.retryAfter != nil, "\(error?.debugDescription ?? "")")
      try backend.module.command("return")
      try await used.check(backend, errorsAtMost: 1000)
      #expect(backend.provider.token.module.epoch > epoch)
      var told: [KeyProviderEvent] = []
      for await event in events {
        told.append(event)
        if told.count == 2 { break }
      }
      guard case .unavailable? = told.first, told.last == .available else {
        Issue.record("told \(told)")
        return
      }
    }
    #expect(report.misuse == FaultModule.Report.clean)
  }

  @Test("RELIABILITY 5.1: while searches find nothing, no key is 'not found', living or not")
  func empty() async throws {
    let report = try await FaultyBackend.with { backend in
      let used = try await Used(backend)
      try backend.module.command("vanish-now empty")
      for version in [used.key.version, try Backends.name()] {
        let error = await #expect(throws: KeyCustodyError.self) {
          _ = try await backend.provider.describe(version, context: Backends.context)
        }
        #expect(error?.code == .unavailable, "\(error?.debugDescription ?? "")")
      }
      try backend.module.command("return")
      try await used.check(backend, errorsAtMost: 1000)
      await #expect(throws: KeyCustodyError(.notFound, .keyVersionUnknown, "")) {
        _ = try await backend.provider.describe(try Backends.name(), context: Backends.context)
      }
    }
    #expect(report.misuse == FaultModule.Report.clean)
  }

  @Test(
    "A module that is started anew is left no open session, whatever stumbles meanwhile",
    arguments: ["fail C_GetSlotList nth=1", "fail C_CloseAllSessions nth=1", "vanish-now deaf"])
  func sessionsAtRestart(_ rule: String) async throws {
    let report = try await FaultyBackend.with { backend in
      let used = try await Used(backend)
      let module = backend.provider.token.module
      let epoch = module.epoch
      try backend.module.command(rule)
      try await BlockingWorker().run { () throws in try? module.restart(since: epoch, now: .zero) }
      try backend.module.command("return")
      try await used.check(backend, errorsAtMost: 1000)
      #expect(module.epoch > epoch)
    }
    #expect(report.leakedAtFinalize == 0)
    #expect(report.misuse == FaultModule.Report.clean)
  }

  @Test("A module that somebody else started is not started anew; the error says whose it is to do")
  func adopted() async throws {
    let token = try await SoftHSM.makeToken()
    let module = try FaultModule()
    let cryptoki = try Cryptoki(path: module.path)
    try cryptoki.initialize()
    let provider = try await FaultyBackend.open(token, module)
    let epoch = provider.token.module.epoch
    try module.command("vanish-now removed")
    let error = await #expect(throws: KeyCustodyError.self) {
      try await provider.probe(nil, context: Backends.context)
    }
    #expect(error == KeyCustodyError(.unavailable, .init("foreign-module"), ""))
    #expect(error?.remedy.contains("C_Finalize") == true)
    #expect(provider.token.module.epoch == epoch)
    #expect(try module.report().functions["C_Finalize"] ?? 0 == 0)
    try module.command("return")
    await provider.close()
    try cryptoki.finalize()
  }

  @Test("What an adopted module's owner finalised is started again")
  func finalizedByOwner() async throws {
    let token = try await SoftHSM.makeToken()
    let module = try FaultModule()
    let cryptoki = try Cryptoki(path: module.path)
    try cryptoki.initialize()
    let provider = try await FaultyBackend.open(token, module)
    let key = try await provider.make(.aes(bits: 256), .wrapping)
    try cryptoki.finalize()
    #expect(try await provider.describe(key.version, context: Backends.context) == key)
    #expect(!provider.token.module.isAdopted)
    await provider.close()
  }

  @Test("Two tokens of one module: what one's trouble costs the other is a new login")
  func twoTokens() async throws {
    let module = try FaultModule()
    let tokens = [try await SoftHSM.makeToken(), try await SoftHSM.makeToken()]
    let first = try await FaultyBackend.open(tokens[0], module)
    let second = try await FaultyBackend.open(tokens[1], module)
    let keys = [try await first.make(.aes(bits: 256), .wrapping), try await second.make(.aes(bits: 256), .wrapping)]
    let elsewhere = try TemporaryFolder()
    let folder = try #require(tokens[0].folder)
    try #require(unsafe rename(folder, elsewhere.appending("token")) == 0)
    await #expect(throws: KeyCustodyError.self) {
      _ = try await first.describe(try Backends.name(), context: Backends.context)
    }
    // The module was started anew for the first; the second goes on, with its own keys.
    for _ in 0..<20 {
      #expect(try await second.describe(keys[1].version, context: Backends.context) == keys[1])
    }
    await #expect(throws: KeyCustodyError(.notFound, .keyVersionUnknown, "")) {
      _ = try await second.describe(keys[0].version, context: Backends.context)
    }
    try #require(unsafe rename(elsewhere.appending("token"), folder) == 0)
    for await event in first.events() where event == .available { break }
    #expect(try await first.describe(keys[0].version, context: Backends.context) == keys[0])
    await first.close()
    await second.close()
    #expect(try module.report().misuse == FaultModule.Report.clean)
  }

  @Test("RELIABILITY 3.10: a PIN that is refused when the login must be renewed is not tried again")
  func refusedPIN() async throws {
    let backend = try await FaultyBackend()
    let used = try await Used(backend)
    let attempts = backend.provider.token.loginAttempts
    try backend.module.command("fail C_Login rv=PIN_INCORRECT")
    try backend.module.command("drop C_DecryptInit nth=1")
    for _ in 0..<5 {
      let error = await #expect(throws: KeyCustodyError.self) {
        _ = try await backend.provider.unwrap(used.wrapped, used.key, .rsaOAEP)
      }
      #expect(error == KeyCustodyError(.credentialRejected, .wrongSecret, ""))
    }
    // The background goes on trying everything but that PIN.
    let opened = try backend.module.report().functions["C_OpenSession"] ?? 0
    while try backend.module.report().functions["C_OpenSession"] ?? 0 < opened + 3 { await Task.yield() }
    #expect(backend.provider.token.loginAttempts == attempts + 1)
    try backend.module.command("clear")
    await backend.provider.close()
    let again = try await FaultyBackend.open(backend.token, backend.module)
    #expect(try await again.describe(used.key.version, context: Backends.context) == used.key)
    await again.close()
  }

  @Test("A locked PIN is told as such")
  func lockedPIN() async throws {
    let backend = try await FaultyBackend()
    let events = backend.provider.events()
    try backend.module.command("fail C_Login rv=PIN_LOCKED")
    try backend.module.command("logout C_GetSessionInfo nth=1")
    let error = await #expect(throws: KeyCustodyError.self) {
      try await backend.provider.probe(nil, context: Backends.context)
    }
    #expect(error == KeyCustodyError(.credentialRejected, .init("pin-locked"), ""))
    for await event in events {
      guard case .unavailable(let reason) = event else { break }
      #expect(reason.contains("locked"))
      break
    }
    try backend.module.command("clear")
    await backend.provider.close()
  }

  @Test("A stumble while the token is tried at opening takes no ability away")
  func stumbleAtOpening() async throws {
    let token = try await SoftHSM.makeToken()
    let sound = try await Backends.keys(token)
    let expected = sound.capabilities.findings
    await sound.close()
    for rule in ["fail C_GenerateKeyPair nth=1", "fail C_Decrypt nth=1 rv=GENERAL_ERROR", "fail C_Sign nth=2"] {
      let module = try FaultModule(rules: [rule])
      let provider = try await FaultyBackend.open(token, module)
      #expect(provider.capabilities.findings == expected, "\(rule)")
      await provider.close()
    }
  }
}
