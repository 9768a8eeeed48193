import KeyCustody
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// Attributes of key versions (SEMANTICS V6).
struct ValidityTests {
  /// Where a moment lies, and what a version then does.
  private static let cases: [(name: String, notBefore: Int?, expires: Int?, wraps: Bool)] = [
    ("no dates", nil, nil, true), ("begins now", 0, nil, true), ("begins in a moment", 1, nil, false),
    ("ends in a moment", nil, 1, true), ("ends now", nil, 0, false), ("ended", nil, -1, false),
    ("within", -10, 10, true), ("never valid", 10, -10, false),
  ]

  @Test("V6: outside its validity a version wraps and signs nothing; it unwraps on the wire, and not for a binding")
  func dates() async throws {
    let bench = try await VaultBench()
    let signing = try await bench.create("signing", type: .ec(.p256), role: .signing)
    for item in Self.cases {
      let made = try await bench.create("key-\(item.name.replacing(" ", with: "-"))")
      let wrapped = try await bench.wrap(made)
      func moment(_ offset: Int?) -> Timestamp? { offset.map { bench.clock.now() + .milliseconds($0) } }
      for uri in [made, signing] {
        try await bench.vaults.updateKey(
          uri, notBefore: moment(item.notBefore) ?? Timestamp(seconds: 0),
          expires: moment(item.expires) ?? Timestamp(seconds: 1 << 40), as: bench.owner, context: bench.context)
      }
      let expected = item.wraps ? nil : error(.disabled, .keyOutsideValidity)
      #expect(await failure { _ = try await bench.wrap(made) } == expected, "wrap: \(item.name)")
      let digest = [UInt8](repeating: 1, count: 32)
      let signed = await failure {
        _ = try await bench.vaults.sign(
          digest, with: signing, algorithm: .es256, as: bench.owner, context: bench.context)
      }
      #expect(signed == expected, "sign: \(item.name)")
      let strict = await failure {
        let isRight = try await bench.unwrap(wrapped, validity: .strict)
        #expect(isRight)
      }
      #expect(strict == expected, "strict unwrap: \(item.name)")
      #expect(try await bench.unwrap(wrapped, validity: .wire), "unwrap on the wire: \(item.name)")
    }
  }

  @Test("V6: a validity ends by the clock, and extending it brings the version back")
  func expiry() async throws {
    let bench = try await VaultBench()
    let made = try await bench.create()
    let wrapped = try await bench.wrap(made)
    try await bench.vaults.updateKey(
      made, expires: bench.clock.now() + .seconds(60), as: bench.owner, context: bench.context)
    bench.clock.advance(by: .seconds(60) - .milliseconds(1))
    #expect(try await bench.unwrap(wrapped, validity: .strict))
    bench.clock.advance(by: .milliseconds(1))
    let refused = await failure { _ = try await bench.unwrap(wrapped, validity: .strict) }
    #expect(refused == error(.disabled, .keyOutsideValidity))
    #expect(refused?.remedy.isEmpty == false)
    try await bench.vaults.updateKey(
      made, expires: bench.clock.now() + .seconds(60), as: bench.owner, context: bench.context)
    #expect(try await bench.unwrap(wrapped, validity: .strict))
    #expect(try await bench.wrap(made).key == made)
  }

  @Test("V6: a disabled version refuses everything in both ways of judging; its neighbours don't mind")
  func disabled() async throws {
    let bench = try await VaultBench()
    let first = try await bench.create()
    let second = try await bench.vaults.rotateKey(first, as: bench.owner, context: bench.context).uri
    let (old, new) = (try await bench.wrap(first), try await bench.wrap(second))
    try await bench.vaults.updateKey(first, isEnabled: false, as: bench.owner, context: bench.context)
    for validity in [Vaults.Validity.wire, .strict] {
      let refused = await failure { _ = try await bench.unwrap(old, validity: validity) }
      #expect(refused == error(.disabled, .keyDisabled))
      #expect(try await bench.unwrap(new, validity: validity))
    }
    await #expect(throws: error(.disabled, .keyDisabled)) { _ = try await bench.wrap(first) }
    #expect(try await bench.wrap(bench.uri("key")).key == second)
    // The newest disabled: an address without a version does not slip back to an older one.
    try await bench.vaults.updateKey(first, isEnabled: true, as: bench.owner, context: bench.context)
    try await bench.vaults.updateKey(bench.uri("key"), isEnabled: false, as: bench.owner, context: bench.context)
    await #expect(throws: error(.disabled, .keyDisabled)) { _ = try await bench.wrap(bench.uri("key")) }
    #expect(try await bench.unwrap(old))
    try await bench.vaults.updateKey(second, isEnabled: true, as: bench.owner, context: bench.context)
    #expect(try await bench.unwrap(new))
  }

  @Test("V6: a change of attributes leaves the others alone and is dated")
  func attributes() async throws {
    let bench = try await VaultBench()
    let made = try await bench.create()
    let (begin, end) = (bench.clock.now(), bench.clock.now() + VaultBench.day)
    try await bench.vaults.updateKey(made, notBefore: begin, expires: end, as: bench.owner, context: bench.context)
    bench.clock.advance(by: .seconds(5))
    try await bench.vaults.updateKey(made, isEnabled: false, as: bench.owner, context: bench.context)
    let version = try #require(try await bench.vaults.key(made, as: bench.owner, context: bench.context).newest)
    #expect(!version.isEnabled && version.notBefore == begin && version.expires == end)
    #expect(version.created == begin && version.updated == bench.clock.now())
  }
}
