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

@Suite("A policy store on a token")
struct StoreTests {
  private static func put(
    _ store: any PolicyStore, _ key: String, _ value: [UInt8], over revision: StoreRevision? = nil
  ) async throws -> StoreRevision {
    let outcome = try await store.compareAndSet(try RecordKey(key), expecting: revision, value: value)
    guard case .stored(let revision) = outcome else { throw Refused() }
    return revision
  }
  struct Refused: Error {}

  /// Puts a data object beside those of the store.
  private static func plant(_ token: SoftHSMToken, _ label: String, _ value: [UInt8]) async throws {
    try await TokenObjects.look(at: token) { (session) throws(PKCS11Failure) in
      _ = try session.create(StoredRecord.template(StoredRecord.application, label: label, value: value))
    }
  }

  private static func count(_ token: SoftHSMToken) async throws -> Int {
    try await TokenObjects.look(at: token) { (session) throws(PKCS11Failure) in
      try session.find(StoredRecord.search(StoredRecord.application), limit: .max).count
    }
  }

  @Test("RELIABILITY 3.36: a torn newer object falls back to the intact older one and is removed")
  func torn() async throws {
    let token = try await SoftHSM.makeToken()
    let store = try await Backends.store(token)
    let revision = try await Self.put(store, "vaults/a", [1, 2, 3])
    _ = try await Self.put(store, "vaults/b", [4])
    await store.close()
    let newer = try StoredRecord.encode("vaults/a", StoreRevision(revision.number + 5), [9, 9, 9])
    for length in [0, 4, 20, newer.count - 1] { try await Self.plant(token, "vaults/a", Array(newer.prefix(length))) }
    #expect(try await Self.count(token) == 6)
    let again = try await Backends.store(token)
    let record = try await again.read(try RecordKey("vaults/a"))
    #expect(record?.value == [1, 2, 3] && record?.revision == revision)
    #expect(try await again.read(try RecordKey("vaults/b"))?.value == [4])
    await again.close()
    #expect(try await Self.count(token) == 2)
  }

  @Test("Of two intact objects the one of the higher revision counts, and the older goes")
  func twoIntact() async throws {
    let token = try await SoftHSM.makeToken()
    let store = try await Backends.store(token)
    let revision = try await Self.put(store, "a", [1])
    await store.close()
    try await Self.plant(token, "a", try StoredRecord.encode("a", StoreRevision(revision.number + 1), [2]))
    try await Self.plant(token, "a", try StoredRecord.encode("a", StoreRevision(revision.number - 1), [0]))
    let again = try await Backends.store(token)
    #expect(try await again.read(try RecordKey("a"))?.value == [2])
    await again.close()
    #expect(try await Self.count(token) == 1)
  }

  @Test("A record of which only a damaged object is left is an error that names it", arguments: [0, 1])
  func damaged(_ kind: Int) async throws {
    let token = try await SoftHSM.makeToken()
    var stored = try StoredRecord.encode(kind == 0 ? "grants/x" : "grants/other", StoreRevision(7), [1, 2, 3])
    // Altered, or whole but under another record's label.
    if kind == 0 { stored[20] ^= 1 }
    try await Self.plant(token, "grants/x", stored)
    let error = await #expect(throws: KeyCustodyError.self) { _ = try await Backends.store(token) }
    #expect(error == KeyCustodyError(.integrityFailure, .damaged, ""))
    #expect(error?.message.contains("grants/x") == true)
    #expect(try await Self.count(token) == 1)
    // Its lock and its use of the token have ended: the reason is told again, not 'busy'.
    await #expect(throws: KeyCustodyError(.integrityFailure, .damaged, "")) { _ = try await Backends.store(token) }
  }

  @Test("Revisions grow across reopening, after deletions too")
  func revisionsGrow() async throws {
    let token = try await SoftHSM.makeToken()
    var last = StoreRevision.zero
    for round in 0..<4 {
      let store = try await Backends.store(token)
      #expect(try await store.currentRevision() >= last)
      for number in 0..<3 {
        let written = try await Self.put(store, "r/\(round)-\(number)", [1])
        #expect(written > last)
        guard
          case .stored(let deleted) = try await store.delete(try RecordKey("r/\(round)-\(number)"), expecting: written)
        else { throw Refused() }
        #expect(deleted > written)
        last = deleted
      }
      await store.close()
      #expect(try await Self.count(token) == 0)
    }
  }

  @Test("Values as large as allowed come back whole; larger ones are refused")
  func largeValues() async throws {
    let token = try await SoftHSM.makeToken()
    let store = try await Backends.store(token)
    let large = try SystemRandom().bytes(PolicyStoreLimits.valueSize)
    let name = "n/" + String(repeating: "x", count: 198)
    _ = try await Self.put(store, name, large)
    _ = try await Self.put(store, "empty", [])
    await #expect(throws: KeyCustodyError(.invalidInput, .wrongSize, "")) {
      _ = try await Self.put(store, "more", large + [0])
    }
    await store.close()
    let again = try await Backends.store(token)
    #expect(try await again.read(try RecordKey(name))?.value == large)
    #expect(try await again.read(try RecordKey("empty"))?.value == [])
    await again.close()
  }

  @Test("The 1,001st record is refused, and says where there is room; changing one is not")
  func limit() async throws {
    let token = try await SoftHSM.makeToken()
    let store = try await Backends.store(token)
    var revision = StoreRevision.zero
    for number in 0..<PKCS11PolicyStore.recordLimit { revision = try await Self.put(store, "r/\(number)", [1]) }
    let error = await #expect(throws: KeyCustodyError.self) { _ = try await Self.put(store, "one-more", [1]) }
    #expect(error == KeyCustodyError(.unsupported, .init("store-full"), ""))
    let last = try RecordKey("r/\(PKCS11PolicyStore.recordLimit - 1)")
    guard case .stored(let changed) = try await store.compareAndSet(last, expecting: revision, value: [2]) else {
      throw Refused()
    }
    _ = try await store.delete(last, expecting: changed)
    _ = try await Self.put(store, "one-more", [1])
    await store.close()
  }

  @Test("One process at a time: another's lock keeps the store shut, and names the file")
  func otherProcess() async throws {
    let token = try await SoftHSM.makeToken()
    let lock = "\(token.pinFile).lock"
    let store = try await Backends.store(token, lockFile: lock)
    // Another process can't take the lock while the store is open, and can afterwards.
    #expect(try Self.tryLock(lock) == 9)
    let error = await #expect(throws: KeyCustodyError.self) { _ = try await Backends.store(token, lockFile: lock) }
    #expect(error == KeyCustodyError(.busy, .init("store-in-use"), ""))
    #expect(error?.message.contains(lock) == true)
    // Another lock file for the same token does not help within one process.
    await #expect(throws: KeyCustodyError(.busy, .init("store-in-use"), "")) {
      _ = try await Backends.store(token, lockFile: "\(lock).other")
    }
    await store.close()
    #expect(try Self.tryLock(lock) == 0)
    let again = try await Backends.store(token, lockFile: lock)
    await again.close()
  }

  /// Runs flock(1): 0 when it got the lock, 9 when it did not.
  private static func tryLock(_ path: String) throws -> Int32 {
    let arguments = ["flock", "-n", "-E", "9", path, "true"]
    var pointers = unsafe arguments.map { unsafe strdup($0) } + [nil]
    defer { unsafe pointers.forEach { unsafe free($0) } }
    var child: pid_t = 0
    guard unsafe posix_spawn(&child, "/usr/bin/flock", nil, nil, &pointers, environ) == 0 else { throw Refused() }
    var status: Int32 = 0
    while unsafe waitpid(child, &status, 0) == -1 && errno == EINTR {}
    return (status >> 8) & 0xff
  }

  @Test("A session lost under the store costs no change; after a new login the records are read again")
  func lostSession() async throws {
    let token = try await SoftHSM.makeToken()
    let store = try #require(try await Backends.store(token) as? PKCS11PolicyStore)
    let first = try await Self.put(store, "a", [1])
    try await store.writer.pool.run(deadline: nil) { (session) throws(PKCS11Failure) in session.close() }
    let second = try await Self.put(store, "a", [2], over: first)
    #expect(second > first)
    // What another user of the token changed meanwhile is seen then.
    try await Self.plant(token, "b", try StoredRecord.encode("b", StoreRevision(second.number + 1), [7]))
    store.writer.token.stand(in: store.writer.token.slot, epoch: store.writer.token.module.epoch)
    let third = try await Self.put(store, "a", [3], over: second)
    #expect(third > second)
    #expect(try await store.read(try RecordKey("a"))?.value == [3])
    #expect(try await store.read(try RecordKey("b"))?.value == [7])
    await store.close()
    let again = try await Backends.store(token)
    #expect(try await again.read(try RecordKey("a"))?.value == [3])
    await again.close()
  }

  @Test("A lock file in a folder that does not exist is an error that names the setting")
  func noFolder() async throws {
    let token = try await SoftHSM.makeToken()
    let error = await #expect(throws: KeyCustodyError.self) {
      _ = try await Backends.store(token, lockFile: "/nowhere/at/all.lock")
    }
    #expect(error == KeyCustodyError(.unavailable, .unreachable, ""))
    #expect(error?.remedy.contains("lockFile") == true)
  }

  @Test("Records are private: without the PIN nobody sees them")
  func privacy() async throws {
    let token = try await SoftHSM.makeToken()
    let store = try await Backends.store(token)
    _ = try await Self.put(store, "a", [1])
    await store.close()
    let copy = try ModuleCopy()
    let found = try await BlockingWorker().run { () throws(KeyCustodyError) in
      let module = try PKCS11ModuleHost.shared.acquire(copy.path)
      defer { module.removeUser() }
      let (slot, info) = try TokenSelector(token.uri).select(in: module)
      do throws(PKCS11Failure) {
        let token = try onHost { () throws(KeyCustodyError) in try PKCS11Token.shared(info, of: module) }
        let session = try CryptokiSession(token, PKCS11Token.Standing(epoch: module.epoch, slot: slot))
        return try session.find(StoredRecord.search(StoredRecord.application), limit: 10).count
      } catch { throw error.translated }
    }
    #expect(found == 0)
  }
}
