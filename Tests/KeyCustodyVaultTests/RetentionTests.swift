import KeyCustody
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

/// A clock that tells where its running time starts, as a machine's does.
private struct MachineClock: TimeSource {
  let clock: ManualClock
  let runningOrigin: String?
  func now() -> Timestamp { clock.now() }
  func running() -> Duration { clock.running() }
  func wait(until deadline: Duration) async throws(CancellationError) { try await clock.wait(until: deadline) }
}

/// Retentions are counted in time that was watched over, which no clock setting shortens (SEMANTICS V3, DESIGN 9).
struct RetentionTests {
  /// The vaults of another process over the same backends.
  private func process(_ bench: VaultBench, _ clock: ManualClock, origin: String? = nil) -> Vaults {
    Vaults(
      store: bench.records, providers: ["keys": bench.keys], domain: "vault.test", audit: bench.audit,
      environment: RuntimeEnvironment(time: MachineClock(clock: clock, runningOrigin: origin)))
  }

  private func purge(_ vaults: Vaults, _ key: KeyURI, _ bench: VaultBench) async -> KeyCustodyError? {
    await failure { try await vaults.purgeKey(key, as: bench.owner, context: bench.context) }
  }

  @Test("V3: however the clock is set, a retention takes its days of running time", arguments: [-400, -1, 1, 400])
  func settings(days: Int) async throws {
    let bench = try await VaultBench(days: 7, purgeProtection: true)
    let made = try await bench.create()
    try await bench.vaults.deleteKey(made, as: bench.owner, context: bench.context)
    for day in 0..<7 {
      bench.clock.setWallTime(bench.clock.now() + VaultBench.day * (day.isMultiple(of: 2) ? days : -days))
      #expect(await purge(bench.vaults, made, bench) == error(.denied, .purgeProtected), "day \(day)")
      bench.clock.advance(by: day == 6 ? VaultBench.day - .milliseconds(1) : VaultBench.day)
    }
    #expect(await purge(bench.vaults, made, bench) == error(.denied, .purgeProtected))
    bench.clock.advance(by: .milliseconds(1))
    bench.clock.setWallTime(Timestamp(seconds: 1000))
    #expect(await purge(bench.vaults, made, bench) == nil, "nor longer")
  }

  @Test("V3: time between two processes of one machine counts; across its restart nothing does")
  func restarts() async throws {
    let bench = try await VaultBench(days: 7, purgeProtection: true)
    let clock = ManualClock()
    let first = process(bench, clock, origin: "boot-1")
    let made = try await bench.create()
    try await first.deleteKey(made, as: bench.owner, context: bench.context)
    clock.advance(by: VaultBench.day * 3)
    let second = process(bench, clock, origin: "boot-1")
    #expect(await purge(second, made, bench) == error(.denied, .purgeProtected))
    _ = try await second.runRotations()
    // Off for a year, or so says the clock that somebody set.
    let later = ManualClock(wall: clock.now() + VaultBench.day * 365, running: .seconds(9_000_000))
    let third = process(bench, later, origin: "boot-2")
    #expect(await purge(third, made, bench) == error(.denied, .purgeProtected))
    later.advance(by: VaultBench.day * 4 - .milliseconds(1))
    #expect(await purge(third, made, bench) == error(.denied, .purgeProtected))
    later.advance(by: .milliseconds(1))
    #expect(await purge(third, made, bench) == nil, "three days before and four after")
  }

  @Test("V3: many processes that watch at once don't add up")
  func manyProcesses() async throws {
    let bench = try await VaultBench(days: 7, purgeProtection: true)
    let made = try await bench.create()
    let clocks = (0..<4).map { ManualClock(running: .seconds(1000 * ($0 + 1))) }
    let processes = clocks.enumerated().map { process(bench, $1, origin: $0 < 2 ? nil : "machine-\($0)") }
    try await processes[0].deleteKey(made, as: bench.owner, context: bench.context)
    // Four processes, each awake all the time: after six days nobody has seen seven.
    for step in 0..<(6 * 24) {
      for clock in clocks { clock.advance(by: .seconds(3600)) }
      _ = try await processes[step % 4].runRotations()
      #expect(await purge(processes[(step + 1) % 4], made, bench) == error(.denied, .purgeProtected), "hour \(step)")
    }
    for _ in 0..<(40 * 24) {
      for clock in clocks { clock.advance(by: .seconds(3600)) }
      _ = try await processes[0].runRotations()
    }
    #expect(await purge(processes[0], made, bench) == nil)
  }

  @Test("V3: the time is written once a minute at most, and a store that fails loses none of it")
  func writing() async throws {
    let bench = try await VaultBench(days: 7, purgeProtection: true)
    let made = try await bench.create()
    try await bench.vaults.deleteKey(made, as: bench.owner, context: bench.context)
    func written() async throws -> StoreRevision? { try await bench.records.read(RecordKey("observed-time"))?.revision }
    let start = try await written()
    for _ in 0..<59 {
      bench.clock.advance(by: .seconds(1))
      _ = try await bench.vaults.runRotations()
    }
    #expect(try await written() == start)
    bench.clock.advance(by: .seconds(1))
    _ = try await bench.vaults.runRotations()
    #expect(try await written() != start)
    bench.clock.advance(by: VaultBench.day)
    bench.storeFaults.failNext(.compareAndSet, with: down)
    _ = try await bench.vaults.runRotations()
    bench.clock.advance(by: VaultBench.day * 6 - .seconds(60))
    #expect(await purge(bench.vaults, made, bench) == nil)
  }

  @Test("V9: deleting one version needs the delete permission, is undone by recovering, and is protected like a key")
  func oneVersion() async throws {
    let bench = try await VaultBench(days: 7, purgeProtection: true)
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let first = try await bench.create()
    await #expect(throws: error(.invalidInput, .lastVersion)) {
      try await vaults.deleteKeyVersion(first, as: owner, context: context)
    }
    let second = try await vaults.rotateKey(first, as: owner, context: context).uri
    let wrapped = try await bench.wrap(second)
    let reader = try VaultBench.principal("contoso/reader", at: bench.clock)
    try await bench.grant(reader.id, Set(KeyPermission.allCases).subtracting([.delete]))
    await #expect(throws: error(.denied, .accessDenied)) {
      try await vaults.deleteKeyVersion(second, as: reader, context: context)
    }
    let seen = Seen<VaultChange>()
    vaults.observers.add { seen.add($0) }
    try await vaults.deleteKeyVersion(second, as: owner, context: context)
    #expect(seen.all == [.key(bench.vault, first.name)], "whoever keeps it is told")
    #expect(await failure { _ = try await bench.unwrap(wrapped) } == error(.notFound, .keyVersionUnknown))
    #expect(try await bench.wrap(bench.uri("key")).key == first, "the newest that is left takes its place")
    #expect(await failure { try await vaults.purgeKeyVersion(second, as: owner, context: context) } == protected)
    try await vaults.recoverKeyVersion(second, as: owner, context: context)
    #expect(try await bench.unwrap(wrapped))
    try await vaults.deleteKeyVersion(second, as: owner, context: context)
    bench.clock.advance(by: VaultBench.day * 7)
    bench.keyFaults.failNext(.destroy, with: down)
    #expect(await failure { try await vaults.purgeKeyVersion(second, as: owner, context: context) } == down)
    #expect(await failure { try await vaults.recoverKeyVersion(second, as: owner, context: context) } != nil)
    // A key with a version half purged can be deleted and recovered all the same.
    try await vaults.deleteKey(first, as: owner, context: context)
    try await vaults.recoverKey(first, as: owner, context: context)
    try await vaults.purgeKeyVersion(second, as: owner, context: context)
    #expect(try await bench.inventory() == Set([first.version].compactMap { $0 }))
    try await bench.checkWhole("a version purged")
  }

  private let protected = error(.denied, .purgeProtected)
}

extension RetentionTests {
  @Test("V2: what is kept long enough is purged by itself, and not before", arguments: [false, true])
  func purging(purgeProtection: Bool) async throws {
    let bench = try await VaultBench(days: 7, purgeProtection: purgeProtection)
    let (kept, made) = (try await bench.create("kept"), try await bench.create("gone"))
    try await bench.vaults.deleteKey(made, as: bench.owner, context: bench.context)
    bench.clock.advance(by: VaultBench.day * 7 - .milliseconds(1))
    #expect(try await bench.vaults.purgeExpired() == RetentionRound())
    bench.clock.advance(by: .milliseconds(1))
    let round = try await bench.vaults.purgeExpired()
    #expect(round.purged == [made.with(version: nil).description] && round.failed.isEmpty)
    let gone = await failure {
      _ = try await bench.vaults.deletedKey(made.with(version: nil), as: bench.owner, context: bench.context)
    }
    #expect(gone == error(.notFound, .keyUnknown))
    #expect(try await bench.vaults.key(kept, as: bench.owner, context: bench.context).name == kept.name)
    #expect(bench.audit.events.contains { $0.rule == "retention" && $0.outcome == .allowed && $0.principal == "vault" })
    #expect(try await bench.vaults.purgeExpired() == RetentionRound(), "once")
  }
}
