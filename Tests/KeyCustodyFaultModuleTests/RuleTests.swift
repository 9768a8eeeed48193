import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyTestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension FaultModuleTests {
  @Suite("Rules")
  struct RuleTests {
    private static func isFailing(_ caller: Caller, _ session: CK_SESSION_HANDLE, _ count: Int) -> [Bool] {
      (0..<count).map { _ in caller.random(session).0 != CKR_OK }
    }

    // MARK: When

    @Test("nth fails the Nth call alone, counted from when the rule was added")
    func nth() async throws {
      let (caller, session) = try await Caller.ready()
      _ = caller.random(session)
      try caller.command("fail C_GenerateRandom nth=3")
      #expect(Self.isFailing(caller, session, 6) == [false, false, true, false, false, false])
      #expect(try caller.report().injected == ["fail": 1])
    }

    @Test("every fails each Kth call, and count ends it")
    func every() async throws {
      let (caller, session) = try await Caller.ready()
      try caller.command("fail GenerateRandom every=2 count=2")
      #expect(Self.isFailing(caller, session, 8) == [false, true, false, true, false, false, false, false])
    }

    @Test("The same seed draws the same calls, another seed others, and p is the share")
    func probability() async throws {
      let (caller, session) = try await Caller.ready()
      var runs: [[Bool]] = []
      for seed in [1, 1, 2] {
        try caller.command("clear")
        try caller.command("fail C_GenerateRandom p=0.25 seed=\(seed)")
        runs.append(Self.isFailing(caller, session, 400))
      }
      #expect(runs[0] == runs[1])
      #expect(runs[0] != runs[2])
      // 100 expected, 8.7 a standard deviation.
      for run in runs { #expect((60...140).contains(run.count { $0 })) }
    }

    @Test("* counts calls of all functions, match some")
    func matching() async throws {
      let (caller, session) = try await Caller.ready()
      try caller.command("fail * nth=2 rv=CKR_GENERAL_ERROR")
      #expect(caller.random(session).0 == CKR_OK)
      #expect(caller.info() == CKR_GENERAL_ERROR)
      try caller.command("clear")
      try caller.command("fail * match=C_GetInfo,C_GenerateRandom nth=2 rv=0x54")
      #expect(caller.random(session).0 == CKR_OK)
      #expect(caller.state(session).0 == CKR_OK)
      #expect(caller.info() == CKR_FUNCTION_NOT_SUPPORTED)
    }

    @Test("The rule that stands first decides the answer")
    func order() async throws {
      let (caller, _) = try await Caller.ready(rules: ["fail C_GetInfo rv=5", "fail * match=C_GetInfo rv=6"])
      #expect(caller.info() == CKR_GENERAL_ERROR)
      #expect(try caller.report().injected == ["fail": 1])
    }

    // MARK: fail

    @Test("before: the real module never sees the call")
    func before() async throws {
      let (caller, session) = try await Caller.ready(rules: ["fail C_GenerateKey nth=1 when=before rv=DEVICE_MEMORY"])
      let (code, key) = caller.makeKey(session)
      #expect(code == CKR_DEVICE_MEMORY && key == 0)
      #expect(caller.objects(session) == (CKR_OK, 0))
    }

    @Test("after: the key exists and the caller has no handle")
    func after() async throws {
      let (caller, session) = try await Caller.ready(rules: ["fail C_GenerateKey nth=1 when=after"])
      let (code, key) = caller.makeKey(session)
      #expect(code == CKR_DEVICE_ERROR && key == 0)
      #expect(caller.objects(session) == (CKR_OK, 1))
    }

    @Test("after: bytes and lengths of a lost answer stay as the caller left them")
    func lostBytes() async throws {
      let (caller, session) = try await Caller.ready()
      let key = caller.makeKey(session).1
      let untouched = [UInt8](repeating: 0xee, count: 64)
      try caller.command("fail C_Encrypt,C_WrapKey,C_GetAttributeValue,C_GetSessionInfo,C_GenerateRandom when=after")
      #expect(caller.encrypt(session, key) == (CKR_DEVICE_ERROR, untouched))
      #expect(caller.wrap(session, key, key) == (CKR_DEVICE_ERROR, untouched))
      #expect(caller.attribute(session, key, CKA_VALUE_LEN) == (CKR_DEVICE_ERROR, untouched))
      #expect(caller.state(session) == (CKR_DEVICE_ERROR, 99))
      #expect(caller.random(session) == (CKR_DEVICE_ERROR, [UInt8](repeating: 0, count: 16)))
      try caller.command("clear")
      // The operation ended in the real module, though nobody was told.
      #expect(caller.encrypt(session, key).0 == CKR_OK)
    }

    @Test("after C_OpenSession: the session is nobody's leak")
    func lostSession() async throws {
      let caller = try await Caller(rules: ["fail C_OpenSession nth=1 when=after"])
      #expect(caller.initialize() == CKR_OK)
      let slot = try caller.slot()
      #expect(caller.tryOpen(slot) == (CKR_DEVICE_ERROR, 0))
      #expect(caller.finalize() == CKR_OK)
      #expect(try caller.report().leakedAtFinalize == 0)
    }

    // MARK: delay, hang

    @Test("delay waits at least the time it says")
    func delay() async throws {
      let (caller, session) = try await Caller.ready(rules: ["delay C_GenerateRandom ms=60 nth=1"])
      let clock = ContinuousClock()
      let time = clock.measure { #expect(caller.random(session).0 == CKR_OK) }
      #expect(time >= .milliseconds(60))
      #expect(try caller.report().injected == ["delay": 1])
    }

    @Test(
      "What hangs or waits long ends by release, and the call is inside meanwhile",
      arguments: ["hang C_GenerateRandom nth=1", "delay C_GenerateRandom ms=3600000 when=after"])
    func hang(_ rule: String) async throws {
      let (caller, session) = try await Caller.ready(rules: [rule])
      let worker = try BlockingWorker()
      async let code = worker.run { caller.random(session).0 }
      while try caller.report().injected.isEmpty { await Task.yield() }
      #expect(try caller.report().inside == 1)
      try caller.command("clear")
      #expect(try caller.report().inside == 1)
      try caller.command("release")
      #expect(await code == CKR_OK)
      #expect(try caller.report().inside == 0)
    }

    // MARK: corrupt

    @Test("corrupt flips one bit of the output, and a seed replays it")
    func corrupt() async throws {
      let (caller, session) = try await Caller.ready()
      let key = caller.makeKey(session).1
      let outputs: [(String, () -> (CK_RV, [UInt8]))] = [
        ("C_Encrypt", { caller.encrypt(session, key) }), ("C_Sign", { caller.sign(session, key) }),
        ("C_Decrypt", { caller.decrypt(session, key, Caller.block) }),
        ("C_WrapKey", { caller.wrap(session, key, key) }),
        ("C_GetAttributeValue", { caller.attribute(session, key, CKA_CHECK_VALUE) }),
      ]
      for (function, output) in outputs {
        let (code, right) = output()
        #expect(code == CKR_OK && !right.isEmpty, "\(function)")
        var wrong: [[UInt8]] = []
        for _ in 0..<2 {
          try caller.command("corrupt \(function) nth=1 seed=5")
          wrong.append(output().1)
        }
        try caller.command("clear")
        #expect(wrong[0] == wrong[1])
        #expect(zip(right, wrong[0]).reduce(0) { $0 + ($1.0 ^ $1.1).nonzeroBitCount } == 1, "\(function)")
        #expect(output().1 == right)
      }
      #expect(try caller.report().injected == ["corrupt": 10])
    }

    @Test("corrupt counts only what puts out bytes, and leaves flags and numbers alone")
    func corruptCounts() async throws {
      let (caller, session) = try await Caller.ready()
      let key = caller.makeKey(session).1
      try caller.command("corrupt * nth=1")
      #expect(caller.attribute(session, key, CKA_PRIVATE) == (CKR_OK, [1]))
      #expect(caller.attribute(session, key, CKA_VALUE_LEN).1.first == 32)
      var length: CK_ULONG = 0
      var mechanism = unsafe CK_MECHANISM(mechanism: CKM_AES_ECB, pParameter: nil, ulParameterLen: 0)
      var block = Caller.block
      #expect(unsafe caller.functions.pointee.C_EncryptInit(session, &mechanism, key) == CKR_OK)
      #expect(unsafe caller.functions.pointee.C_Encrypt(session, &block, 16, nil, &length) == CKR_OK)
      #expect(try caller.report().injected.isEmpty)
      var output = [UInt8](repeating: 0, count: 16)
      #expect(unsafe caller.functions.pointee.C_Encrypt(session, &block, 16, &output, &length) == CKR_OK)
      #expect(try caller.report().injected == ["corrupt": 1])
      #expect(caller.encrypt(session, key).1 != output)
    }
  }
}
