import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyTestSupport
import Testing

extension FaultModuleTests {
  @Suite("Misuse by the caller")
  struct MisuseTests {
    @Test("A session that two threads use at once is counted")
    func concurrentUse() async throws {
      let (caller, session) = try await Caller.ready(rules: ["hang C_GenerateRandom nth=1"])
      let other = try caller.open()
      let worker = try BlockingWorker()
      async let code = worker.run { caller.random(session).0 }
      while try caller.report().injected.isEmpty { await Task.yield() }
      #expect(caller.state(other).0 == CKR_OK)
      #expect(try caller.report().concurrentSessionUse == 0)
      #expect(caller.state(session).0 == CKR_OK)
      #expect(try caller.report().concurrentSessionUse == 1)
      try caller.command("release")
      #expect(await code == CKR_OK)
      #expect(caller.state(session).0 == CKR_OK)
      #expect(try caller.report().concurrentSessionUse == 1)
    }

    @Test("Calls before C_Initialize and after C_Finalize are counted")
    func afterFinalize() async throws {
      let caller = try await Caller()
      #expect(caller.info() == CKR_CRYPTOKI_NOT_INITIALIZED)
      #expect(try caller.report().afterFinalize == 1)
      #expect(caller.initialize() == CKR_OK)
      #expect(caller.info() == CKR_OK)
      #expect(caller.finalize() == CKR_OK)
      #expect(try caller.report().afterFinalize == 1)
      #expect(caller.finalize() == CKR_CRYPTOKI_NOT_INITIALIZED)
      #expect(try caller.report().afterFinalize == 2)
    }

    @Test("Who never learnt that C_Finalize worked is not blamed for trying again")
    func lostFinalize() async throws {
      let (caller, _) = try await Caller.ready(rules: ["fail C_Finalize nth=1 when=after"])
      #expect(caller.finalize() == CKR_DEVICE_ERROR)
      #expect(caller.finalize() == CKR_CRYPTOKI_NOT_INITIALIZED)
      #expect(try caller.report().afterFinalize == 0)
    }

    @Test("C_Finalize while another thread is inside is counted")
    func finalizeWhileInside() async throws {
      let (caller, session) = try await Caller.ready(rules: ["hang C_GenerateRandom nth=1"])
      let worker = try BlockingWorker()
      async let code = worker.run { caller.random(session).0 }
      while try caller.report().injected.isEmpty { await Task.yield() }
      #expect(caller.finalize() == CKR_OK)
      #expect(try caller.report().finalizeWhileInside == 1)
      try caller.command("release")
      #expect(await code == CKR_CRYPTOKI_NOT_INITIALIZED)
    }

    @Test("Sessions open at C_Finalize are counted, apart from those that a fault refused to close")
    func leaks() async throws {
      let (caller, first) = try await Caller.ready()
      _ = try caller.open()
      let third = try caller.open()
      #expect(caller.close(first) == CKR_OK)
      try caller.command("fail C_CloseSession nth=1")
      #expect(caller.close(third) == CKR_DEVICE_ERROR)
      #expect(caller.finalize() == CKR_OK)
      let report = try caller.report()
      #expect(report.leakedAtFinalize == 1 && report.refusedAtFinalize == 1)
    }

    @Test("C_CloseAllSessions leaves no leak")
    func closeAll() async throws {
      let (caller, session) = try await Caller.ready()
      _ = try caller.open()
      let slot = try caller.slot()
      #expect(unsafe caller.functions.pointee.C_CloseAllSessions(slot) == CKR_OK)
      #expect(try caller.report().openSessions == 0)
      #expect(caller.random(session).0 == CKR_SESSION_HANDLE_INVALID)
      #expect(try caller.report().unknownSessionHandle == 1)
      #expect(caller.finalize() == CKR_OK)
      #expect(try caller.report().leakedAtFinalize == 0)
    }

    @Test("Sessions that a fault refused to close all at once are counted apart from leaks")
    func closeAllRefused() async throws {
      let (caller, _) = try await Caller.ready()
      _ = try caller.open()
      let slot = try caller.slot()
      try caller.command("fail C_CloseAllSessions nth=1")
      #expect(unsafe caller.functions.pointee.C_CloseAllSessions(slot) == CKR_DEVICE_ERROR)
      #expect(caller.finalize() == CKR_OK)
      let report = try caller.report()
      #expect(report.leakedAtFinalize == 0 && report.refusedAtFinalize == 2)
    }

    @Test("A handle never given out, or closed by the caller, is counted; one that a fault took is not")
    func unknownHandles() async throws {
      let (caller, session) = try await Caller.ready()
      #expect(caller.random(session + 1000).0 == CKR_SESSION_HANDLE_INVALID)
      #expect(try caller.report().unknownSessionHandle == 1)
      #expect(caller.close(session) == CKR_OK)
      #expect(caller.close(session) == CKR_SESSION_HANDLE_INVALID)
      #expect(try caller.report().unknownSessionHandle == 2)
      let fresh = try caller.open()
      try caller.command("fail C_CloseSession nth=1 when=after")
      #expect(caller.close(fresh) == CKR_DEVICE_ERROR)
      #expect(caller.close(fresh) == CKR_SESSION_HANDLE_INVALID)
      #expect(try caller.report().unknownSessionHandle == 2, "closed, but the caller was not told")
      #expect(caller.close(fresh) == CKR_SESSION_HANDLE_INVALID)
      #expect(try caller.report().unknownSessionHandle == 3, "now it was")
    }

    @Test("Logins and refused logins are counted as the caller was told")
    func logins() async throws {
      let (caller, session) = try await Caller.ready()
      #expect(caller.login(session) == CKR_USER_ALREADY_LOGGED_IN)
      #expect(caller.logout(session) == CKR_OK)
      #expect(caller.login(session, pin: [1, 2, 3, 4]) == CKR_PIN_INCORRECT)
      try caller.command("fail Login nth=1 rv=PIN_INCORRECT")
      #expect(caller.login(session) == CKR_PIN_INCORRECT)
      #expect(caller.login(session) == CKR_OK)
      let report = try caller.report()
      #expect(report.logins == 2 && report.loginFailures == 2)
    }

    @Test("Threads under faults: the module keeps count, and nobody is blamed")
    func load() async throws {
      let (caller, first) = try await Caller.ready()
      let slot = try caller.slot()
      #expect(caller.close(first) == CKR_OK)
      for rule in [
        "fail * p=0.02 seed=3", "fail C_GenerateRandom p=0.02 seed=4 when=after", "drop * every=300",
        "logout * every=170", "maxsessions n=4", "vanish ms=1 every=900", "corrupt * p=0.1",
      ] { try caller.command(rule) }
      let workers = try (0..<6).map { _ in try BlockingWorker() }
      let drawn = await withTaskGroup(of: Int.self) { group in
        for worker in workers { group.addTask { await worker.run { Self.churn(caller, slot) } } }
        return await group.reduce(0, +)
      }
      #expect(drawn > 0)
      try caller.command("clear")
      try caller.command("return")
      #expect(caller.finalize() == CKR_OK)
      let report = try caller.report()
      for action in ["fail", "drop", "logout", "vanish"] { #expect(report.injected[action, default: 0] > 0) }
      #expect(report.maxOpenSessions <= 4 && report.openSessions == 0 && report.inside == 0)
      #expect(report.concurrentSessionUse + report.unknownSessionHandle + report.leakedAtFinalize == 0)
    }

    /// Opens, draws random bytes and closes, whatever the answers; how often it got some.
    private static func churn(_ caller: Caller, _ slot: CK_SLOT_ID) -> Int {
      (0..<400).reduce(0) { count, _ in
        let (code, session) = caller.tryOpen(slot)
        guard code == CKR_OK else { return count }
        let drawn = caller.random(session).0 == CKR_OK
        _ = caller.close(session)
        return count + (drawn ? 1 : 0)
      }
    }
  }
}
