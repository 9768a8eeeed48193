import Foundation
import KeyCustody
import KeyCustodyPostgreSQL
import KeyCustodySubjects
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

/// A server that is away, does not answer, or refuses.
struct PostgreSQLOutageTests {
  @Test("A server that is away is unavailable at once; when it is back everything goes on, without a new opening")
  func away() async throws {
    let store = try ServerStore(PostgreSQLServer())
    let records = try await store.open()
    let revision = try await records.put("a")
    var changes = try await records.watch(since: revision).makeAsyncIterator()
    let administrator = try BlockingWorker()
    try await administrator.run { try store.server.shutDown() }
    let clock = ContinuousClock()
    let away = KeyCustodyError.of(.unavailable, .unreachable)
    var times: [Duration] = []
    for _ in 0..<50 {
      let start = clock.now
      let error = await #expect(throws: away) { try await records.read(try RecordKey("a")) }
      #expect(error?.retryAfter != nil)
      await #expect(throws: away) { try await records.put("b") }
      await #expect(throws: away) { try await records.watch(since: .zero) }
      times.append((clock.now - start) / 3)
    }
    // The middle one: a busy machine makes single calls late, a call that waits for the server makes all.
    #expect(times.sorted()[25] < .seconds(1))
    print("a server that was away was told of in \(times.sorted()[25])")
    await #expect(throws: away) { try await store.open() }
    try await administrator.run { try store.server.start() }
    let found = try await persistently { try await records.read(try RecordKey("a")) }
    #expect(found?.revision == revision)
    let next = try await persistently { try await records.put("b") }
    #expect(await changes.next() == .put(PolicyRecord(key: try RecordKey("b"), revision: next, value: [1])))
    await records.close()
  }

  @Test("Of several hosts one that is silent keeps nobody from the next, which is asked first from then on")
  func silentHost() async throws {
    let store = try ServerStore()
    let silent = try SilentListener()
    let url = "postgresql:///postgres?user=postgres&host=127.0.0.1,\(store.server.folder)&port=\(silent.port),5432"
    let records = try await store.open(["url": .string("\(url)&application_name=\(store.schema)"), "timeout": 6])
    let revision = try await persistently { try await records.put("a") }
    let tries = silent.connections()
    #expect(tries > 0)
    try store.endSessions()
    #expect(try await persistently { try await records.read(try RecordKey("a")) }?.revision == revision)
    #expect(silent.connections() == 0)
    await records.close()
    print("a silent host was tried \(tries) times before another was known")
  }

  @Test(
    "RELIABILITY 39: a server that hangs is no longer waited for than the timeout; what became of changes is known later"
  )
  func hangs() async throws {
    let store = try ServerStore(PostgreSQLServer())
    let records = try await persistently { try await store.open(["timeout": 2]) }
    let revision = try await persistently { try await records.put("a") }
    store.server.suspend(true)
    let clock = ContinuousClock()
    let (longest, delay) = try await withSchedulingDelay {
      await withTaskGroup(of: Duration.self) { group in
        for number in 0..<24 {
          group.addTask {
            let start = clock.now
            let error = await #expect(throws: KeyCustodyError.self) {
              if number % 3 == 0 {
                _ = try await records.put("hung/\(number)")
              } else {
                _ = try await records.read(try RecordKey("a"))
              }
            }
            #expect([.timeout, .unavailable, .busy].contains(error?.code))
            return clock.now - start
          }
        }
        return await group.reduce(.zero) { max($0, $1) }
      }
    }
    store.server.suspend(false)
    #expect(longest < .seconds(4) + delay * 8, "tasks were run up to \(delay) late")
    let found = try await persistently { try await records.read(try RecordKey("a")) }
    #expect(found?.revision == revision)
    _ = try await persistently { try await records.put("after") }
    await records.close()
    print("a server that hung was waited for \(longest) at most, with a timeout of 2 s")
  }

  @Test("A full queue is busy at once, and what waited is served")
  func fullQueue() async throws {
    let store = try ServerStore(PostgreSQLServer())
    let records = try await store.open(["connections": 1, "queue": 4])
    try await records.put("a")
    store.server.suspend(true)
    let key = try RecordKey("a")
    let (served, busy) = try await withThrowingTaskGroup(of: Bool.self) { group in
      for number in 0..<40 {
        group.addTask {
          do {
            if number < 20 { _ = try await records.read(key) } else { try await records.put("new/\(number)") }
            return true
          } catch let error as KeyCustodyError {
            #expect(error == .of(.busy, .init("queue-full")))
            #expect(error.retryAfter != nil && error.retryClass == .later)
            return false
          }
        }
      }
      var (served, busy) = (0, 0)
      for try await isServed in group {
        if isServed { served += 1 } else { busy += 1 }
        // All that find no room are refused while the server hangs.
        if busy == 20 { store.server.suspend(false) }
      }
      return (served, busy)
    }
    // Four reads and four changes wait at least; how many are at work already is chance.
    #expect(served >= 8 && busy >= 20)
    await records.close()
  }

  @Test("Sessions that the server ends, again and again, are noticed by nobody who reads or changes")
  func endedSessions() async throws {
    let store = try ServerStore()
    let records = try await store.open()
    var revision = try await records.put("a", [0])
    let key = try RecordKey("a")
    for number in 1...10 {
      try store.endSessions()
      #expect(try await records.read(key)?.revision == revision)
      guard case .stored(let next) = try await records.compareAndSet(key, expecting: revision, value: [UInt8(number)])
      else { throw KeyCustodyError.of(.fault, .conflict) }
      revision = next
    }
    await records.close()
  }

  @Test("A password that is refused is shown once, is in no error, and another one is tried")
  func wrongPassword() async throws {
    let store = try ServerStore(PostgreSQLServer())
    try store.ask("CREATE ROLE secured LOGIN SUPERUSER PASSWORD 'canary-right'")
    let folder = try TemporaryFolder()
    let socket = try TemporaryFolder()
    let steered = try SteeredServer(before: store.server.folder, in: socket.path)
    let file = try folder.write(Array("canary-wrong\n".utf8), to: "password")
    let more: [String: ConfigurationValue] = [
      "url": .string("postgresql://secured@/postgres?host=\(socket.path)"), "passwordFile": .string(file),
    ]
    let refused = KeyCustodyError.of(.credentialRejected, .wrongSecret)
    let error = await #expect(throws: refused) { try await store.open(more) }
    #expect(error?.debugDescription.contains("canary") == false)
    #expect(error?.retryClass == .afterOperator)
    try folder.write(Array("canary-right\n".utf8), to: "password")
    let records = try await store.open(more)
    try await records.put("a")
    try store.ask("ALTER ROLE secured PASSWORD 'canary-other'")
    try store.ask("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'secured'")
    for _ in 0..<5 {
      let error = await #expect(throws: refused) { try await records.read(try RecordKey("a")) }
      #expect(error?.debugDescription.contains("canary") == false)
    }
    let shown = steered.faults.calls()
    for _ in 0..<20 {
      await #expect(throws: refused) { try await records.read(try RecordKey("a")) }
      await #expect(throws: refused) { try await records.put("b") }
    }
    #expect(steered.faults.calls() == shown, "nothing more was said to the server")
    try folder.write(Array("canary-other\n".utf8), to: "password")
    let found = try await persistently { try await records.read(try RecordKey("a")) }
    #expect(found != nil)
    // Not let in for now, though the password is right: not for ever.
    try store.ask("ALTER ROLE secured NOLOGIN")
    try store.ask("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'secured'")
    for _ in 0..<3 {
      await #expect(throws: KeyCustodyError.of(.credentialRejected, .init("login-refused"))) {
        try await records.read(try RecordKey("a"))
      }
    }
    await records.close()
  }

  @Test("A user that may only read reads, and is told why nothing can be changed")
  func readOnly() async throws {
    let store = try ServerStore(PostgreSQLServer())
    let owner = try await store.open()
    let revision = try await owner.put("a")
    try store.ask(
      """
      CREATE ROLE visitor LOGIN; ALTER ROLE visitor SET default_transaction_read_only = on;
      GRANT USAGE ON SCHEMA $ TO visitor; GRANT ALL ON ALL TABLES IN SCHEMA $ TO visitor
      """)
    let visitor = try await store.open(["url": .string(store.server.url(user: "visitor"))])
    #expect(try await visitor.read(try RecordKey("a"))?.revision == revision)
    await #expect(throws: KeyCustodyError.of(.unavailable, .init("read-only"))) { try await visitor.put("b") }
    var changes = try await visitor.watch(since: revision).makeAsyncIterator()
    let next = try await owner.put("c")
    #expect(await changes.next() == .put(PolicyRecord(key: try RecordKey("c"), revision: next, value: [1])))
    await owner.close()
    await visitor.close()
  }

  @Test("Whoever holds the lock for long makes changes busy, not reads; nothing of theirs was done")
  func lockedByAnother() async throws {
    let store = try ServerStore()
    let records = try await persistently { try await store.open(["timeout": 2]) }
    _ = try await persistently { try await records.put("a") }
    let administrator = try BlockingWorker()
    async let held: String = administrator.run {
      // Nobody waits for the end of this: its session, and with it the lock, is ended below.
      try store.ask("BEGIN; SELECT 1 FROM $.store FOR UPDATE; SELECT pg_sleep(3600)")
    }
    // Until the lock is seen to be held.
    while try store.ask(
      "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%FROM $.store FOR UPDATE; SELECT pg_sleep%' AND state = 'active' AND pid <> pg_backend_pid()"
    ) == "0" {}
    let error = await #expect(throws: KeyCustodyError.self) { try await records.put("b") }
    #expect(error?.code == .busy || error?.code == .unavailable)
    let read = try await persistently { try await records.read(try RecordKey("a")) }
    #expect(read != nil)
    try store.ask(
      "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE '%FROM $.store FOR UPDATE; SELECT pg_sleep%' AND pid <> pg_backend_pid()"
    )
    _ = try? await held
    let made = try await persistently { try await records.read(try RecordKey("b")) }
    #expect(made == nil)
    _ = try await persistently { try await records.put("b") }
    await records.close()
  }
}

/// A port where connections are made, and nobody ever answers.
private final class SilentListener {
  private let descriptor: Int32
  let port: UInt16

  init() throws {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
    self.descriptor = descriptor
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = unsafe inet_addr("127.0.0.1")
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isListening = unsafe withUnsafeMutableBytes(of: &address) { bytes in
      guard let start = unsafe bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self) else { return false }
      return unsafe bind(descriptor, start, length) == 0 && listen(descriptor, 64) == 0
        && getsockname(descriptor, start, &length) == 0
    }
    try #require(isListening)
    port = UInt16(bigEndian: address.sin_port)
  }

  /// How many came since the last look.
  func connections() -> Int {
    var count = 0
    while true {
      let connection = accept(descriptor, nil, nil)
      guard connection >= 0 else { return count }
      close(connection)
      count += 1
    }
  }

  deinit { close(descriptor) }
}
