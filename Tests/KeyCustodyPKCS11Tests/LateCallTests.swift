import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import KeyCustodyTesting
import Synchronization
import Testing

@testable import KeyCustodyPKCS11

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

@Suite("Calls that don't come back, sessions that are not to be had, processes that are copied")
struct LateCallTests {
  @Test("RELIABILITY 3.39: a call that hangs is answered at its deadline, and others are served meanwhile")
  func hungCall() async throws {
    let clock = ManualClock()
    let report = try await FaultyBackend.with(time: clock) { backend in
      let provider = backend.provider
      try backend.module.command("hang C_GenerateRandom nth=1")
      try await backend.expectLate(clock, hangs: 1) { try await provider.probe(nil, context: $0) }
      #expect(provider.pool.workers.late == 1)
      for _ in 0..<4 { try await provider.probe(nil, context: Backends.context) }
      try backend.module.command("release")
      while provider.pool.workers.late > 0 { await Task.yield() }
      try await provider.probe(nil, context: Backends.context)
    }
    #expect(report.misuse == FaultModule.Report.clean)
  }

  @Test("While every call hangs, newcomers are refused at once and told when to come again; then service returns")
  func allHang() async throws {
    let clock = ManualClock()
    let report = try await FaultyBackend.with(sessions: 1, time: clock) { backend in
      let provider = backend.provider
      let events = provider.events()
      try backend.module.command("hang C_GenerateRandom count=2")
      for hangs in 1...2 {
        try await backend.expectLate(clock, hangs: hangs) { try await provider.probe(nil, context: $0) }
      }
      let refused = await #expect(throws: KeyCustodyError.self) {
        try await provider.probe(nil, context: Backends.context)
      }
      #expect(refused == KeyCustodyError(.unavailable, PKCS11SessionPool.hanging, "") && refused?.retryAfter != nil)
      try backend.module.command("release")
      while provider.pool.workers.late > 0 { await Task.yield() }
      try await provider.probe(nil, context: Backends.context)
      var told: [KeyProviderEvent] = []
      for await event in events {
        told.append(event)
        if told.count == 2 { break }
      }
      #expect(told.last == .available)
    }
    #expect(report.misuse == FaultModule.Report.clean)
  }

  @Test("Opening on a module that hangs ends at its deadline")
  func hungOpening() async throws {
    let token = try await SoftHSM.makeToken()
    let module = try FaultModule(rules: ["hang C_GetTokenInfo nth=1"])
    let clock = ManualClock()
    let opening = Task { try await FaultyBackend.open(token, module, changing: ["timeout": 1], time: clock) }
    while try module.report().injected["hang"] ?? 0 < 1 { await Task.yield() }
    await clock.waiters(atLeast: 1)
    // Opening is given twelve times the time of a call.
    clock.advance(by: .seconds(13))
    await #expect(throws: KeyCustodyError(.timeout, .deadline, "")) { _ = try await opening.value }
    try module.command("release")
    let provider = try await FaultyBackend.open(token, module)
    try await provider.probe(nil, context: Backends.context)
    await provider.close()
  }

  @Test("RELIABILITY 3.4: a token with fewer sessions than configured serves all callers with those it has")
  func fewSessions() async throws {
    let token = try await SoftHSM.makeToken()
    let module = try FaultModule(rules: ["maxsessions n=2"])
    let provider = try await FaultyBackend.open(token, module, sessions: 8)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<64 { group.addTask { try await provider.probe(nil, context: Backends.context) } }
      try await group.waitForAll()
    }
    await provider.close()
    let report = try module.report()
    #expect(report.maxOpenSessions == 2 && report.misuse == FaultModule.Report.clean)
  }

  @Test("A token without a session for us is busy, with a time to come again")
  func noSession() async throws {
    let backend = try await FaultyBackend(sessions: 1)
    try backend.module.command("drop C_GenerateRandom nth=1")
    try backend.module.command("maxsessions n=1")
    // The login has the only one.
    let error = await #expect(throws: KeyCustodyError.self) {
      try await backend.provider.probe(nil, context: Backends.context)
    }
    #expect(error?.code == .busy && error?.retryAfter != nil, "\(error?.debugDescription ?? "")")
    try backend.module.command("clear")
    try await backend.provider.probe(nil, context: Backends.context)
    await backend.provider.close()
  }

  @Test(
    "Sessions that stay open although the module disowned them are ended, where they take all the room",
    arguments: ["fail C_CloseSession nth=1 rv=SESSION_HANDLE_INVALID", "fail C_CloseSession count=4"])
  func lostSessions(_ rule: String) async throws {
    let report = try await FaultyBackend.with(sessions: 1) { backend in
      let key = try await backend.provider.make(.aes(bits: 256), .wrapping)
      let epoch = backend.provider.token.module.epoch
      // Room for the login's session and one more.
      for line in ["maxsessions n=2", rule, "fail C_GenerateRandom nth=1"] { try backend.module.command(line) }
      try await backend.provider.probe(nil, context: Backends.context)
      #expect(backend.provider.token.module.epoch == epoch + 1)
      #expect(try await backend.provider.describe(key.version, context: Backends.context) == key)
    }
    #expect(report.misuse == FaultModule.Report.clean)
  }

  @Test("RELIABILITY 3.6: a copy that fork makes does not touch the parent's sessions, and is told why")
  func forked() async throws {
    let report = try await FaultyBackend.with { backend in
      let cryptoki = backend.provider.token.module.cryptoki
      // Swift hides `fork`, since a child of many threads may do little; this one makes one call that must not go out.
      let symbol = try unsafe #require(dlsym(nil, "fork"))
      typealias Fork = @convention(c) () -> pid_t
      let fork = unsafe unsafeBitCast(symbol, to: Fork.self)
      let slot = backend.provider.token.slot
      let child = fork()
      if child == 0 {
        do throws(PKCS11Failure) { _ = try cryptoki.openSession(slot) } catch {
          if case .custody(let error) = error { _exit(error == Cryptoki.forked ? 42 : 1) }
        }
        _exit(2)
      }
      var status: Int32 = 0
      while unsafe waitpid(child, &status, 0) == -1 && errno == EINTR {}
      #expect((status >> 8) & 0xff == 42)
      try await backend.provider.probe(nil, context: Backends.context)
    }
    #expect(report.misuse == FaultModule.Report.clean)
  }

  @Test("RELIABILITY 3.40: a flipped bit in what the token wrapped or signed does not go out")
  func flippedBits() async throws {
    let report = try await FaultyBackend.with { backend in
      let wrapping = try await backend.provider.make(.aes(bits: 256), .wrapping)
      let signing = try await backend.provider.make(.ec(.p256), .signing)
      let digest = try SystemRandom().bytes(32)
      try backend.module.command("corrupt C_WrapKey nth=1")
      try backend.module.command("corrupt C_Sign nth=1")
      let secret = try SystemRandom().secret(32)
      let wrapped = try await backend.provider.wrap(secret, wrapping, .aes256KW)
      let isSame = try await backend.provider.unwrap(wrapped, wrapping, .aes256KW).isEqual(to: secret)
      #expect(isSame)
      let signature = try await backend.provider.sign(digest, signing, .es256)
      #expect(try PublicKey(spki: signing.publicKey ?? []).verify(signature, digest: digest, .es256))
    }
    #expect(report.injected["corrupt"] == 2)
  }

  @Test(
    "RELIABILITY 3.8: a key whose making was answered with an error is there once, or not at all",
    arguments: [
      "fail C_GenerateKeyPair nth=1 when=after", "fail C_GenerateKeyPair nth=1", "fail C_GenerateKey nth=1 when=after",
      "fail C_FindObjects nth=2", "drop C_FindObjectsInit nth=2", "logout C_GenerateKeyPair nth=1",
    ])
  func lostAnswers(_ rule: String) async throws {
    let report = try await FaultyBackend.with { backend in
      let kind: (KeyType, KeyRole) = rule.contains("Pair") ? (.ec(.p256), .signing) : (.aes(bits: 256), .wrapping)
      try backend.module.command(rule)
      let key = try await backend.provider.make(kind.0, kind.1)
      #expect(try await backend.provider.describe(key.version, context: Backends.context) == key)
      #expect(try await backend.provider.inventory?.versions(after: nil, limit: 9) == [key.version])
      #expect(try await backend.provider.inventory?.leftovers() == [])
      try backend.module.command("fail C_DestroyObject nth=1 when=after")
      try await backend.provider.destroy(key.version, context: Backends.context)
      #expect(try await backend.provider.inventory?.versions(after: nil, limit: 9) == [])
    }
    #expect(report.misuse == FaultModule.Report.clean)
  }

  @Test("An import that can't remove the key it travelled under gives its session up, which removes it")
  func transportKey() async throws {
    let report = try await FaultyBackend.with(sessions: 1) { backend in
      func closed() throws -> Int { try backend.module.report().functions["C_CloseSession"] ?? 0 }
      let request = GenerateKeyRequest(version: try Backends.name(), type: .aes(bits: 256), role: .wrapping)
      let before = try closed()
      try backend.module.command("fail C_DestroyObject nth=1")
      let material = try SystemRandom().secret(32)
      _ = try await backend.provider.importKey(material, as: request, context: Backends.context)
      try await backend.provider.probe(request.version, context: Backends.context)
      #expect(try closed() == before + 1)
    }
    #expect(report.misuse == FaultModule.Report.clean && report.injected["fail"] == 1)
  }

  @Test("A key is searched for once; where searching is slow, all keys are found again by one pass after a new login")
  func searches() async throws {
    let report = try await FaultyBackend.with(sessions: 1) { backend in
      let provider = backend.provider
      var keys: [(KeyDescription, [UInt8])] = []
      for _ in 0..<20 {
        let key = try await provider.make(.aes(bits: 256), .wrapping)
        keys.append((key, try await provider.wrap(try SystemRandom().secret(32), key, .aes256KW)))
      }
      func searches() throws -> Int { try backend.module.report().functions["C_FindObjectsInit"] ?? 0 }
      let before = try searches()
      for _ in 0..<3 { for (key, wrapped) in keys { _ = try await provider.unwrap(wrapped, key, .aes256KW) } }
      #expect(try searches() == before)
      try backend.module.command("delay C_FindObjectsInit ms=6")
      try backend.module.command("drop C_UnwrapKey nth=1")
      for (key, wrapped) in keys { _ = try await provider.unwrap(wrapped, key, .aes256KW) }
      // The canary's, two slow ones, and one for each class of key.
      #expect(try searches() - before <= 8)
    }
    #expect(report.misuse == FaultModule.Report.clean)
  }
}
