import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyMemory
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServices

/// A customer's key in a key provider of their own, with no vault before it (SEMANTICS E4, E8).
struct ProviderKeySourceTests {
  private struct Bench {
    let clock = ManualClock()
    let audit = RecordingAuditSink()
    let custody: KeyCustody
    let provider: any KeyProvider
    let notes: ProtectedResource
    let context = CallContext(purpose: .administration)

    init(profile: Profile? = nil, place: [String: ConfigurationValue] = [:]) async throws {
      custody = try await open(
        ["contoso-hsm": .section(["keyProvider": "hsm", "tenant": "contoso"].merging(place) { $1 })], clock, audit)
      provider = try #require(custody.keyProviders["hsm"])
      notes = try await custody.createResource(ResourceID("notes"), tenant: TenantID("contoso"), profile: profile)
      try await notes.switchIdentityOn()
    }

    func makeKey(_ type: KeyType = .aes(bits: 256), _ role: KeyRole = .wrapping) async throws -> KeyURI {
      let request = GenerateKeyRequest(version: try KeyVersionID(random: SystemRandom()), type: type, role: role)
      let key = try await provider.generate(request, context: context)
      return try KeyURI("https://contoso-hsm.key-provider/keys/key/\(key.version)")
    }

    func refusal(_ key: KeyURI, of resource: ProtectedResource? = nil) async -> KeyCustodyError? {
      let refused = await failure { try await (resource ?? notes).enableCustomerKey(key, converting: []) }
      #expect(refused == nil || refused?.remedy.isEmpty == false, "it says what to do: \(refused.debugDescription)")
      return refused
    }
  }

  private static func open(
    _ places: [String: ConfigurationValue], _ clock: ManualClock = ManualClock(),
    _ audit: RecordingAuditSink = RecordingAuditSink()
  ) async throws -> KeyCustody {
    let configuration = KeyCustodyConfiguration([
      "keyProviders": ["own": ["plugin": "memory"], "hsm": ["plugin": "memory", "name": "hsm"]],
      "policyStores": ["state": ["plugin": "memory"]],
      "customerKeys": .section(places),
      "service": ["keyProvider": "own", "policyStore": "state", "region": "north"],
      "vaults": ["domain": "vault.test"],
    ])
    return try await KeyCustody.open(
      configuration, plugins: [MemoryPlugin().plugin], audit: audit,
      environment: RuntimeEnvironment(time: clock))
  }

  @Test("E1, E7, E8, E11: a provider's key is bound, exchanged for another, taken away, and left again")
  func life() async throws {
    let bench = try await Bench()
    let (first, second) = (try await bench.makeKey(), try await bench.makeKey(.rsa(bits: 2048)))
    try await bench.notes.enableCustomerKey(first, converting: [])
    #expect(try await bench.notes.status().key == first)
    try await bench.notes.roundTrip()
    try await bench.notes.updateCustomerKey(second, converting: [])
    #expect(try await bench.notes.status().key == second)
    let kept = try await bench.notes.seal(Array("kept".utf8), as: "kept")
    let version = try #require(first.version)
    try await bench.provider.destroy(version, context: bench.context)
    bench.clock.advance(by: .seconds(61))
    #expect(try await bench.notes.open(kept, as: "kept") == Array("kept".utf8), "the old key is needed by nothing")
    let third = try await bench.makeKey()
    try await bench.notes.updateCustomerKey(third, converting: [])
    _ = try await bench.notes.open(kept, as: "kept")
    try await bench.provider.destroy(try #require(third.version), context: bench.context)
    _ = try await bench.notes.open(kept, as: "kept")
    bench.clock.advance(by: .seconds(61))
    let cut = await failure { _ = try await bench.notes.open(kept, as: "kept") }
    #expect(cut == error(.notFound, .keyVersionUnknown), "with the lease its last use is over")
    #expect(cut?.message.contains("suspended") == true)
    #expect(try await bench.notes.status().health == .suspended(reason: "key-version-unknown"))
    await bench.custody.close()
  }

  @Test("E4, I5: what can be checked is: the tenant, the region, the permission model, the key")
  func checks() async throws {
    let bench = try await Bench()
    let key = try await bench.makeKey()
    let foreign = try await bench.custody.createResource(ResourceID("other"), tenant: TenantID("fabrikam"))
    try await foreign.switchIdentityOn()
    #expect(await bench.refusal(key, of: foreign) == error(.denied, .otherTenant))
    let signing = try await bench.makeKey(.ec(.p256), .signing)
    #expect(await bench.refusal(signing) == error(.invalidInput, .wrongKeyType))
    let none = key.with(version: try KeyVersionID(String(repeating: "0", count: 32)))
    #expect(await bench.refusal(none) == error(.notFound, .keyVersionUnknown))
    #expect(await bench.refusal(key.with(version: nil)) == error(.invalidInput, .malformed))
    let nowhere = try KeyURI("https://fabrikam-hsm.key-provider/keys/key/\(try #require(key.version))")
    #expect(await bench.refusal(nowhere) == error(.notFound, .vaultUnknown))
    #expect(try await bench.notes.status().mode == .serviceManaged)
    try await bench.notes.switchIdentityOff()
    #expect(await bench.refusal(key) == error(.invalidInput, .identityRequired))
    await bench.custody.close()

    let openAI = try Profile.openAI()
    for (place, reason) in [
      ([:], .otherRegion), (["region": "south"], .otherRegion), (["region": "north"], .otherPermissionModel),
      (["region": "north", "permissionModel": "roles"], .otherPermissionModel),
      (["region": "north", "permissionModel": "access-policies"], nil),
    ] as [([String: ConfigurationValue], KeyCustodyError.Reason?)] {
      let bench = try await Bench(profile: openAI, place: place)
      #expect(await bench.refusal(try await bench.makeKey(.rsa(bits: 2048)))?.reason == reason)
      await bench.custody.close()
    }
  }

  @Test("V11: each use of a key elsewhere stands in the audit log before it is answered, and where it was decided")
  func audited() async throws {
    let bench = try await Bench()
    let key = try await bench.makeKey()
    try await bench.notes.enableCustomerKey(key, converting: [])
    bench.clock.advance(by: .seconds(61))
    try await bench.notes.roundTrip()
    let uses = bench.audit.events.filter { $0.target == key.description }
    #expect(Set(uses.map(\.action)) == ["get", "wrapKey", "unwrapKey"])
    let place = bench.provider.identity.description
    #expect(uses.allSatisfy { $0.outcome == .allowed && $0.rule == place && $0.principal == "contoso/notes" })
    #expect(uses.filter { $0.action == "unwrapKey" }.allSatisfy { $0.resource == "notes" })
    bench.audit.fail(with: KeyCustodyError(.unavailable, .unreachable, "The log is away."))
    bench.clock.advance(by: .seconds(61))
    #expect(
      await failure { try await bench.notes.roundTrip() }?.code == .unavailable,
      "what can't be recorded is not answered")
    await bench.custody.close()
  }

  @Test("E8: no vault can be on a provider whose keys are used directly: its rules would not count")
  func noVault() async throws {
    let bench = try await Bench()
    let refused = await failure {
      try await bench.custody.vaults.create(
        VaultDefinition(
          name: VaultName("theirs"), tenant: TenantID("contoso"), region: Region("north"), keyProvider: "hsm"))
    }
    #expect(refused?.code == .invalidInput || refused?.code == .notFound, "\(refused.debugDescription)")
    await bench.custody.close()
  }

  @Test("I3: an identity that is switched off ends the use of a key elsewhere too")
  func identityOff() async throws {
    let bench = try await Bench()
    try await bench.notes.enableCustomerKey(try await bench.makeKey(), converting: [])
    try await bench.notes.roundTrip()
    try await bench.notes.switchIdentityOff()
    #expect(await failure { try await bench.notes.roundTrip() }?.reason == .identityOff, "at once")
    await bench.custody.close()
  }

  @Test("A section of customers' keys that is wrong is refused at opening, and says what to change")
  func configuration() async throws {
    for (places, part) in [
      (["hsm": ["keyProvider": "hsm"]], "'tenant'"),
      (["hsm": ["keyProvider": "none", "tenant": "contoso"]], "hsm, own"),
      (["hsm": ["keyProvider": "hsm", "tenant": "contoso", "permissionModel": "rules"]], "access-policies, roles"),
      (["hsm": ["keyProvider": "hsm", "tenant": "contoso", "regoin": "north"]], "region"),
      (["hsm": ["plugin": "memory", "tenant": "contoso"]], "customerKeys.hsm.plugin"),
      (["an_hsm": ["keyProvider": "hsm", "tenant": "contoso"]], "not a name"),
      (["mine": ["keyProvider": "own", "tenant": "contoso"]], "'service.keyProvider'"),
    ] as [([String: ConfigurationValue], String)] {
      let refused = await failure { await (try Self.open(places)).close() }
      #expect(refused?.code == .invalidInput)
      #expect(refused?.description.contains(part) == true, "\(refused.debugDescription)")
    }
  }
}
