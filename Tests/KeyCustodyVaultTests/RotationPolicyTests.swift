import KeyCustody
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// Rotation policies (SEMANTICS V8).
struct RotationPolicyTests {
  private func policy(
    _ rotate: RotationPolicy.Trigger?, notify: RotationPolicy.Trigger? = nil, expiry: String? = nil
  ) throws -> RotationPolicy {
    let actions = [
      rotate.map { RotationPolicy.LifetimeAction(.rotate, $0) },
      notify.map { RotationPolicy.LifetimeAction(.notify, $0) },
    ].compactMap { $0 }
    return RotationPolicy(lifetimeActions: actions, expiryTime: try expiry.map { try CalendarPeriod($0) })
  }

  @Test("V8: a period is read as ISO 8601 writes it, and follows the calendar")
  func periods() throws {
    // 2024-01-31, 2023-01-31, 2026-03-31, 1970-01-01, and what lies so far from them.
    let cases: [(Int64, String, Int64, Int64)] = [
      (1_706_659_200, "P1M", 1_709_164_800, 1_703_980_800), (1_675_123_200, "P1M", 1_677_542_400, 1_672_444_800),
      (1_774_915_200, "P1Y6M", 1_822_262_400, 1_727_654_400), (0, "P2W", 1_209_600, -1_209_600),
      (1_706_659_261, "P90D", 1_714_435_261, 1_698_883_261), (951_782_400, "P1Y", 983_318_400, 920_160_000),
    ]
    for (start, text, after, before) in cases {
      let period = try CalendarPeriod(text)
      #expect(period.after(Timestamp(seconds: start)) == Timestamp(seconds: after), "\(text) after \(start)")
      #expect(period.before(Timestamp(seconds: start)) == Timestamp(seconds: before), "\(text) before \(start)")
      #expect(period.description == text)
    }
    #expect(try CalendarPeriod("P1D").after(Timestamp(milliseconds: .max)) == Timestamp(milliseconds: .max))
    for text in [
      "", "P", "P0D", "90D", "P-1D", "P1.5D", "p1d", "PT1H", "P1DT1H", "P1D1Y", "P1Y1Y", "P99999D", "P1", "P1D ", "P١D",
      "P40000000000000000000D", "P101Y",
    ] {
      #expect(throws: error(.invalidInput, .malformed), "\(text)") { _ = try CalendarPeriod(text) }
    }
  }

  @Test("V8: a policy that contradicts itself is refused, with a remedy; an empty one is a policy")
  func validation() async throws {
    let bench = try await VaultBench()
    let key = try await bench.create()
    func period(_ text: String) throws -> CalendarPeriod { try CalendarPeriod(text) }
    let bad = [
      try policy(.afterCreation(period("P6D"))), try policy(.beforeExpiry(period("P30D"))),
      try policy(.beforeExpiry(period("P6D")), expiry: "P90D"), try policy(nil, expiry: "P27D"),
      try policy(.afterCreation(period("P90D")), expiry: "P90D"),
      try policy(.beforeExpiry(period("P30D")), expiry: "P30D"),
      RotationPolicy(lifetimeActions: [
        .init(.rotate, .afterCreation(try period("P30D"))), .init(.rotate, .afterCreation(try period("P40D"))),
      ]),
    ]
    for policy in bad {
      let refused = await failure {
        try await bench.vaults.setRotationPolicy(policy, of: key, as: bench.owner, context: bench.context)
      }
      #expect(refused == error(.invalidInput, .badRotationPolicy) && refused?.remedy.isEmpty == false, "\(policy)")
    }
    let good = [
      RotationPolicy(), try policy(.afterCreation(period("P7D"))),
      try policy(nil, notify: .beforeExpiry(period("P30D"))),
      try policy(.beforeExpiry(period("P30D")), notify: .afterCreation(period("P1M")), expiry: "P1Y"),
    ]
    for policy in good {
      let set = try await bench.vaults.setRotationPolicy(policy, of: key, as: bench.owner, context: bench.context)
      #expect(set.lifetimeActions == policy.lifetimeActions && set.expiryTime == policy.expiryTime)
      #expect(set.created == bench.clock.now() && set.updated == bench.clock.now())
      #expect(try await bench.vaults.rotationPolicy(of: key, as: bench.owner, context: bench.context) == set)
    }
  }

  @Test("V8: unless somebody sets a policy, a notice is due 30 days before the expiry")
  func standard() async throws {
    let bench = try await VaultBench()
    let key = try await bench.create()
    let found = try await bench.vaults.rotationPolicy(of: key, as: bench.owner, context: bench.context)
    #expect(found.lifetimeActions == [.init(.notify, .beforeExpiry(try CalendarPeriod("P30D")))])
    #expect(found.expiryTime == nil && found.created == nil && found.updated == nil)
    bench.clock.advance(by: VaultBench.day * 1000)
    #expect(try await bench.vaults.runRotations().notices.isEmpty, "no expiry, no notice")
    let end = bench.clock.now() + VaultBench.day * 31
    try await bench.vaults.updateKey(key, expires: end, as: bench.owner, context: bench.context)
    #expect(try await bench.vaults.runRotations().notices.isEmpty)
    bench.clock.advance(by: VaultBench.day)
    let round = try await bench.vaults.runRotations()
    #expect(round.notices.map(\.key) == [key] && round.notices.first?.since == bench.clock.now())
    #expect(try await bench.vaults.runRotations().notices.isEmpty, "once")
    #expect(try await bench.vaults.dueRotations(bench.clock.now()).count == 1, "it goes on being due")
  }

  @Test("V8: a rotation is due to the millisecond, made once by many hosts at once, and sets the expiry")
  func rotation() async throws {
    let bench = try await VaultBench()
    let first = try await bench.create()
    let policy = try policy(.afterCreation(CalendarPeriod("P10D")), expiry: "P30D")
    try await bench.vaults.setRotationPolicy(policy, of: first, as: bench.owner, context: bench.context)
    bench.clock.advance(by: VaultBench.day * 10 - .milliseconds(1))
    #expect(try await bench.vaults.runRotations().rotated.isEmpty)
    bench.clock.advance(by: .milliseconds(1))
    let hosts = (0..<8).map { _ in bench.reopened() }
    let made = try await withThrowingTaskGroup(of: [KeyURI].self) { group in
      for host in hosts { group.addTask { try await host.runRotations().rotated } }
      return try await group.reduce(into: Set<KeyURI>()) { $0.formUnion($1) }
    }
    #expect(made.count == 1, "however many asked")
    #expect(try await bench.vaults.runRotations().rotated.isEmpty)
    let record = try await bench.vaults.key(first, as: bench.owner, context: bench.context)
    #expect(record.versions.count == 2 && record.newest?.version == made.first?.version)
    #expect(record.newest?.expires == bench.clock.now() + VaultBench.day * 30)
    let events = bench.audit.events.filter { $0.method == "rotation-policy" && $0.outcome == .allowed }
    #expect(!events.isEmpty && events.allSatisfy { $0.principal == "vault" && $0.action == "rotate" })
    try await bench.checkWhole("rotated by policy")
    // By hand the expiry is set too.
    let byHand = try await bench.vaults.rotateKey(first, as: bench.owner, context: bench.context)
    #expect(byHand.attributes.expires == bench.clock.now() + VaultBench.day * 30)
  }

  @Test("V8: a rotation by policy that fails is told, and done by the next round with the same version")
  func failing() async throws {
    let bench = try await VaultBench()
    let key = try await bench.create()
    let policy = try policy(.afterCreation(CalendarPeriod("P10D")))
    try await bench.vaults.setRotationPolicy(policy, of: key, as: bench.owner, context: bench.context)
    bench.clock.advance(by: VaultBench.day * 10)
    bench.keyFaults.failNext(.generate, .after, with: lost)
    let failed = try await bench.vaults.runRotations()
    #expect(failed.rotated.isEmpty && failed.failures.map(\.error) == [lost])
    #expect(try await bench.vaults.runRotations().rotated.count == 1)
    #expect(try await bench.inventory().count == 2, "the key made by the lost call is the one used")
    try await bench.checkWhole("a rotation repeated")
    try await bench.vaults.deleteKey(key, as: bench.owner, context: bench.context)
    bench.clock.advance(by: VaultBench.day * 50)
    #expect(try await bench.vaults.dueRotations(bench.clock.now()).isEmpty, "deleted keys rest")
  }
}
