import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServices

/// Binding a customer's key (SEMANTICS E3 to E5, E10, E11).
struct BindingTests {
  private func regional(_ types: [KeyType] = []) throws -> Profile {
    var profile = try Profile.custom()
    profile.name = "regional"
    profile.keyTypes = types
    profile.requiresSameRegion = true
    return profile
  }

  @Test("E4: each check has an error of its own, and they come in their order")
  func order() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.custody.createResource(
      ResourceID("notes"), tenant: TenantID("contoso"), profile: regional([.rsa(bits: 2048)]))
    // Each vault has one fault less than the one before.
    for (name, tenant, region, purge) in [
      ("v1", "fabrikam", "south", false), ("v2", "contoso", "south", false), ("v3", "contoso", "north", false),
      ("v4", "contoso", "north", true),
    ] {
      try await bench.makeVault(VaultName(name), tenant: tenant, region: region, purgeProtection: purge)
    }
    func attempt(_ text: String) async throws -> KeyCustodyError? {
      let uri = try KeyURI(text)
      let before = try await bench.custody.policyStores["state"]?.read(RecordKey("resources/notes"))?.value
      let outcome = await failure { try await notes.enableCustomerKey(uri, converting: []) }
      #expect(outcome?.remedy.isEmpty == false, "it says what to do: \(outcome.debugDescription)")
      let after = try await bench.custody.policyStores["state"]?.read(RecordKey("resources/notes"))?.value
      #expect(before == after, "a refused binding changes nothing")
      return outcome
    }
    #expect(try await attempt("https://v1.vault.test/keys/none") == error(.invalidInput, .identityRequired))
    let identity = try await notes.switchIdentityOn()
    #expect(try await attempt("https://v0.vault.test/keys/none") == error(.notFound, .vaultUnknown))
    #expect(try await attempt("https://v1.vault.test/keys/none") == error(.denied, .otherTenant))
    #expect(try await attempt("https://v2.vault.test/keys/none") == error(.invalidInput, .otherRegion))
    #expect(try await attempt("https://v3.vault.test/keys/none") == error(.invalidInput, .purgeProtectionRequired))
    let vault = try VaultName("v4")
    for (granted, missing) in [
      ([], "get, wrapKey, unwrapKey"), ([.get, .list], "wrapKey, unwrapKey"), ([.wrapKey, .unwrapKey], "get"),
    ] as [(Set<KeyPermission>, String)] {
      try await bench.grant(identity, granted, in: vault)
      let refused = try await attempt("https://v4.vault.test/keys/none")
      #expect(refused == error(.denied, .grantRequired))
      #expect(refused?.message.hasSuffix(": \(missing).") == true, "it names what is missing")
    }
    try await bench.grant(identity, in: vault)
    #expect(try await attempt("https://v4.vault.test/keys/none") == error(.notFound, .keyUnknown))
    try await keyChecks(bench, notes, vault, attempt)
  }

  private func keyChecks(
    _ bench: ServiceBench, _ notes: ProtectedResource, _ vault: VaultName,
    _ attempt: (String) async throws -> KeyCustodyError?
  ) async throws {
    _ = try await bench.makeKey("symmetric", in: vault)
    let wrongType = try await attempt("https://v4.vault.test/keys/symmetric")
    #expect(wrongType == error(.invalidInput, .wrongKeyType))
    #expect(wrongType?.remedy.contains("rsa-2048") == true, "it names the types that fit")
    _ = try await bench.makeKey("signing", in: vault, type: .rsa(bits: 2048), role: .signing)
    #expect(try await attempt("https://v4.vault.test/keys/signing") == error(.invalidInput, .wrongKeyType))
    let good = try await bench.makeKey("good", in: vault, type: .rsa(bits: 2048))
    let unknown = "https://v4.vault.test/keys/good/\(String(repeating: "0", count: 32))"
    #expect(try await attempt(unknown) == error(.notFound, .keyVersionUnknown))
    try await bench.update(good, isEnabled: false, expires: bench.clock.now())
    #expect(try await attempt(good.description) == error(.disabled, .keyDisabled))
    try await bench.update(good, isEnabled: true)
    #expect(try await attempt(good.description) == error(.disabled, .keyOutsideValidity))
    try await bench.update(good, expires: bench.clock.now() + .seconds(3600))
    try await bench.custody.vaults.deleteKey(good, as: bench.owner, context: bench.context)
    #expect(try await attempt(good.description) == error(.disabled, .keyDeleted))
    try await bench.custody.vaults.recoverKey(good, as: bench.owner, context: bench.context)
    for operation in [FaultingKeyProvider.Operation.wrap, .unwrap] {
      bench.keyFaults.failNext(operation, with: KeyCustodyError(.unavailable, .unreachable, "Away.", remedy: "Wait."))
      #expect(try await attempt(good.description) == down, "the last check is a real \(operation.rawValue)")
    }
    try await notes.enableCustomerKey(good, converting: [])
    #expect(try await notes.status().mode == .customerManaged)
  }

  @Test("E4: an explicit denial and an identity that is switched off are found before anything is changed")
  func deniedAndOff() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let identity = try PrincipalID("contoso/notes")
    try await bench.custody.vaults.setRule(
      AccessRule(name: "deny", principal: identity, effect: .deny, keys: [.unwrapKey]), in: bench.vault)
    #expect(await failure { try await notes.enableCustomerKey(key, converting: []) }?.reason == .grantRequired)
    try await bench.custody.vaults.removeRule("deny", in: bench.vault)
    try await bench.custody.identities.setEnabled(false, identity)
    #expect(await failure { try await notes.enableCustomerKey(key, converting: []) }?.reason == .identityOff)
    #expect(try await notes.status().mode == .serviceManaged)
  }

  @Test("E4: a key of another deployment's domain is not taken for one of this")
  func otherDomain() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    _ = try await bench.makeKey()
    let foreign = try KeyURI("https://contoso-keys.elsewhere.test/keys/notes")
    #expect(await failure { try await notes.enableCustomerKey(foreign, converting: []) }?.reason == .vaultUnknown)
  }

  @Test("E5: an address without a version takes the newest and keeps it; with a version it takes that one")
  func pinned() async throws {
    let bench = try await ServiceBench()
    let first = try await bench.makeKey()
    let second = try await bench.rotate(first)
    let notes = try await bench.makeResource("notes")
    try await notes.enableCustomerKey(bench.uri("notes"), converting: [])
    #expect(try await notes.status().key == second)
    let other = try await bench.makeResource("other")
    try await other.enableCustomerKey(first, converting: [])
    #expect(try await other.status().key == first)
    let third = try await bench.rotate(first)
    bench.clock.advance(by: .seconds(61))
    try await notes.roundTrip()
    #expect(try await notes.status().key == second, "a newer version changes nothing by itself")
    try await bench.update(third, isEnabled: false)
    try await notes.roundTrip()
    try await bench.update(second, isEnabled: false)
    #expect(await failure { try await notes.roundTrip() }?.reason == .keyDisabled)
    try await other.roundTrip()
  }

  @Test("E4: the version that is bound decides the type, whatever versions its key has besides")
  func versionOfAnotherType() async throws {
    let bench = try await ServiceBench()
    let first = try await bench.makeKey()
    let signing = try await bench.custody.vaults.createKey(
      bench.uri("notes"), type: .ec(.p256), role: .signing, onExisting: .addVersion, as: bench.owner,
      context: bench.context)
    #expect(signing.uri.version != first.version)
    let notes = try await bench.makeResource("notes")
    let newest = await failure { try await notes.enableCustomerKey(try bench.uri("notes"), converting: []) }
    #expect(newest == error(.invalidInput, .wrongKeyType))
    try await notes.enableCustomerKey(first, converting: [])
    bench.clock.advance(by: .seconds(61))
    try await notes.roundTrip()
    #expect(try await notes.status().key == first)
  }

  @Test("E10: after enabling no root key that a service KEK ever wrapped protects long-term data's outer layer")
  func freshRootKeys() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    var servedByService = Set(try await bench.record(notes).rootKeys.map(\.id))
    for round in 1...3 {
      try await notes.enableCustomerKey(key, converting: [])
      let bound = try await bench.record(notes).rootKeys
      let outer = bound.filter { $0.layer == .customer && $0.group == .longTerm }
      #expect(outer.count == 1 && outer.allSatisfy { $0.isCustomerManaged && $0.kek == key }, "round \(round)")
      #expect(servedByService.isDisjoint(with: outer.map(\.id)), "round \(round): a new root key each time")
      #expect(bound.filter { !outer.contains($0) }.allSatisfy { !$0.isCustomerManaged })
      let sealed = try await notes.seal([1], as: "value")
      #expect(try SealedHeader(parsing: sealed).rootKey == outer.first?.id)
      try await notes.disableCustomerKey(converting: [])
      let back = try await bench.record(notes).rootKeys
      #expect(back.allSatisfy { !$0.isCustomerManaged && $0.id != outer.first?.id }, "E11: none is kept")
      servedByService.formUnion(back.map(\.id))
    }
    let epochs = try await bench.record(notes).rootKeys.filter { $0.layer == .customer && $0.group == .longTerm }
    #expect(epochs.map(\.epoch) == [7])
  }

  @Test("E11: after disabling the customer's key has no effect, and a key that is withdrawn can't be disabled")
  func disabling() async throws {
    let bench = try await ServiceBench()
    let store = MemorySealedStore()
    let (notes, key) = try await bench.makeBound()
    try store.put(try await notes.seal([7], as: "value"), as: "value", of: notes.id)
    try await bench.update(key, isEnabled: false)
    #expect(await failure { try await notes.disableCustomerKey(converting: [store]) }?.reason == .keyDisabled)
    #expect(try await notes.status().mode == .customerManaged, "said before anything is changed")
    try await bench.update(key, isEnabled: true)
    try await notes.disableCustomerKey(converting: [store])
    #expect(try await notes.status().key == nil)
    try await bench.custody.vaults.deleteKey(key, as: bench.owner, context: bench.context)
    try await notes.switchIdentityOff()
    bench.clock.advance(by: .seconds(120))
    #expect(try await notes.open(#require(store.get("value", of: notes.id)), as: "value") == [7])
    #expect(try await notes.status().health == .available)
  }

  @Test(
    "A change that does not fit the state is refused, with what to do",
    arguments: [EncryptionMode.serviceManaged, .enabling, .customerManaged, .updating, .disabling])
  func wrongStates(_ mode: EncryptionMode) async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    if mode != .serviceManaged { try await notes.enableCustomerKey(key, converting: []) }
    try await bench.custody.change(notes.id) { $0.mode = mode }
    let attempts: [(EncryptionMode, () async throws -> Void)] = [
      (.serviceManaged, { try await notes.enableCustomerKey(key, converting: []) }),
      (.customerManaged, { try await notes.updateCustomerKey(key, converting: []) }),
      (.customerManaged, { try await notes.disableCustomerKey(converting: []) }),
    ]
    for (needed, attempt) in attempts where needed != mode {
      let refused = await failure(attempt)
      #expect(refused == error(.invalidInput, .wrongResourceState))
      #expect(refused?.message.contains(mode.rawValue) == true && refused?.remedy.isEmpty == false)
    }
    let record = try await bench.record(notes)
    #expect(record.mode == mode)
    if mode == .serviceManaged || mode == .customerManaged {
      #expect(try await notes.resumeConversion(of: []) == 0, "nothing to convert")
      #expect(try await bench.record(notes).mode == mode)
    }
  }

  @Test("Of many who enable at once one does, and the others are told")
  func concurrentEnabling() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let store = MemorySealedStore()
    try store.put(try await notes.seal([7], as: "value"), as: "value", of: notes.id)
    let outcomes = await withTaskGroup(of: KeyCustodyError?.self) { group in
      for _ in 0..<8 {
        group.addTask { await failure { try await notes.enableCustomerKey(key, converting: [store]) } }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(outcomes.filter { $0 == nil }.count == 1)
    for outcome in outcomes.compactMap({ $0 }) {
      #expect(outcome == error(.busy, .conflict) || outcome == error(.invalidInput, .wrongResourceState))
    }
    let record = try await bench.record(notes)
    #expect(record.mode == .customerManaged && record.rootKeys.count == 6)
    #expect(try await notes.open(#require(store.get("value", of: notes.id)), as: "value") == [7])
  }
}
