import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServices

/// Resources and vaults that another tenant takes over.
struct MovingTests {
  @Test("I5: a resource that moves leaves its identity behind, and works again once its vault has followed it")
  func resource() async throws {
    let bench = try await ServiceBench()
    let (notes, key) = try await bench.makeBound()
    let sealed = try await notes.seal([1, 2, 3], as: "note")
    let (old, tenant) = (try PrincipalID("contoso/notes"), try TenantID("fabrikam"))
    try await notes.move(to: tenant)
    #expect(try await bench.custody.identities.lookup(old) == nil)
    #expect(try await notes.status().identity == nil)
    #expect(try await notes.status().health == .suspended(reason: "identity-off"))
    await #expect(throws: error(.denied, .identityOff)) { try await notes.open(sealed, as: "note") }
    await #expect(throws: error(.denied, .identityOff)) { try await notes.seal([4], as: "other") }

    // An identity of the old tenant's, made anew under that name, is nobody here.
    try await bench.custody.identities.create(old, kind: .user)
    try await bench.grant(old)
    await #expect(throws: error(.denied, .identityOff)) { try await notes.open(sealed, as: "note") }

    let identity = try await notes.switchIdentityOn()
    #expect(identity == (try PrincipalID("fabrikam/notes")))
    // Not even a rule lets the other tenant's in.
    try await bench.grant(identity)
    await #expect(throws: error(.denied, .accessDenied)) { try await notes.open(sealed, as: "note") }

    try await bench.custody.vaults.move(bench.vault, to: tenant)
    #expect(try await bench.custody.vaults.policy(of: bench.vault).rules.isEmpty)
    await #expect(throws: error(.denied, .accessDenied)) { try await notes.open(sealed, as: "note") }
    await #expect(throws: error(.denied, .accessDenied)) {
      try await bench.custody.vaults.key(key, as: bench.owner, context: bench.context)
    }
    try await bench.grant(identity)
    #expect(try await notes.open(sealed, as: "note") == [1, 2, 3])
    #expect(try await notes.status().health == .available)
    // To the same tenant once more is nothing.
    try await notes.move(to: tenant)
    #expect(try await notes.open(sealed, as: "note") == [1, 2, 3])
  }

  @Test("I5: a vault that moves suspends what stays behind, at once, in this process and in another")
  func vault() async throws {
    let bench = try await ServiceBench(isShared: true)
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    async let enabling: Void = notes.enableCustomerKey(key, converting: [])
    try await eventually("the conversion does not wait for leases elsewhere") { bench.waitsForLeases }
    bench.clock.advance(by: .seconds(60))
    try await enabling
    let sealed = try await notes.seal([1], as: "note")
    let other = try await bench.reopened()
    let elsewhere = try await other.resource(notes.id)
    #expect(try await elsewhere.open(sealed, as: "note") == [1])
    try await bench.custody.vaults.move(bench.vault, to: TenantID("fabrikam"))
    await #expect(throws: error(.denied, .accessDenied)) { try await notes.open(sealed, as: "note") }
    try await eventually("the other process has heard of it") {
      await failure { _ = try await elsewhere.open(sealed, as: "note") } == error(.denied, .accessDenied)
    }
    await other.close()
  }

  @Test("I5, I6: a service that is registered in the old tenant alone holds nothing in the new one")
  func registered() async throws {
    let bench = try await ServiceBench()
    let registered = try await bench.custody.register(in: TenantID("contoso"))
    try await bench.grant(registered)
    let notes = try await bench.custody.createResource(
      ResourceID("notes"), tenant: TenantID("contoso"), profile: try .named("bot"))
    let key = try await bench.makeKey()
    try await notes.enableCustomerKey(key, converting: [])
    let dataClass = try #require(try await notes.profile().dataClasses.first { $0.group == .longTerm }).name.spelling
    let sealed = try await notes.seal([1], as: "note", dataClass: dataClass)
    let tenant = try TenantID("fabrikam")
    try await notes.move(to: tenant)
    try await bench.custody.vaults.move(bench.vault, to: tenant)
    try await bench.grant(registered)
    await #expect(throws: error(.denied, .identityOff)) {
      try await notes.open(sealed, as: "note", dataClass: dataClass)
    }
    try await bench.grant(try await bench.custody.register(in: tenant))
    #expect(try await notes.open(sealed, as: "note", dataClass: dataClass) == [1])
  }

  @Test("I5: under the service's own keys a move changes nothing else; during a conversion there is none")
  func serviceManaged() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let sealed = try await notes.seal([1], as: "note")
    let tenant = try TenantID("fabrikam")
    try await notes.move(to: tenant)
    #expect(try await notes.open(sealed, as: "note") == [1])
    #expect(try await notes.switchIdentityOn() == (try PrincipalID("fabrikam/notes")))
    let (bound, _) = try await bench.makeBound("other")
    try await bound.disableCustomerKey()
    #expect(try await bound.status().mode == .disabling)
    await #expect(throws: error(.invalidInput, .wrongResourceState)) { try await bound.move(to: tenant) }
  }
}
