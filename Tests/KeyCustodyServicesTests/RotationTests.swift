import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServices

/// Going over to a newer version or another key (SEMANTICS E7).
struct RotationTests {
  private func reencrypting() throws -> Profile {
    var profile = try Profile.custom()
    profile.name = "bot"
    profile.rotation = .reencrypt
    return profile
  }

  @Test("E7: re-wrapping changes envelopes and nothing else; the old version is then needed by nothing")
  func rewrap() async throws {
    let bench = try await ServiceBench()
    let store = MemorySealedStore()
    let (notes, first) = try await bench.makeBound()
    try store.put(try await notes.seal([7], as: "value"), as: "value", of: notes.id)
    let (before, sealed) = (try await bench.record(notes), store.get("value", of: notes.id))
    let second = try await bench.rotate(first)
    try await notes.updateCustomerKey(second, converting: [store])
    let after = try await bench.record(notes)
    #expect(store.get("value", of: notes.id) == sealed, "data is not touched")
    #expect(after.mode == .customerManaged && after.customerKey == second)
    #expect(after.rootKeys.map(\.id) == before.rootKeys.map(\.id), "the same root keys")
    #expect(after.rootKeys.map(\.commitment) == before.rootKeys.map(\.commitment))
    let (old, new) = (before.rootKeys.filter(\.isCustomerManaged), after.rootKeys.filter(\.isCustomerManaged))
    #expect(new.count == 1 && new.allSatisfy { $0.kek == second && $0.isPrimary })
    #expect(old.map(\.envelope) != new.map(\.envelope))
    try await bench.update(first, isEnabled: false)
    bench.clock.advance(by: .seconds(61))
    #expect(try await notes.open(#require(sealed), as: "value") == [7])
    try await bench.update(second, isEnabled: false)
    #expect(await failure { try await notes.roundTrip() }?.reason == .keyDisabled, "the new version counts now")
  }

  @Test("E7: re-encryption gives stored data a new root key; the old version is needed until then, and no longer")
  func reencrypt() async throws {
    let bench = try await ServiceBench()
    let store = MemorySealedStore()
    let (notes, first) = try await bench.makeBound(profile: try reencrypting())
    for number in 0..<5 {
      try store.put(try await notes.seal([UInt8(number)], as: "\(number)"), as: "\(number)", of: notes.id)
    }
    let old = try #require(try await bench.record(notes).primary(.customer, .longTerm))
    let second = try await bench.rotate(first)
    let stopping = InterruptedStore(store, failing: 3)
    #expect(await failure { try await notes.updateCustomerKey(second, converting: [stopping]) } == down)
    let half = try await notes.status()
    #expect(
      half.mode == .updating && half.key == second && half.outgoingRootKeys == 1, "E16: data is under an older key")
    try await bench.update(first, isEnabled: false)
    let resumed = await failure { try await notes.resumeConversion(of: [store]) }
    #expect(resumed?.reason == .keyDisabled, "the old version must stay usable until then")
    try await bench.update(first, isEnabled: true)
    #expect(try await notes.resumeConversion(of: [store]) == 3)
    let new = try #require(try await bench.record(notes).primary(.customer, .longTerm))
    #expect(new.id != old.id && new.kek == second)
    #expect(try await notes.status().outgoingRootKeys == 0)
    try await bench.update(first, isEnabled: false)
    for number in 0..<5 {
      let sealed = try #require(store.get("\(number)", of: notes.id))
      #expect(try SealedHeader(parsing: sealed).rootKey == new.id)
      #expect(try await notes.open(sealed, as: "\(number)") == [UInt8(number)])
    }
  }

  @Test(
    "E7: another key, in another vault, takes over without interruption, and alone counts afterwards",
    arguments: [Profile.Rotation.rewrap, .reencrypt])
  func anotherVault(_ rotation: Profile.Rotation) async throws {
    let bench = try await ServiceBench()
    var profile = try Profile.custom()
    profile.rotation = rotation
    let (notes, _) = try await bench.makeBound(profile: profile)
    let store = MemorySealedStore()
    let sealed = try await notes.seal([7], as: "value")
    try store.put(sealed, as: "value", of: notes.id)
    let vault = try VaultName("contoso-second")
    try await bench.makeVault(vault)
    let key = try await bench.makeKey("other", in: vault, type: .rsa(bits: 2048))
    #expect(await failure { try await notes.updateCustomerKey(key, converting: [store]) }?.reason == .grantRequired)
    try await bench.grant(PrincipalID("contoso/notes"), in: vault)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await notes.updateCustomerKey(key, converting: [store]) }
      for _ in 0..<4 {
        group.addTask { for _ in 0..<25 { try await notes.roundTrip() } }
      }
      try await group.waitForAll()
    }
    try await bench.custody.vaults.removeRule("allow-notes", in: bench.vault)
    #expect(try await notes.open(#require(store.get("value", of: notes.id)), as: "value") == [7])
    try await bench.custody.vaults.removeRule("allow-notes", in: vault)
    #expect(await failure { try await notes.roundTrip() }?.reason == .accessDenied, "at once")
  }

  @Test("E7: a renewal that is under way while the key is re-wrapped does not bring the old key back")
  func rewrapDuringRenewal() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    try await notes.roundTrip()
    let vault = try VaultName("contoso-second")
    try await bench.makeVault(vault)
    try await bench.grant(PrincipalID("contoso/notes"), in: vault)
    let key = try await bench.makeKey("other", in: vault)
    bench.clock.advance(by: .seconds(31))
    let gate = Gate()
    bench.hooks.onUnwrap { number in if number == 1 { await gate.pass() } }
    try await notes.roundTrip()
    try await eventually("the renewal is under way") { gate.waiters == 1 }
    try await notes.updateCustomerKey(key, converting: [])
    gate.open()
    for _ in 0..<200 { await Task.yield() }
    try await notes.roundTrip()
    try await bench.custody.vaults.removeRule("allow-notes", in: vault)
    #expect(await failure { try await notes.roundTrip() }?.reason == .accessDenied, "the new key's rules count at once")
  }

  @Test("E7: an update that fails leaves the old key in force", arguments: [Profile.Rotation.rewrap, .reencrypt])
  func failedUpdate(_ rotation: Profile.Rotation) async throws {
    let bench = try await ServiceBench()
    var profile = try Profile.custom()
    profile.rotation = rotation
    let (notes, first) = try await bench.makeBound(profile: profile)
    let sealed = try await notes.seal([7], as: "value")
    let second = try await bench.rotate(first)
    let before = try await bench.record(notes).rootKeys
    bench.keyFaults.failNext(.wrap, with: down)
    #expect(await failure { try await notes.updateCustomerKey(second, converting: []) } == down)
    #expect(try await notes.status().key == first)
    #expect(try await bench.record(notes).rootKeys == before)
    #expect(try await notes.open(sealed, as: "value") == [7])
    try await bench.update(second, isEnabled: false)
    #expect(await failure { try await notes.updateCustomerKey(second, converting: []) }?.reason == .keyDisabled)
    try await bench.update(first, isEnabled: false)
    try await bench.update(second, isEnabled: true)
    let withdrawn = await failure { try await notes.updateCustomerKey(second, converting: []) }
    if rotation == .rewrap {
      #expect(withdrawn?.reason == .keyDisabled, "without the old key there is nothing to wrap")
    }
  }
}
