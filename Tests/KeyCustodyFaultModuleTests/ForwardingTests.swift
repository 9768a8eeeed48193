import CKeyCustodyPKCS11
import KeyCustodyTestSupport
import Testing

extension FaultModuleTests {
  @Suite("Forwarding, settings, counters")
  struct ForwardingTests {
    @Test("Without rules it answers as the real module does, and counts")
    func forwarding() async throws {
      let (caller, session) = try await Caller.ready()
      let (made, key) = caller.makeKey(session)
      #expect(made == CKR_OK)
      let (encrypted, bytes) = caller.encrypt(session, key)
      #expect(encrypted == CKR_OK && bytes.count == 16)
      #expect(caller.decrypt(session, key, bytes) == (CKR_OK, Caller.block))
      #expect(caller.objects(session) == (CKR_OK, 1))
      #expect(caller.state(session) == (CKR_OK, CKS_RW_USER_FUNCTIONS))
      let report = try caller.report()
      #expect(report.functions["C_Encrypt"] == 1)
      #expect(report.functions["C_GenerateKey"] == 1)
      #expect(report.calls == report.functions.values.reduce(0, +))
      #expect(report.injected.isEmpty)
      #expect(report.openSessions == 1 && report.maxOpenSessions == 1)
      #expect(report.logins == 1 && report.loginFailures == 0)
      #expect(report.inside == 0 && report.pid != 0 && report.vanished == "no" && report.configError == "")
      #expect(caller.close(session) == CKR_OK)
      #expect(caller.finalize() == CKR_OK)
      let end = try caller.report()
      #expect(end.leakedAtFinalize == 0 && end.openSessions == 0 && end.pid == 0)
      #expect(end.concurrentSessionUse + end.unknownSessionHandle + end.afterFinalize + end.usedAfterFork == 0)
    }

    @Test("Two copies share neither rules nor counters")
    func copies() async throws {
      let (first, session) = try await Caller.ready(rules: ["fail C_GenerateRandom"])
      let (second, other) = try await Caller.ready()
      #expect(first.random(session).0 == CKR_DEVICE_ERROR)
      #expect(second.random(other).0 == CKR_OK)
      #expect(try second.report().injected.isEmpty)
    }

    @Test("The file may hold comments and blank lines")
    func comments() async throws {
      let caller = try await Caller(rules: ["", "  # a comment", "\tfail C_GetInfo nth=1"])
      #expect(caller.initialize() == CKR_OK)
      #expect(caller.info() == CKR_DEVICE_ERROR)
      #expect(caller.info() == CKR_OK)
    }

    @Test("A wrong line in the file fails C_Initialize, and the report names line and reason")
    func wrongFile() async throws {
      let caller = try await Caller(rules: ["fail C_Sign nth=1", "fail C_Sing"])
      #expect(caller.initialize() == CKR_ARGUMENTS_BAD)
      #expect(try caller.report().configError == "line 3: 'C_Sing' is no function")
      #expect(caller.info() == CKR_CRYPTOKI_NOT_INITIALIZED)
    }

    @Test("A module that can't be loaded fails C_Initialize", arguments: ["/nowhere/libreal.so", "libreal.so"])
    func noModule(_ path: String) async throws {
      let module = try FaultModule(real: path)
      #expect(try module.report().configError.hasPrefix("line 1: "))
      #expect(try module.report().configError.contains(path))
    }

    @Test(
      "A wrong rule or command is refused with a reason",
      arguments: [
        ("", "empty"), ("fial C_Sign", "no rule and no command"), ("fail", "needs a function"),
        ("fail nth=1", "needs a function"), ("fail C_Sing", "no function"), ("fail C_Sign,", "no function"),
        ("fail C_Sign nth=0", "no number"), ("fail C_Sign nth=x", "no number"), ("fail C_Sign nth=1 every=2", "twice"),
        ("fail C_Sign p=1.5", "from 0 to 1"), ("fail C_Sign p=", "from 0 to 1"), ("fail C_Sign p=nan", "from 0 to 1"),
        ("fail C_Sign seed=1", "goes with p"), ("fail C_Sign when=now", "before nor after"),
        ("fail C_Sign rv=NO_SUCH", "no name of an answer"), ("fail C_Sign ms=1", "takes no ms"),
        ("fail C_Sign wehn=after", "no option"), ("fail C_Sign loud", "key=value"), ("delay C_Sign", "needs ms"),
        ("hang * rv=OK", "takes no rv"), ("corrupt C_Login", "fits no function"), ("drop C_Sign when=after", "no when"),
        ("vanish", "needs ms"), ("vanish ms=5 mode=blue", "none of"), ("vanish-now blue", "none of"),
        ("vanish C_Sign ms=5", "takes no function"), ("maxsessions", "needs n"), ("maxsessions n=1 nth=1", "alone"),
        ("trace loud", "on or off"), ("clear all", "stands alone"), ("module /nowhere.so", "loaded already"),
        ("fail * match=C_None", "no function"), ("fail C_Sign match=C_Login", "fits no function"),
        ("kill C_Sign count=0", "no number"),
      ])
    func wrongCommands(_ line: String, _ reason: String) throws {
      let module = try FaultModule()
      let error = #expect(throws: FaultModuleError.self) { try module.command(line) }
      #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
      #expect(try module.report().rules == 0)
    }

    @Test("clear ends rules and keeps counters; reset does the reverse")
    func clearing() async throws {
      let (caller, session) = try await Caller.ready(rules: ["fail C_GenerateRandom", "maxsessions n=9"])
      #expect(caller.random(session).0 == CKR_DEVICE_ERROR)
      try caller.command("reset")
      #expect(try caller.report().calls == 0)
      #expect(try caller.report().rules == 2)
      #expect(caller.random(session).0 == CKR_DEVICE_ERROR)
      try caller.command("clear")
      #expect(caller.random(session).0 == CKR_OK)
      let report = try caller.report()
      #expect(report.rules == 0 && report.injected == ["fail": 1] && report.calls == 2)
    }

    @Test("The trace holds the calls in order with their answers")
    func trace() async throws {
      let (caller, session) = try await Caller.ready()
      _ = caller.info()
      #expect(caller.module.trace().isEmpty)
      try caller.command("trace on")
      try caller.command("fail C_GetInfo rv=0x80000123")
      _ = caller.info()
      _ = caller.random(session)
      _ = caller.close(session)
      _ = caller.close(session)
      try caller.command("trace off")
      _ = caller.info()
      #expect(
        caller.module.trace() == [
          .init(function: "C_GetInfo", answer: "0x80000123"), .init(function: "C_GenerateRandom", answer: "CKR_OK"),
          .init(function: "C_CloseSession", answer: "CKR_OK"),
          .init(function: "C_CloseSession", answer: "CKR_SESSION_HANDLE_INVALID"),
        ])
    }

    @Test("The trace keeps the last 4096 calls")
    func longTrace() async throws {
      let (caller, session) = try await Caller.ready()
      try caller.command("trace on")
      for _ in 0..<4096 { _ = caller.info() }
      _ = caller.state(session)
      let trace = caller.module.trace()
      #expect(trace.count == 4096)
      #expect(trace.last?.function == "C_GetSessionInfo")
      #expect(trace.dropLast().allSatisfy { $0.function == "C_GetInfo" })
    }
  }
}
