import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTestSupport
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServices

/// Two tenants with a resource each, on one composition.
struct Scenario {
  static let classes = ["long-term", "transient", "serving-copy"]
  let deployment: Deployment
  let audit = RecordingAuditSink()
  var custody: KeyCustody
  var notes: ProtectedResource
  var other: ProtectedResource
  let store: FolderSealedStore
  let plaintext = Array("what the customer wrote".utf8)
  let identifiers = ["conversation": "6f9619ff-8b86-d011-b42d-00cf4fc964ff"]
  let context = CallContext(purpose: .administration)
  var key: KeyURI

  init(_ composition: Composition) async throws {
    deployment = try await Deployment(composition)
    custody = try await deployment.open(audit: audit)
    notes = try await custody.createResource(ResourceID("contoso-notes"), tenant: TenantID("contoso"))
    other = try await custody.createResource(ResourceID("fabrikam-notes"), tenant: TenantID("fabrikam"))
    store = try FolderSealedStore(folder: deployment.folder.appending("data"))
    for tenant in ["contoso", "fabrikam"] {
      try await custody.vaults.create(
        VaultDefinition(
          name: VaultName("\(tenant)-keys"), tenant: TenantID(tenant), region: Region("local"), keyProvider: "keys",
          softDeleteDays: 7, purgeProtection: true))
      let owner = PrincipalID(tenant: try TenantID(tenant), subject: try SubjectID("owner"))
      try await custody.identities.create(owner, kind: .user)
      try await custody.vaults.setRule(
        AccessRule(name: "owner", principal: owner, keys: Set(KeyPermission.allCases).subtracting([.unwrapKey])),
        in: VaultName("\(tenant)-keys"))
    }
    key = try custody.vaults.uri(VaultName("contoso-keys"), KeyName("notes"))
    key = try await custody.vaults.createKey(
      key, type: .rsa(bits: 2048), role: .wrapping, as: try await owner("contoso"), context: context
    ).uri
  }

  /// The owner of a tenant's vault, authenticated anew.
  func owner(_ tenant: String) async throws -> Principal {
    let id = PrincipalID(tenant: try TenantID(tenant), subject: try SubjectID("owner"))
    let token = try await custody.identities.issueToken(for: id, audience: custody.audience, lifetime: .seconds(60))
    return try await custody.identities.authenticate(.token(token), audience: custody.audience)
  }

  var vault: VaultName { get throws { try key.vault } }

  // MARK: Steps

  mutating func serviceManaged() async throws {
    for dataClass in Self.classes {
      try await store.put(
        plaintext + Array(dataClass.utf8), as: "note/\(dataClass)", in: notes, dataClass: dataClass,
        identifiers: identifiers)
    }
    let large = try deployment.folder.write([UInt8](repeating: 0x5a, count: 70_000), to: "large")
    try await store.putFile(large, as: "attachment", in: notes, identifiers: identifiers)
    try await store.put(plaintext, as: "note", in: other)
    try await everythingIsReadable("service-managed")
    let status = try await notes.status()
    #expect(status.mode == .serviceManaged && status.key == nil, "E3: a new resource is service-managed")
    #expect(status.health == .available)
    let sealed = try deployment.folder.read("data/contoso-notes/note%2flong-term.sealed")
    #expect(!contains(sealed, plaintext), "E1: nothing is stored in clear")
    #expect(try await notes.envelopes().count == 6, "E2: two layers for each group of root keys")
    let record = try await custody.resources.read(RecordKey("resources/contoso-notes"))
    let keks = Set((record?.rootKeys ?? []).map(\.kek))
    #expect(keks.count == 2, "E2: each layer has a KEK of its own")
  }

  mutating func bindingIsChecked() async throws {
    let noIdentity = await failure { try await notes.enableCustomerKey(key, converting: [store]) }
    #expect(noIdentity?.reason == .identityRequired, "E4: first the grantee")
    let foreign = try custody.vaults.uri(VaultName("fabrikam-keys"), KeyName("any"))
    try await notes.switchIdentityOn()
    let crossing = await failure { try await notes.enableCustomerKey(foreign, converting: [store]) }
    #expect(crossing?.reason == .otherTenant, "I5: the vault must be of the same tenant")
    let ungranted = await failure { try await notes.enableCustomerKey(key, converting: [store]) }
    #expect(ungranted?.reason == .grantRequired, "E4: then the grants")
    #expect(ungranted?.message.contains("unwrapKey") == true, "E4: the error names what is missing")
    try await grant()
    let unknown = try custody.vaults.uri(vault, KeyName("missing"))
    let missing = await failure { try await notes.enableCustomerKey(unknown, converting: [store]) }
    #expect(missing?.code == .notFound, "E4: then the key")
    let signing = try await custody.vaults.createKey(
      custody.vaults.uri(vault, KeyName("signing")), type: .ec(.p256), role: .signing, as: owner("contoso"),
      context: context
    ).uri
    let wrongType = await failure { try await notes.enableCustomerKey(signing, converting: [store]) }
    #expect(wrongType?.reason == .wrongKeyType, "E4: of a type that fits")
    #expect(try await notes.status().mode == .serviceManaged, "E4: a refused binding changes nothing")
  }

  mutating func enable() async throws {
    let before = try deployment.folder.read("data/contoso-notes/note%2ftransient.sealed")
    let key = key
    try await deployment.whileLeasesEnd(custody) { [notes, store] in
      try await notes.enableCustomerKey(key, converting: [store])
    }
    let status = try await notes.status()
    #expect(status.mode == .customerManaged && status.key == key && status.outgoingRootKeys == 0)
    try await everythingIsReadable("enabled")
    let record = try #require(try await custody.resources.read(RecordKey("resources/contoso-notes")))
    let customers = record.rootKeys.filter { $0.layer == .customer && $0.group == .longTerm }
    #expect(customers.count == 1 && customers[0].kek == key, "E10: no copy under another key survives")
    let others = record.rootKeys.filter { !customers.contains($0) }
    #expect(others.allSatisfy { !$0.isCustomerManaged }, "E13: only long-term data is under the customer's key")
    let after = try deployment.folder.read("data/contoso-notes/note%2ftransient.sealed")
    #expect(before == after, "E13: transient data is left alone")
  }

  mutating func swapsAndDamage() async throws {
    let sealed = try deployment.folder.read("data/contoso-notes/note%2flong-term.sealed")
    let name = "note/long-term"
    let swapped = await failure { _ = try await other.open(sealed, as: name, identifiers: identifiers) }
    #expect(swapped?.reason == .unknownRootKey, "I5: swapped between resources")
    let renamed = await failure { _ = try await notes.open(sealed, as: "note/x", identifiers: identifiers) }
    #expect(renamed?.reason == .notAuthentic, "E14: under another name")
    let changed = await failure { _ = try await notes.open(sealed, as: name, identifiers: ["conversation": "x"]) }
    #expect(changed?.reason == .notAuthentic, "E14: with a changed identifier")
    let reclassed = await failure {
      _ = try await notes.open(sealed, as: name, dataClass: "transient", identifiers: identifiers)
    }
    #expect(reclassed?.code == .integrityFailure, "E13: as another class")
    let short = await failure { _ = try await notes.open(sealed.dropLast(), as: name, identifiers: identifiers) }
    #expect(short?.code == .integrityFailure, "truncated")
    var flipped = sealed
    flipped[flipped.count / 2] ^= 1
    let bent = await failure { _ = try await notes.open(flipped, as: name, identifiers: identifiers) }
    #expect(bent?.reason == .notAuthentic, "a flipped bit")
    var record = try #require(try await custody.resources.read(RecordKey("resources/fabrikam-notes")))
    let contoso = try #require(try await custody.resources.read(RecordKey("resources/contoso-notes")))
    // Envelopes swapped between resources in the store: refused by what they are bound to.
    for index in record.rootKeys.indices { record.rootKeys[index].envelope = contoso.rootKeys[index].envelope }
    for key in record.rootKeys {
      let refused = await failure { _ = try await custody.unwrap(key, of: record.id) }
      #expect(refused?.code == .integrityFailure, "I5: an envelope of another resource")
    }
  }

  mutating func reopen() async throws {
    await custody.close()
    let closed = await failure { try await store.put(plaintext, as: "late", in: notes) }
    #expect(closed != nil, "a closed deployment seals nothing")
    custody = try await deployment.open(audit: audit)
    notes = try await custody.resource(ResourceID("contoso-notes"))
    other = try await custody.resource(ResourceID("fabrikam-notes"))
    try await everythingIsReadable("reopened")
  }

  mutating func rotate() async throws {
    let new = try await custody.vaults.rotateKey(
      custody.vaults.uri(vault, key.name), as: owner("contoso"), context: context
    ).uri
    #expect(new.version != key.version)
    #expect(try await notes.status().key == key, "E5: the bound version stays until it is updated")
    let sealed = try deployment.folder.read("data/contoso-notes/note%2flong-term.sealed")
    try await notes.updateCustomerKey(new, converting: [store])
    #expect(
      try deployment.folder.read("data/contoso-notes/note%2flong-term.sealed") == sealed,
      "E7: re-wrapping leaves the data alone")
    try await custody.vaults.updateKey(key, isEnabled: false, as: owner("contoso"), context: context)
    key = new
    try await everythingIsReadable("rotated, the old version disabled")
    let record = try #require(try await custody.resources.read(RecordKey("resources/contoso-notes")))
    #expect(!record.rootKeys.contains { $0.isCustomerManaged && $0.kek != new }, "E7: no reference to the old version")
  }

  mutating func useAnotherKey() async throws {
    let other = try VaultName("contoso-second")
    try await custody.vaults.create(
      VaultDefinition(
        name: other, tenant: TenantID("contoso"), region: Region("local"), keyProvider: "keys", softDeleteDays: 7,
        purgeProtection: true))
    let owner = try await owner("contoso")
    try await custody.vaults.setRule(
      AccessRule(name: "owner", principal: owner.id, keys: Set(KeyPermission.allCases).subtracting([.unwrapKey])),
      in: other)
    let new = try await custody.vaults.createKey(
      custody.vaults.uri(other, KeyName("notes")), type: .aes(bits: 256), role: .wrapping, as: owner, context: context
    ).uri
    let refused = await failure { try await notes.updateCustomerKey(new, converting: [store]) }
    #expect(refused?.reason == .grantRequired, "E7: another key is checked like the first")
    let before = key
    key = new
    try await grant()
    try await notes.updateCustomerKey(new, converting: [store])
    try await custody.vaults.deleteKey(before, as: owner, context: context)
    try await everythingIsReadable("E7: another key, in another vault, of another type")
    #expect(try await notes.status().key == new)
  }

  mutating func revoke(_ way: Revocation) async throws {
    let caller = try await owner("contoso")
    let expected: KeyCustodyError.Reason
    switch way {
    case .policy:
      try await custody.vaults.removeRule("notes", in: vault)
      expected = .accessDenied
    case .permission:
      try await grant([.get, .wrapKey])
      expected = .accessDenied
    case .disable:
      try await custody.vaults.updateKey(key, isEnabled: false, as: caller, context: context)
      expected = .keyDisabled
    case .delete:
      try await custody.vaults.deleteKey(key, as: caller, context: context)
      expected = .keyDeleted
    }
    try await everythingIsRefused(expected, way.rawValue)
    switch way {
    case .policy, .permission: try await grant()
    case .disable: try await custody.vaults.updateKey(key, isEnabled: true, as: caller, context: context)
    case .delete:
      let early = await failure { try await custody.vaults.purgeKey(key, as: caller, context: context) }
      #expect(early?.reason == .purgeProtected, "V3: purge is refused while purge protection holds")
      try await custody.vaults.recoverKey(key, as: caller, context: context)
    }
    try await everythingIsReadable("restored after \(way)")
  }

  mutating func switchIdentityOff() async throws {
    try await notes.switchIdentityOff()
    try await everythingIsRefused(.identityOff, "identity off")
    let identity = try await notes.switchIdentityOn()
    #expect(identity.description == "contoso/contoso-notes")
    try await everythingIsReadable("identity on again, still granted by name")
  }

  mutating func disable() async throws {
    try await deployment.whileLeasesEnd(custody) { [notes, store] in
      try await notes.disableCustomerKey(converting: [store])
    }
    let status = try await notes.status()
    #expect(status.mode == .serviceManaged && status.key == nil)
    try await custody.vaults.removeRule("notes", in: vault)
    try await custody.vaults.deleteKey(key, as: owner("contoso"), context: context)
    try await everythingIsReadable("E11: afterwards revoking the old key has no effect")
    let record = try #require(try await custody.resources.read(RecordKey("resources/contoso-notes")))
    #expect(record.rootKeys.filter(\.isCustomerManaged).isEmpty, "E11: nothing is under the customer's key")
  }

  mutating func destroyOldKey() async throws {
    deployment.clock.advance(by: .seconds(8 * 86_400))
    try await custody.vaults.purgeKey(key, as: owner("contoso"), context: context)
    let gone = await failure { _ = try await custody.vaults.key(key, as: owner("contoso"), context: context) }
    #expect(gone?.code == .notFound, "V2: gone after its retention")
    for version in [key.version].compactMap({ $0 }) {
      let absent = await failure { _ = try await custody.keyProviders["keys"]?.describe(version, context: context) }
      #expect(absent?.code == .notFound, "V2: its material too")
    }
    try await everythingIsReadable("the old key destroyed")
  }

  mutating func end() async throws {
    await custody.close()
    custody = try await deployment.open(audit: audit)
    notes = try await custody.resource(ResourceID("contoso-notes"))
    other = try await custody.resource(ResourceID("fabrikam-notes"))
    try await everythingIsReadable("at the end")
    let events = audit.events
    #expect(events.contains { $0.action == "unwrapKey" && $0.outcome == .refused }, "V11: refused attempts are logged")
    #expect(events.contains { $0.action == "unwrapKey" && $0.outcome == .allowed && $0.resource == "contoso-notes" })
    try await custody.deleteResource(notes.id)
    let deleted = await failure { _ = try await custody.resource(notes.id) }
    #expect(deleted?.reason == .resourceUnknown)
    await custody.close()
  }

  // MARK: Checks

  private func grant(_ permissions: Set<KeyPermission> = [.get, .wrapKey, .unwrapKey]) async throws {
    let identity = PrincipalID(tenant: try TenantID("contoso"), subject: try SubjectID("contoso-notes"))
    try await custody.vaults.setRule(AccessRule(name: "notes", principal: identity, keys: permissions), in: vault)
  }

  private func everythingIsReadable(_ when: Comment) async throws {
    for dataClass in Self.classes {
      #expect(try await store.get("note/\(dataClass)", in: notes) == plaintext + Array(dataClass.utf8), when)
    }
    try await store.getFile("attachment", in: notes, to: deployment.folder.appending("opened"))
    #expect(try deployment.folder.read("opened") == [UInt8](repeating: 0x5a, count: 70_000), when)
    #expect(try await store.get("note", in: other) == plaintext, when)
  }

  private func everythingIsRefused(_ reason: KeyCustodyError.Reason, _ way: String) async throws {
    let read = await failure { _ = try await store.get("note/long-term", in: notes) }
    #expect(read?.reason == reason, "E8: reading is refused at once after '\(way)'")
    #expect(read?.remedy.isEmpty == false)
    let write = await failure { _ = try await notes.seal(plaintext, as: "new") }
    #expect(write?.reason == reason, "E8: writing is refused at once after '\(way)'")
    let target = deployment.folder.appending("refused")
    let file = await failure { try await store.getFile("attachment", in: notes, to: target) }
    #expect(file?.reason == reason)
    #expect(throws: (any Error).self, "no partial plaintext") { try deployment.folder.read("refused") }
    #expect(try await notes.status().health == .suspended(reason: reason.rawValue), "E8: a state and a reason")
    #expect(try await store.get("note/transient", in: notes) == plaintext + Array("transient".utf8), "E13")
    #expect(try await store.get("note", in: other) == plaintext, "E8: the others go on")
  }

  private func failure(_ body: () async throws -> Void) async -> KeyCustodyError? {
    do { try await body() } catch { return error as? KeyCustodyError }
    return nil
  }

  private func contains(_ bytes: [UInt8], _ part: [UInt8]) -> Bool {
    bytes.indices.contains { bytes[$0...].starts(with: part) }
  }
}
