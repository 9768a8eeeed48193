import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyTestSupport
import Testing

@testable import KeyCustodyPKCS11

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

@Suite("Modules of the process")
struct ModuleTests {
  private static func isFinalized(_ cryptoki: Cryptoki) -> Bool {
    do throws(PKCS11Failure) { _ = try cryptoki.slotsWithToken() } catch {
      return error.code == CKR_CRYPTOKI_NOT_INITIALIZED
    }
    return false
  }

  @Test("The last user finalises the module, and it opens again afterwards")
  func finalizing() async throws {
    let token = try await SoftHSM.makeToken()
    let copy = try ModuleCopy()
    let cryptoki = try Cryptoki(path: copy.path)
    #expect(Self.isFinalized(cryptoki))
    let first = try await Backends.keys(token, changing: copy.settings(token))
    let second = try await Backends.keys(token, changing: copy.settings(token))
    let key = try await first.make(.ec(.p256), .signing)
    await first.close()
    await first.close()
    #expect(!Self.isFinalized(cryptoki))
    await second.close()
    #expect(Self.isFinalized(cryptoki))
    let again = try await Backends.keys(token, changing: copy.settings(token))
    #expect(try await again.describe(key.version, context: Backends.context) == key)
    await again.close()
    #expect(Self.isFinalized(cryptoki))
  }

  @Test("A module that somebody else initialised is used and never finalised")
  func adopting() async throws {
    let token = try await SoftHSM.makeToken()
    let copy = try ModuleCopy()
    let cryptoki = try Cryptoki(path: copy.path)
    try cryptoki.initialize()
    let provider = try await Backends.keys(token, changing: copy.settings(token))
    #expect(provider.token.module.isAdopted)
    await provider.close()
    #expect(!Self.isFinalized(cryptoki))
    try cryptoki.finalize()
  }

  @Test("Listing slots at once, where the module then adds an empty one, does not end the process")
  func listingAtOnce() async throws {
    for _ in 0..<10 {
      // Takes the empty slot, so that the next listing adds one.
      let token = try await SoftHSM.makeToken()
      let workers = try (0..<6).map { _ in try BlockingWorker() }
      try await withThrowingTaskGroup(of: Int.self) { group in
        for worker in workers {
          group.addTask {
            try await worker.run { () throws in try Cryptoki(path: token.module).slotsWithToken().count }
          }
        }
        for try await count in group { #expect(count > 0) }
      }
    }
  }

  @Test("Opening and closing at once neither fails nor finalises under a user")
  func openingAndClosingAtOnce() async throws {
    let token = try await SoftHSM.makeToken()
    let copy = try ModuleCopy()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<4 {
        group.addTask {
          for _ in 0..<4 {
            let provider = try await Backends.keys(token, sessions: 1, changing: copy.settings(token))
            try await provider.probe(nil, context: Backends.context)
            await provider.close()
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(Self.isFinalized(try Cryptoki(path: copy.path)))
  }

  @Test("A symbolic link to a module is the same module")
  func links() async throws {
    let module = try SoftHSM.shared.installedModule()
    _ = try await SoftHSM.makeToken()
    let folder = try TemporaryFolder()
    let link = folder.appending("module.so")
    try #require(unsafe symlink(module, link) == 0)
    let (first, second) = try await BlockingWorker().run { () throws(KeyCustodyError) in
      (try PKCS11ModuleHost.shared.acquire(module), try PKCS11ModuleHost.shared.acquire(link))
    }
    #expect(first === second)
    try await BlockingWorker().run {
      first.removeUser()
      second.removeUser()
    }
  }

  @Test("A missing module says how to install one")
  func missing() async throws {
    let token = try await SoftHSM.makeToken()
    let error = await #expect(throws: KeyCustodyError.self) {
      _ = try await Backends.keys(token, changing: ["module": "/nowhere/libnothing.so"])
    }
    #expect(error == KeyCustodyError(.unavailable, .unreachable, ""))
    #expect(error?.remedy.contains("apt-get install softhsm2") == true)
  }

  @Test("A file that is no PKCS#11 module is told apart from a missing one", arguments: ["text", "library"])
  func notAModule(_ kind: String) async throws {
    let token = try await SoftHSM.makeToken()
    let folder = try TemporaryFolder()
    let path = kind == "text" ? try folder.write([1, 2, 3], to: "module.so") : "/lib/x86_64-linux-gnu/libm.so.6"
    let error = await #expect(throws: KeyCustodyError.self) {
      _ = try await Backends.keys(token, changing: ["module": .string(path)])
    }
    #expect(error == KeyCustodyError(.unavailable, .unreachable, ""))
    #expect(error?.message.contains("can't be loaded") == true)
  }
}
