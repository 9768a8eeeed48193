import KeyCustody
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

/// Secrets (SEMANTICS V10).
struct SecretTests {
  private func uri(_ bench: VaultBench, _ name: String = "db") throws -> SecretURI {
    bench.vaults.secretURI(bench.vault, try SecretName(name))
  }

  @discardableResult
  private func set(
    _ bench: VaultBench, _ text: String, _ name: String = "db", _ attributes: SecretAttributes = SecretAttributes(),
    as caller: Principal? = nil
  ) async throws -> SecretBundle {
    try await bench.vaults.setSecret(
      SecretBytes(copying: [UInt8](utf8: text)), at: uri(bench, name), attributes: attributes,
      as: caller ?? bench.owner, context: bench.context)
  }

  private func read(_ bench: VaultBench, _ uri: SecretURI, as caller: Principal? = nil) async throws -> String {
    let found = try await bench.vaults.secret(uri, as: caller ?? bench.owner, context: bench.context)
    return found.value.withBytes { bytes in String(decoding: (0..<bytes.byteCount).map { bytes[$0] }, as: UTF8.self) }
  }

  @Test("V10: a secret's versions are kept, read by name or version, and stored only encrypted")
  func versions() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let first = try await set(
      bench, "correct horse", "Db-Password", SecretAttributes(contentType: "text/plain", tags: ["a": "b"]))
    let second = try await set(bench, "battery staple", "db-password")
    #expect(first.uri.name.spelling == "Db-Password" && second.uri.name.spelling == "Db-Password")
    #expect(first.attributes.contentType == "text/plain" && first.attributes.tags == ["a": "b"])
    #expect(try await read(bench, first.uri) == "correct horse")
    #expect(try await read(bench, uri(bench, "DB-PASSWORD")) == "battery staple")
    let listed = try await vaults.listVersions(of: uri(bench, "db-password"), as: owner, context: context)
    #expect(Set(listed.items.map(\.uri)) == [first.uri, second.uri] && listed.next == nil)
    #expect(try await vaults.listSecrets(in: bench.vault, as: owner, context: context).items == [second])
    #expect(try await vaults.listVersions(of: uri(bench, "x"), as: owner, context: context).items.isEmpty)
    for record in try await bench.records.list(prefix: "", after: nil, limit: 1000) {
      let text = String(decoding: record.value, as: UTF8.self)
      for value in ["correct horse", "battery staple"] {
        let forms = [value, [UInt8](utf8: value).base64URL, [UInt8](utf8: value).hexadecimal]
        #expect(!forms.contains { text.contains($0.prefix(12)) }, "\(record.key)")
      }
    }
    #expect(try await vaults.listKeys(in: bench.vault, as: owner, context: context).items.isEmpty, "no key of theirs")
    #expect(try await bench.inventory().count == 1, "one key of the vault's own")
  }

  @Test("V10: a value has 25,600 bytes at most; names, tags and content types have their limits")
  func limits() async throws {
    let bench = try await VaultBench()
    for count in [0, 1, 25_600] {
      let text = String(repeating: "x", count: count)
      try await set(bench, text)
      #expect(try await read(bench, uri(bench)) == text)
    }
    await #expect(throws: error(.invalidInput, .wrongSize)) {
      try await set(bench, String(repeating: "x", count: 25_601))
    }
    await #expect(throws: error(.invalidInput, .wrongSize)) {
      try await set(bench, "x", "db", SecretAttributes(contentType: String(repeating: "x", count: 256)))
    }
    await #expect(throws: error(.invalidInput, .badTags)) {
      try await set(bench, "x", "db", SecretAttributes(tags: ["": ""]))
    }
    #expect(throws: error(.invalidInput, .badName)) { _ = try uri(bench, "a_b") }
  }

  @Test("V10: a disabled secret is refused, an expired one is read")
  func attributes() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let made = try await set(bench, "value", "db", SecretAttributes(expires: bench.clock.now()))
    #expect(try await read(bench, made.uri) == "value")
    let changed = try await vaults.updateSecret(
      made.uri, SecretAttributes(isEnabled: false, contentType: "x"), as: owner, context: context)
    #expect(changed.attributes.expires == bench.clock.now() && changed.attributes.contentType == "x")
    #expect(await failure { _ = try await read(bench, made.uri) } == error(.disabled, .secretDisabled))
    try await vaults.updateSecret(made.uri, SecretAttributes(isEnabled: true), as: owner, context: context)
    #expect(try await read(bench, made.uri) == "value")
    let unknown = made.uri.with(version: try KeyVersionID(String(repeating: "0", count: 32)))
    #expect(await failure { _ = try await read(bench, unknown) } == error(.notFound, .secretUnknown))
    #expect(await failure { _ = try await read(bench, uri(bench, "none")) } == error(.notFound, .secretUnknown))
  }

  @Test("V2, V3: secrets are deleted, recovered, protected and purged as keys are")
  func life() async throws {
    let bench = try await VaultBench(days: 7, purgeProtection: true)
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let made = try await set(bench, "value")
    let deleted = try await vaults.deleteSecret(made.uri, as: owner, context: context)
    #expect(deleted.deletion.scheduledPurge == bench.clock.now() + VaultBench.day * 7 && deleted.secret == made)
    #expect(await failure { _ = try await read(bench, made.uri) } == error(.disabled, .secretDeleted))
    #expect(await failure { try await set(bench, "x") } == error(.invalidInput, .deletedButRecoverable))
    #expect(try await vaults.listSecrets(in: bench.vault, as: owner, context: context).items.isEmpty)
    #expect(try await vaults.listDeletedSecrets(in: bench.vault, as: owner, context: context).items == [deleted])
    #expect(try await vaults.deletedSecret(made.uri, as: owner, context: context) == deleted)
    try await vaults.recoverSecret(made.uri, as: owner, context: context)
    #expect(try await read(bench, made.uri) == "value")
    await #expect(throws: error(.notFound, .secretUnknown)) {
      _ = try await vaults.deletedSecret(made.uri, as: owner, context: context)
    }
    try await vaults.deleteSecret(made.uri, as: owner, context: context)
    bench.clock.setWallTime(bench.clock.now() + VaultBench.day * 100)
    bench.clock.advance(by: VaultBench.day * 7 - .milliseconds(1))
    let early = await failure { try await vaults.purgeSecret(made.uri, as: owner, context: context) }
    #expect(early == error(.denied, .purgeProtected))
    bench.clock.advance(by: .milliseconds(1))
    bench.storeFaults.failNext(.delete, .after, with: lost)
    #expect(await failure { try await vaults.purgeSecret(made.uri, as: owner, context: context) } == lost)
    #expect(await failure { try await vaults.recoverSecret(made.uri, as: owner, context: context) } != nil, "half gone")
    try await vaults.purgeSecret(made.uri, as: owner, context: context)
    #expect(try await bench.records.list(prefix: "vaults/kv1/secret", after: nil, limit: 10).isEmpty, "nothing is left")
    #expect(try await set(bench, "anew").uri != made.uri)
  }

  @Test("V10: a stored value altered, or put in another's place, is found on reading")
  func tampering() async throws {
    let bench = try await VaultBench()
    let (one, two) = (try await set(bench, "one", "a"), try await set(bench, "two", "b"))
    let view = RecordView<SealedValue>(bench.records)
    let (first, second) = (
      try Vaults.valuePath(one.uri, #require(one.uri.version)), try Vaults.valuePath(two.uri, #require(two.uri.version))
    )
    let (right, other) = (try #require(try await view.read(first)), try #require(try await view.read(second)))
    var altered = right
    altered.sealed = other.sealed
    var renonced = right
    renonced.nonce = other.nonce
    var rewrapped = right
    rewrapped.dataKey = other.dataKey
    for wrong in [other, altered, renonced, rewrapped] {
      try await view.update(first) { $0 = wrong }
      let found = await failure { _ = try await read(bench, one.uri) }
      #expect(found == error(.integrityFailure, .notAuthentic))
    }
    try await view.update(first) { $0 = right }
    #expect(try await read(bench, one.uri) == "one")
    _ = try await view.remove(first)
    #expect(await failure { _ = try await read(bench, one.uri) } == error(.integrityFailure, .damaged))
  }

  @Test("V10: a fault at any call leaves the secret as it was or as it is to be, and nothing without a name")
  func faults() async throws {
    var runs = 0
    for moment in [FaultPlan<FaultingPolicyStore.Operation>.Moment.before, .after] {
      for call in 1... {
        let bench = try await VaultBench()
        bench.storeFaults.reset()
        bench.storeFaults.fail(.compareAndSet, call: call, moment, with: moment == .before ? down : lost)
        _ = await failure { try await set(bench, "first") }
        guard bench.storeFaults.calls(of: .compareAndSet) >= call else { break }
        runs += 1
        try await set(bench, "second")
        #expect(try await read(bench, uri(bench)) == "second")
        #expect(try await bench.inventory().count == 1, "one key of the vault's own, whatever was cut off")
        try await bench.vaults.deleteSecret(uri(bench), as: bench.owner, context: bench.context)
        try await bench.vaults.purgeSecret(uri(bench), as: bench.owner, context: bench.context)
        #expect(try await bench.records.list(prefix: "vaults/kv1/secret", after: nil, limit: 10).isEmpty)
      }
    }
    #expect(runs >= 8)
    let bench = try await VaultBench()
    bench.keyFaults.failNext(.generate, .after, with: lost)
    #expect(await failure { try await set(bench, "x") } == lost)
    try await set(bench, "y")
    #expect(try await bench.inventory().count == 1)
  }

  @Test("V10: a backup brings a secret back with all its versions; onto a taken name it does not")
  func backups() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let first = try await set(bench, "one", "db", SecretAttributes(tags: ["a": "b"]))
    let second = try await set(bench, "two")
    let blob = try await vaults.backUpSecret(first.uri, as: owner, context: context)
    let taken = await failure { try await vaults.restoreSecret(blob, in: bench.vault, as: owner, context: context) }
    #expect(taken == error(.invalidInput, .alreadyExists))
    try await vaults.deleteSecret(first.uri, as: owner, context: context)
    let deleted = await failure { try await vaults.restoreSecret(blob, in: bench.vault, as: owner, context: context) }
    #expect(deleted == error(.invalidInput, .deletedButRecoverable))
    try await vaults.purgeSecret(first.uri, as: owner, context: context)
    let back = try await vaults.restoreSecret(blob, in: bench.vault, as: owner, context: context)
    #expect(back == second)
    #expect(try await read(bench, first.uri) == "one")
    #expect(try await read(bench, second.uri) == "two")
    var altered = blob
    altered[altered.count / 2] ^= 1
    let refused = await failure {
      try await vaults.restoreSecret(altered, in: bench.vault, as: owner, context: context)
    }
    #expect(refused == error(.invalidInput, .malformed))
  }

  @Test("V10: what a first value that was never stored left behind does not block a restoration")
  func restoredOverRemains() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let made = try await set(bench, "one")
    let blob = try await vaults.backUpSecret(made.uri, as: owner, context: context)
    func purge() async throws {
      try await vaults.deleteSecret(made.uri, as: owner, context: context)
      try await vaults.purgeSecret(made.uri, as: owner, context: context)
    }
    try await purge()
    bench.storeFaults.reset()
    // The second write stores the value.
    bench.storeFaults.fail(.compareAndSet, call: 2, .after, with: lost)
    #expect(await failure { try await set(bench, "never") } == lost)
    #expect(await failure { _ = try await read(bench, uri(bench)) } == error(.notFound, .secretUnknown))
    let back = try await vaults.restoreSecret(blob, in: bench.vault, as: owner, context: context)
    #expect(back == made)
    #expect(try await read(bench, uri(bench)) == "one")
    let listed = try await vaults.listVersions(of: uri(bench), as: owner, context: context).items
    #expect(listed == [made])
    let taken = await failure { try await vaults.restoreSecret(blob, in: bench.vault, as: owner, context: context) }
    #expect(taken == error(.invalidInput, .alreadyExists))
    try await purge()
    #expect(try await bench.records.list(prefix: "vaults/kv1/secret", after: nil, limit: 10).isEmpty)
  }

  @Test("V4: each operation on secrets needs exactly its own permission, and no key permission gives it")
  func permissions() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let caller = try VaultBench.principal("contoso/reader", at: bench.clock)
    let blob = try await set(bench, "x", "backed").uri
    let backup = try await vaults.backUpSecret(blob, as: owner, context: context)
    try await vaults.deleteSecret(blob, as: owner, context: context)
    try await vaults.purgeSecret(blob, as: owner, context: context)
    for permission in SecretPermission.allCases {
      let uri = try await set(bench, "x", "secret-\(permission.rawValue)").uri
      if permission == .recover || permission == .purge {
        try await vaults.deleteSecret(uri, as: owner, context: context)
      }
      func run() async throws {
        switch permission {
        case .get: _ = try await read(bench, uri, as: caller)
        case .list: _ = try await vaults.listSecrets(in: bench.vault, as: caller, context: context)
        case .set: try await set(bench, "y", "secret-set", as: caller)
        case .delete: try await vaults.deleteSecret(uri, as: caller, context: context)
        case .recover: try await vaults.recoverSecret(uri, as: caller, context: context)
        case .purge: try await vaults.purgeSecret(uri, as: caller, context: context)
        case .backup: _ = try await vaults.backUpSecret(uri, as: caller, context: context)
        case .restore: try await vaults.restoreSecret(backup, in: bench.vault, as: caller, context: context)
        }
      }
      try await bench.grant(
        caller.id, Set(KeyPermission.allCases), secrets: Set(SecretPermission.allCases).subtracting([permission]))
      bench.audit.removeAll()
      #expect(await failure(run) == error(.denied, .accessDenied), "\(permission)")
      #expect(bench.audit.events.map(\.action) == ["secrets/\(permission.rawValue)"])
      var restricted = caller
      restricted.restrictedTo = Set(KeyPermission.allCases)
      try await bench.grant(caller.id, [], secrets: [permission])
      await #expect(throws: error(.denied, .accessDenied), "a restricted principal gets at no secret") {
        _ = try await read(bench, uri, as: restricted)
      }
      #expect(await failure(run) == nil, "\(permission)")
    }
  }
}
