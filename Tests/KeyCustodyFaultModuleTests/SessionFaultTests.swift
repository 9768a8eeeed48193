import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyTestSupport
import Testing

extension FaultModuleTests {
  @Suite("Sessions, logins, vanished tokens")
  struct SessionFaultTests {
    @Test("drop really ends all sessions, and nobody leaked them")
    func drop() async throws {
      let (caller, session) = try await Caller.ready()
      let other = try caller.open()
      try caller.command("drop C_GenerateRandom nth=2")
      #expect(caller.random(session).0 == CKR_OK)
      #expect(caller.random(session).0 == CKR_SESSION_HANDLE_INVALID)
      #expect(caller.state(other).0 == CKR_SESSION_HANDLE_INVALID)
      #expect(try caller.report().openSessions == 0)
      // Asking a dropped session, and closing it, is how the caller finds out.
      #expect(caller.close(session) == CKR_SESSION_HANDLE_INVALID)
      #expect(try caller.report().unknownSessionHandle == 0)
      let fresh = try caller.open()
      #expect(caller.state(fresh) == (CKR_OK, CKS_RW_PUBLIC_SESSION), "the login went with the last session")
      #expect(caller.close(fresh) == CKR_OK)
      #expect(caller.finalize() == CKR_OK)
      let report = try caller.report()
      #expect(report.injected == ["drop": 1] && report.leakedAtFinalize == 0)
    }

    @Test("drop without a function counts all calls")
    func dropAll() async throws {
      let (caller, session) = try await Caller.ready()
      try caller.command("drop every=2")
      #expect(caller.info() == CKR_OK)
      #expect(caller.info() == CKR_OK)
      #expect(caller.state(session).0 == CKR_SESSION_HANDLE_INVALID)
    }

    @Test("logout really logs out: private keys are gone for a session that lives")
    func logout() async throws {
      let (caller, session) = try await Caller.ready()
      let key = caller.makeKey(session).1
      #expect(caller.objects(session) == (CKR_OK, 1))
      try caller.command("logout C_FindObjectsInit nth=1")
      #expect(caller.objects(session) == (CKR_OK, 0))
      #expect(caller.state(session) == (CKR_OK, CKS_RW_PUBLIC_SESSION))
      #expect(caller.encrypt(session, key).0 != CKR_OK)
      #expect(caller.login(session) == CKR_OK)
      #expect(caller.objects(session) == (CKR_OK, 1))
      #expect(try caller.report().injected == ["logout": 1])
    }

    @Test("maxsessions limits what is open at a time")
    func maxSessions() async throws {
      let (caller, session) = try await Caller.ready(rules: ["maxsessions n=2"])
      let slot = try caller.slot()
      let second = caller.tryOpen(slot)
      #expect(second.0 == CKR_OK)
      #expect(caller.tryOpen(slot) == (CKR_SESSION_COUNT, 0))
      #expect(caller.close(session) == CKR_OK)
      #expect(caller.tryOpen(slot).0 == CKR_OK)
      try caller.command("clear")
      #expect(caller.tryOpen(slot).0 == CKR_OK)
      let report = try caller.report()
      #expect(report.injected == ["maxsessions": 1] && report.maxOpenSessions == 3 && report.openSessions == 3)
    }

    @Test("Threads that open at once never pass maxsessions")
    func maxSessionsAtOnce() async throws {
      let (caller, _) = try await Caller.ready(rules: ["maxsessions n=3"])
      let slot = try caller.slot()
      let workers = try (0..<6).map { _ in try BlockingWorker() }
      try await withThrowingTaskGroup(of: Void.self) { group in
        for worker in workers {
          group.addTask {
            await worker.run {
              for _ in 0..<200 {
                let (code, session) = caller.tryOpen(slot)
                if code == CKR_OK { _ = caller.close(session) }
              }
            }
          }
        }
        try await group.waitForAll()
      }
      let report = try caller.report()
      #expect(report.maxOpenSessions <= 3 && report.openSessions == 1)
    }

    // MARK: vanish

    @Test("removed: no token, no sessions; after it came back, the sessions stay gone")
    func removed() async throws {
      let (caller, session) = try await Caller.ready()
      let slot = try caller.slot()
      try caller.command("vanish-now")
      #expect(try caller.report().vanished == "removed")
      #expect(caller.slots() == (CKR_OK, []))
      #expect(caller.label(slot).0 == CKR_TOKEN_NOT_PRESENT)
      #expect(caller.tryOpen(slot).0 == CKR_TOKEN_NOT_PRESENT)
      #expect(caller.random(session).0 == CKR_DEVICE_REMOVED)
      #expect(caller.close(session) == CKR_DEVICE_REMOVED)
      #expect(caller.info() == CKR_OK)
      var info = CK_SLOT_INFO()
      #expect(unsafe caller.functions.pointee.C_GetSlotInfo(slot, &info) == CKR_OK)
      #expect(info.flags & CKF_TOKEN_PRESENT == 0)
      try caller.command("return")
      #expect(try caller.slot() == slot)
      #expect(caller.random(session).0 == CKR_SESSION_HANDLE_INVALID)
      #expect(caller.tryOpen(slot).0 == CKR_OK)
      #expect(try caller.report().unknownSessionHandle == 0)
    }

    @Test("empty: searches find nothing, private handles are invalid, and then all is as before")
    func empty() async throws {
      let (caller, session) = try await Caller.ready()
      let key = caller.makeKey(session).1
      let right = caller.encrypt(session, key)
      try caller.command("vanish-now empty")
      #expect(caller.objects(session) == (CKR_OK, 0))
      #expect(caller.encrypt(session, key).0 == CKR_KEY_HANDLE_INVALID)
      #expect(caller.sign(session, key).0 == CKR_KEY_HANDLE_INVALID)
      #expect(caller.wrap(session, key, key).0 == CKR_WRAPPING_KEY_HANDLE_INVALID)
      #expect(caller.attribute(session, key, CKA_CHECK_VALUE).0 == CKR_OBJECT_HANDLE_INVALID)
      #expect(unsafe caller.functions.pointee.C_DestroyObject(session, key) == CKR_OBJECT_HANDLE_INVALID)
      #expect(caller.random(session).0 == CKR_OK)
      try caller.command("return")
      #expect(caller.objects(session) == (CKR_OK, 1))
      #expect(caller.encrypt(session, key) == right)
    }

    @Test("deaf: nothing helps but C_Finalize and C_Initialize, and not before the time is over")
    func deaf() async throws {
      let (caller, session) = try await Caller.ready()
      try caller.command("vanish-now deaf")
      #expect(caller.random(session).0 == CKR_DEVICE_ERROR)
      #expect(caller.info() == CKR_DEVICE_ERROR)
      #expect(caller.slots().0 == CKR_DEVICE_ERROR)
      #expect(caller.finalize() == CKR_OK)
      #expect(caller.initialize() == CKR_DEVICE_ERROR)
      try caller.command("return")
      #expect(caller.initialize() == CKR_OK)
      let fresh = try caller.open()
      #expect(caller.random(fresh).0 == CKR_OK)
      #expect(try caller.report().leakedAtFinalize == 0)
      try caller.command("vanish-now deaf")
      try caller.command("return")
      #expect(caller.random(fresh).0 == CKR_DEVICE_ERROR, "time alone does not heal it")
      #expect(caller.finalize() == CKR_OK)
      #expect(caller.initialize() == CKR_OK)
      #expect(caller.info() == CKR_OK)
    }

    @Test("vanish begins at its call and ends by itself after its time")
    func vanishing() async throws {
      let (caller, session) = try await Caller.ready()
      #expect(caller.makeKey(session).0 == CKR_OK)
      try caller.command("vanish ms=400 mode=empty nth=4")
      let clock = ContinuousClock()
      let time = try clock.measure {
        // A search is three calls.
        #expect(caller.objects(session) == (CKR_OK, 1))
        #expect(caller.objects(session) == (CKR_OK, 0))
        while try caller.report().vanished == "empty" { #expect(caller.info() == CKR_OK) }
      }
      #expect(time >= .milliseconds(400))
      #expect(caller.objects(session) == (CKR_OK, 1))
      #expect(try caller.report().injected == ["vanish": 1])
    }

    @Test("vanish without a trigger begins at once")
    func vanishingAtOnce() async throws {
      let (caller, session) = try await Caller.ready()
      try caller.command("vanish ms=86400000")
      #expect(caller.random(session).0 == CKR_DEVICE_REMOVED)
      #expect(try caller.report().vanished == "removed")
    }
  }
}
