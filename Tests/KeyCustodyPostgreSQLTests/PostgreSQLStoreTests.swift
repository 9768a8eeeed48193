import Foundation
import KeyCustody
import KeyCustodyPostgreSQL
import KeyCustodyTestSupport
import Testing

/// What is special to records on a server; what every policy store does is in the conformance kit.
struct PostgreSQLStoreTests {
  private static let damaged = KeyCustodyError.of(.integrityFailure, .damaged)

  private static func settings(_ values: [String: ConfigurationValue]) throws -> PostgreSQLSettings {
    try PostgreSQLSettings(KeyCustodyConfiguration(values).root, RuntimeEnvironment())
  }

  @Test("A configuration needs the address, and takes neither a password in it nor a key that nothing reads")
  func configuration() async throws {
    let store = try ServerStore()
    await #expect(throws: KeyCustodyError.of(.invalidInput, .unknownConfigurationKey)) {
      try await store.open(["pasword": "x"])
    }
    #expect(throws: KeyCustodyError.of(.invalidInput, .missingConfigurationKey)) { try Self.settings([:]) }
    for url in [
      "postgresql://service:canary-4711@db.example/vault", "postgresql://db.example/vault?password=canary-4711",
      "postgresql://service:canary-4711@db.example:port:x/vault?nothing=canary-4711", "mysql://u:canary-4711@h/d", "",
    ] {
      let error = #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue)) {
        try Self.settings(["url": .string(url)])
      }
      #expect(error?.debugDescription.contains("canary") == false)
    }
    for (name, value) in [("schema", "a\"; DROP TABLE b"), ("schema", "pg_x"), ("schema", "1a"), ("sslmode", "none")] {
      #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue), "\(name) \(value)") {
        try Self.settings(["url": "postgresql:///vault", name: .string(value)])
      }
    }
    #expect(try store.ask("SELECT count(*) FROM pg_namespace WHERE nspname = '$'") == "0", "nothing was touched")
    await #expect(throws: KeyCustodyError.of(.unavailable, .unreachable)) { try await store.open(["create": false]) }
    #expect(try store.ask("SELECT count(*) FROM pg_namespace WHERE nspname = '$'") == "0")
  }

  @Test("A host that is not this machine must show its certificate, unless the configuration says otherwise")
  func transport() throws {
    for (url, mode, due) in [
      ("postgresql://db.example/vault", nil, "verify-full"),
      ("postgresql://localhost,db.example/vault", nil, "verify-full"),
      ("postgresql:///vault?hostaddr=192.0.2.1", nil, "verify-full"),
      ("postgresql://db.example/vault?sslmode=require", nil, "require"),
      ("postgresql://db.example/vault?sslmode=require", "verify-ca", "verify-ca"),
      ("postgresql://localhost/vault", nil, "prefer"), ("postgresql://127.0.0.1,[::1]/vault", nil, "prefer"),
      ("postgresql:///vault?host=/run/postgresql", nil, "prefer"), ("postgresql:///vault", nil, "prefer"),
    ] as [(String, String?, String)] {
      var values: [String: ConfigurationValue] = ["url": .string(url)]
      if let mode { values["sslmode"] = .string(mode) }
      #expect(try Self.settings(values).parameters["sslmode"] == due, "\(url)")
    }
  }

  @Test("A password that was refused is not shown again; a login that was, half as often each time")
  func refusedPassword() {
    let start = ContinuousClock.now
    let wrong = RefusedPassword([1], after: nil, isForGood: true, at: start)
    #expect(wrong.isKept(at: start + .seconds(1_000_000)))
    var refused = RefusedPassword([1], after: nil, isForGood: false, at: start)
    #expect(refused.isKept(at: start + .seconds(59)) && !refused.isKept(at: start + .seconds(60)))
    for pause in [120, 240, 480, 960, 1920, 3600, 3600] {
      refused = RefusedPassword([1], after: refused, isForGood: false, at: start)
      #expect(refused.pause == .seconds(pause))
    }
  }

  @Test("Of several hosts the primary is wanted unless the address says otherwise, and each is asked by itself")
  func hosts() throws {
    for (url, due) in [
      ("postgresql://one/vault", nil), ("postgresql://one,two/vault", "read-write"),
      ("postgresql://one,two/vault?target_session_attrs=any", "any"),
    ] as [(String, String?)] {
      #expect(try Self.settings(["url": .string(url)]).parameters["target_session_attrs"] == due)
    }
    func hosts(_ url: String) throws -> [[String?]] {
      try Self.settings(["url": .string(url)]).hosts.map { [$0["host"], $0["hostaddr"], $0["port"]] }
    }
    #expect(try hosts("postgresql://one:1,two:2/vault") == [["one", nil, "1"], ["two", nil, "2"]])
    #expect(
      try hosts("postgresql://one,two/vault?hostaddr=192.0.2.1,192.0.2.2&port=7") == [
        ["one", "192.0.2.1", "7"], ["two", "192.0.2.2", "7"],
      ])
    #expect(try hosts("postgresql:///vault?hostaddr=192.0.2.1,192.0.2.2").map { $0[1] } == ["192.0.2.1", "192.0.2.2"])
    #expect(try hosts("postgresql://one,two/vault?port=1,2,3").count == 1, "for libpq to refuse")
  }

  @Test("Of many processes that open an empty schema at once, one makes the tables, and all find the same store")
  func openedAtOnce() async throws {
    let store = try ServerStore()
    let identities = try await withThrowingTaskGroup(of: ProviderIdentity.self) { group in
      for _ in 0..<12 {
        group.addTask {
          let opened = try await store.open(["connections": 1])
          defer { Task { await opened.close() } }
          return opened.identity
        }
      }
      return try await group.reduce(into: Set()) { $0.insert($1) }
    }
    #expect(identities.count == 1)
    #expect(identities.first?.kind == "postgresql" && identities.first?.instance.count == 32)
    #expect(try store.ask("SELECT version FROM $.format") == "1")
    #expect(try store.ask("SELECT count(*) FROM $.store") == "1")
  }

  @Test("A table whose row type is there before it is, as when another process makes it, is waited for")
  func halfMade() async throws {
    let store = try ServerStore()
    try store.ask("CREATE SCHEMA $; CREATE TYPE $.format AS ENUM ('a')")
    let error = await #expect(throws: KeyCustodyError.self) { try await store.open(["connections": 1]) }
    #expect(error?.code == .unavailable && error?.retryAfter != nil, "\(error.debugDescription)")
    try store.ask("DROP TYPE $.format")
    let records = try await store.open(["connections": 1])
    try await records.put("a")
    await records.close()
  }

  @Test("Tables of a newer version, and those of another program, are refused and left as they are")
  func foreign() async throws {
    let store = try ServerStore()
    let opened = try await store.open()
    try await opened.put("a")
    try store.ask("UPDATE $.format SET version = 2")
    let newer = KeyCustodyError.of(.integrityFailure, .unknownFormat)
    let error = await #expect(throws: newer) { try await store.open() }
    #expect(error?.message.contains("format 2") == true)
    // Whoever has it open finds out at its next connection.
    try store.endSessions()
    await #expect(throws: newer) { try await persistently { try await opened.read(try RecordKey("a")) } }
    await opened.close()
    let other = try ServerStore()
    try other.ask("CREATE SCHEMA $; CREATE TABLE $.format (theirs int)")
    await #expect(throws: KeyCustodyError.of(.invalidInput, .badConfigurationValue)) { try await other.open() }
    #expect(try other.ask("SELECT count(*) FROM information_schema.tables WHERE table_schema = '$'") == "1")
  }

  @Test("A store whose place another one took is refused from then on")
  func exchanged() async throws {
    let store = try ServerStore()
    let opened = try await store.open()
    try await opened.put("a")
    try store.ask("DROP SCHEMA $ CASCADE")
    await (try await store.open()).close()
    try store.endSessions()
    let error = await #expect(throws: KeyCustodyError.self) {
      try await persistently { try await opened.read(try RecordKey("a")) }
    }
    #expect(error?.code == .integrityFailure)
    await opened.close()
  }

  @Test("RELIABILITY 30: names that quote, climb or mean something to SQL are refused, or are records like others")
  func hostileNames() async throws {
    let store = try ServerStore()
    let records = try await store.open(["queue": 4000])
    let pieces = [
      "'", "\"", "`", ";", "--", "/*", "*/", "%", "_", "\\", "\u{0}", "\n", "..", ".", "/", "~", "-", "é", "ß", "İ",
      "🔑", " ", "\u{200b}", "\u{ff0f}", "%2e%2e", "x'00'", "NULL", "DROP TABLE records", "a", "Z", "pg_catalog", "$1",
      "$$", "E'\\\\'", "::text", ":key", "@a", "$a", "[", "]", "(", ")", "=", "|", "\u{7f}",
    ]
    var random = SystemRandomNumberGenerator()
    var names: Set<String> = []
    while names.count < 2000 {
      names.insert((0..<Int.random(in: 1...5, using: &random)).map { _ in pieces.randomElement() ?? "a" }.joined())
    }
    let taken = Set(names.filter { (try? RecordKey($0)) != nil })
    try await withThrowingTaskGroup(of: Void.self) { group in
      for name in taken { group.addTask { try await records.put(name, Array(name.utf8)) } }
      try await group.waitForAll()
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for name in names.subtracting(taken) {
        group.addTask {
          // As a prefix it may be anything.
          let listed = try await records.list(prefix: name, after: nil, limit: 1000)
          #expect(listed.allSatisfy { $0.key.description.utf8.starts(with: name.utf8) })
        }
      }
      try await group.waitForAll()
    }
    let found = try await records.all()
    #expect(found.map(\.key) == found.map(\.key).sorted())
    #expect(Set(found.map(\.key.description)) == taken)
    #expect(found.allSatisfy { $0.value == Array($0.key.description.utf8) })
    await records.close()
    print("hostile names: \(names.count), \(taken.count) of them are names of records")
  }

  @Test("A damaged record is refused by name, alone and in lists; others are served, and changes go on")
  func damagedRecord() async throws {
    let store = try ServerStore()
    let records = try await store.open()
    for number in 0..<20 { try await records.put("keys/\(100 + number)") }
    try store.ask("UPDATE $.records SET value = '\\x00' WHERE key = 'keys/107'")
    let key = try RecordKey("keys/107")
    let error = await #expect(throws: Self.damaged) { try await records.read(key) }
    #expect(error?.message.contains("'keys/107'") == true)
    await #expect(throws: Self.damaged) { try await records.list(prefix: "", after: nil, limit: 1000) }
    await #expect(throws: Self.damaged) { try await records.compareAndSet(key, expecting: nil, value: []) }
    await #expect(throws: Self.damaged) { try await records.delete(key, expecting: StoreRevision(8)) }
    #expect(try await records.read(try RecordKey("keys/108")) != nil)
    #expect(try await records.list(prefix: "", after: key, limit: 1000).count == 12)
    var changes = try await records.watch(since: StoreRevision(3)).makeAsyncIterator()
    #expect(await changes.next() == .resynchronize(StoreRevision(20)), "who watches reads again, and is told")
    try await records.put("more")
    try store.ask("UPDATE $.records SET revision = 5000 WHERE key = 'keys/108'")
    await #expect(throws: Self.damaged) { try await records.read(try RecordKey("keys/108")) }
    try store.ask("UPDATE $.store SET revision = revision - 1")
    await #expect(throws: Self.damaged) { try await records.put("never") }
    await #expect(throws: Self.damaged) { try await records.currentRevision() }
    await records.close()
    await #expect(throws: Self.damaged) { try await store.open() }
  }
}
