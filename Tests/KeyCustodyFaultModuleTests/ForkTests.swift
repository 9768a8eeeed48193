import CKeyCustodyPKCS11
import KeyCustodyTestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension FaultModuleTests {
  /// Each in a process of its own: a forked child has all locks that other threads held, and nobody to open them.
  @Suite("Forked and killed processes")
  struct ForkTests {
    @Test("A forked child that calls on is counted, where its parent sees it, and gets nothing")
    func fork() async {
      await #expect(processExitsWith: .success) {
        let (caller, session) = try await Caller.ready()
        let status = try ForkTests.inChild {
          if caller.info() != CKR_CRYPTOKI_NOT_INITIALIZED { return 1 }
          if caller.random(session).0 != CKR_CRYPTOKI_NOT_INITIALIZED { return 2 }
          return 0
        }
        #expect(status == 0)
        #expect(try caller.report().usedAfterFork == 2)
        #expect(caller.random(session).0 == CKR_OK, "the parent goes on")
        #expect(try caller.report().usedAfterFork == 2)
      }
    }

    @Test("A forked child that initialises anew is in order")
    func forkAndInitialize() async {
      await #expect(processExitsWith: .success) {
        let (caller, session) = try await Caller.ready()
        let slot = try caller.slot()
        let before = try caller.report()
        let status = try ForkTests.inChild {
          if caller.initializeInChild() != CKR_OK { return 1 }
          let (opened, fresh) = caller.tryOpen(slot)
          if opened != CKR_OK { return 2 }
          if caller.loginInChild(fresh) != CKR_OK { return 3 }
          return caller.random(fresh).0 == CKR_OK ? 0 : 4
        }
        #expect(status == 0)
        let report = try caller.report()
        #expect(report.usedAfterFork == 0 && report.unknownSessionHandle == 0)
        #expect(report.logins == before.logins + 1)
        #expect(report.openSessions == 1 && report.pid == before.pid)
        #expect(caller.random(session).0 == CKR_OK)
      }
    }

    @Test("kill ends the process before or after the device acted", arguments: [("before", 0), ("after", 1)])
    func kill(_ when: String, _ objects: Int) async {
      await #expect(processExitsWith: .success) { [when, objects] in
        let caller = try await Caller(rules: ["trace on", "kill C_GenerateKey nth=1 when=\(when)"])
        let label = caller.token.label
        let status = try ForkTests.inChild {
          guard caller.initializeInChild() == CKR_OK else { return 1 }
          guard let slot = caller.slots().1.first(where: { caller.label($0).1 == label }) else { return 2 }
          let (opened, session) = caller.tryOpen(slot)
          guard opened == CKR_OK, caller.loginInChild(session) == CKR_OK else { return 3 }
          _ = caller.makeKey(session)
          return 4
        }
        #expect(status & 0x7f == SIGKILL, "status \(status)")
        let report = try caller.report()
        #expect(report.injected == ["kill": 1] && report.functions["C_GenerateKey"] == 1)
        // The pages outlive the child: the trace says in which call it died.
        #expect(caller.module.trace().last == .init(function: "C_GenerateKey", answer: nil))
        #expect(report.pid == 0 && report.inside == 0)
        try caller.command("clear")
        #expect(caller.initialize() == CKR_OK)
        let session = try caller.open()
        #expect(caller.login(session) == CKR_OK)
        #expect(caller.objects(session) == (CKR_OK, objects))
      }
    }

    /// Runs `body` in a copy of this process that fork makes, and answers how it ended, as waitpid tells.
    private static func inChild(_ body: () -> Int32) throws -> Int32 {
      typealias Fork = @convention(c) () -> pid_t
      // Swift hides `fork`, since a child of many threads may do little; this process has no other that works.
      let symbol = try unsafe #require(dlsym(nil, "fork"))
      let fork = unsafe unsafeBitCast(symbol, to: Fork.self)
      let child = fork()
      if child == 0 { _exit(body()) }
      try #require(child > 0)
      var status: Int32 = 0
      while unsafe waitpid(child, &status, 0) < 0 && errno == EINTR {}
      return status
    }
  }
}
