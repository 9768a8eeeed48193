import KeyCustody
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// Allowed operations, tags and what else a version carries (SEMANTICS V6).
struct KeyAttributeTests {
  @Test("V6: a version may do all that its type and role can, unless told otherwise; nothing is exportable")
  func defaults() async throws {
    let bench = try await VaultBench(days: 30)
    let (owner, context) = (bench.owner, bench.context)
    let wrapping = try await bench.vaults.createKey(
      bench.uri("Wrap-Key"), type: .aes(bits: 256), role: .wrapping, as: owner, context: context)
    #expect(wrapping.operations == [.wrapKey, .unwrapKey] && wrapping.attributes.isEnabled)
    #expect(wrapping.attributes.tags.isEmpty && !wrapping.isExportable && !wrapping.isBackupable)
    #expect(wrapping.recovery.name == "CustomizedRecoverable+Purgeable" && wrapping.recovery.days == 30)
    #expect(wrapping.uri.description.hasPrefix("https://kv1.vault.test/keys/Wrap-Key/"))
    let signing = try await bench.vaults.createKey(
      bench.uri("s"), type: .ec(.p256), role: .signing, as: owner, context: context)
    #expect(signing.operations == [.sign, .verify])
    for (days, protected, name) in [
      (90, false, "Recoverable+Purgeable"), (90, true, "Recoverable"), (7, true, "CustomizedRecoverable"),
    ] {
      let bench = try await VaultBench(days: days, purgeProtection: protected)
      let made = try await bench.create()
      let level = try await bench.vaults.keyVersion(made, as: bench.owner, context: bench.context).recovery
      #expect(level.name == name && level.days == days)
    }
  }

  @Test("V6: an operation outside the allowed ones is refused with a reason of its own, and comes back when allowed")
  func allowedOperations() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let made = try await vaults.createKey(
      bench.uri("key"), type: .aes(bits: 256), role: .wrapping, attributes: KeyAttributes(operations: [.wrapKey]),
      as: owner, context: context)
    #expect(made.operations == [.wrapKey])
    let wrapped = try await bench.wrap(made.uri)
    let refused = await failure { _ = try await bench.unwrap(wrapped) }
    #expect(refused == error(.denied, .keyOperationForbidden))
    #expect(refused?.remedy.isEmpty == false)
    try await vaults.updateKey(made.uri, KeyAttributes(operations: [.unwrapKey]), as: owner, context: context)
    #expect(try await bench.unwrap(wrapped))
    #expect(await failure { _ = try await bench.wrap(made.uri) } == error(.denied, .keyOperationForbidden))
    try await vaults.updateKey(made.uri, KeyAttributes(operations: []), as: owner, context: context)
    #expect(await failure { _ = try await bench.unwrap(wrapped) } == error(.denied, .keyOperationForbidden))
    // A disabled version says that first.
    try await vaults.updateKey(made.uri, isEnabled: false, as: owner, context: context)
    #expect(await failure { _ = try await bench.unwrap(wrapped) } == error(.disabled, .keyDisabled))
    let rotated = try await vaults.rotateKey(made.uri, as: owner, context: context)
    #expect(rotated.operations.isEmpty, "a rotation keeps them")
  }

  @Test("V6: signatures verify on the host, also outside the validity, unless the version must not verify")
  func verify() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let key = try await bench.create("key", type: .ec(.p256), role: .signing)
    let digest = [UInt8](repeating: 3, count: 32)
    let signed = try await vaults.sign(digest, with: bench.uri("key"), algorithm: .es256, as: owner, context: context)
    #expect(signed.key == key)
    func check(_ signature: [UInt8], _ digest: [UInt8]) async throws -> Bool {
      try await vaults.verify(
        signature, over: digest, with: key, algorithm: .es256, as: owner, context: context
      ).isValid
    }
    #expect(try await check(signed.signature, digest))
    #expect(try await !check(signed.signature, [UInt8](repeating: 4, count: 32)))
    #expect(try await !check(Array(signed.signature.reversed()), digest))
    #expect(await failure { _ = try await check(signed.signature, [1]) } == error(.invalidInput, .wrongSize))
    try await vaults.updateKey(key, expires: bench.clock.now(), as: owner, context: context)
    #expect(try await check(signed.signature, digest), "expired")
    try await vaults.updateKey(key, KeyAttributes(operations: [.sign]), as: owner, context: context)
    #expect(await failure { _ = try await check(signed.signature, digest) } == error(.denied, .keyOperationForbidden))
  }

  @Test("V6: tags are 15 at most, of 256 characters; a change replaces all of them; what can't be is refused")
  func tags() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    func tags(_ count: Int, length: Int = 3) -> [String: String] {
      Dictionary(uniqueKeysWithValues: (0..<count).map { ("t\($0)", String(repeating: "x", count: length)) })
    }
    func create(_ name: String, _ attributes: KeyAttributes) async -> KeyCustodyError? {
      await failure {
        try await vaults.createKey(
          bench.uri(name), type: .aes(bits: 256), role: .wrapping, attributes: attributes, as: owner, context: context)
      }
    }
    #expect(await create("a", KeyAttributes(tags: tags(15, length: 256))) == nil)
    #expect(await create("b", KeyAttributes(tags: tags(16))) == error(.invalidInput, .badTags))
    #expect(await create("b", KeyAttributes(tags: tags(1, length: 257))) == error(.invalidInput, .badTags))
    #expect(await create("b", KeyAttributes(tags: ["": "x"])) == error(.invalidInput, .badTags))
    #expect(await create("b", KeyAttributes(operations: [.sign])) == error(.invalidInput, .keyOperationImpossible))
    #expect(try await bench.inventory().count == 1, "a refused creation makes nothing")
    let uri = try bench.uri("a")
    let changed = try await vaults.updateKey(uri, KeyAttributes(tags: ["only": "one"]), as: owner, context: context)
    #expect(changed.attributes.tags == ["only": "one"])
    let kept = try await vaults.updateKey(uri, isEnabled: false, as: owner, context: context)
    #expect(kept.attributes.tags == ["only": "one"])
    #expect(try await vaults.rotateKey(uri, as: owner, context: context).attributes.tags == ["only": "one"])
    let none = try await vaults.updateKey(uri, KeyAttributes(tags: [:]), as: owner, context: context)
    #expect(none.attributes.tags.isEmpty)
  }

  @Test("V1: a creation on a taken name is refused, or adds a version")
  func onExisting() async throws {
    let bench = try await VaultBench()
    let first = try await bench.create()
    func again(_ type: KeyType, _ role: KeyRole) async throws(KeyCustodyError) -> KeyBundle {
      try await bench.vaults.createKey(
        first.with(version: nil), type: type, role: role, attributes: KeyAttributes(tags: ["a": "b"]),
        onExisting: .addVersion, as: bench.owner, context: bench.context)
    }
    let second = try await again(.aes(bits: 256), .wrapping)
    #expect(second.uri.version != first.version && second.attributes.tags == ["a": "b"])
    #expect(try await bench.wrap(bench.uri("key")).key == second.uri)
    try await bench.vaults.deleteKey(first, as: bench.owner, context: bench.context)
    let blocked = await failure { _ = try await again(.aes(bits: 256), .wrapping) }
    #expect(blocked == error(.invalidInput, .deletedButRecoverable))
    try await bench.checkWhole("versions by creating")
  }
  @Test("V1: versions of one name may be of several types; each keeps its own, and rotation goes by the newest")
  func severalTypes() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let first = try await bench.create()
    let wrapped = try await bench.wrap(first)
    let unversioned = first.with(version: nil)
    for (type, role) in [(KeyType.ec(.p256), KeyRole.signing), (.rsa(bits: 2048), .wrapping)] {
      let made = try await vaults.createKey(
        unversioned, type: type, role: role, onExisting: .addVersion, as: owner, context: context)
      #expect(made.type == type && made.role == role)
      let rotated = try await vaults.rotateKey(unversioned, as: owner, context: context)
      #expect(rotated.type == type && rotated.role == role && rotated.uri != made.uri)
      let described = try await bench.keys.describe(try #require(rotated.uri.version), context: context)
      #expect(described.type == type && described.role == role)
      let record = try await vaults.key(unversioned, as: owner, context: context)
      #expect(record.type == type && record.role == role, "the newest one's")
      #expect(record.versions.map { record.type(of: $0) }.first == .aes(bits: 256))
      #expect(try await bench.unwrap(wrapped, with: first), "the first does what it did")
      let noSigning = KeyAttributes(operations: [.sign])
      let refused = await failure { _ = try await vaults.updateKey(first, noSigning, as: owner, context: context) }
      #expect(refused?.code == .invalidInput)
    }
    let backupable = await failure {
      _ = try await vaults.createKey(
        unversioned, type: .aes(bits: 256), role: .wrapping, isBackupable: true, onExisting: .addVersion, as: owner,
        context: context)
    }
    #expect(backupable == error(.invalidInput, .wrongKeyType), "that is settled for all versions")
    let possible = try await vaults.createKey(
      unversioned, type: .aes(bits: 256), role: .wrapping, attributes: KeyAttributes(), protection: .software,
      backups: .whereOffered, onExisting: .addVersion, as: owner, context: context)
    #expect(!possible.isBackupable, "it stays what it is")
    let imported = try await vaults.importKey(
      bench.secret(9), to: unversioned, type: .aes(bits: 256), role: .wrapping, as: owner, context: context)
    #expect(imported.type == .aes(bits: 256) && imported.operations.contains(.unwrapKey))
    try await vaults.deleteKey(unversioned, as: owner, context: context)
    try await vaults.recoverKey(unversioned, as: owner, context: context)
    #expect(try await bench.unwrap(wrapped, with: first))
    try await bench.checkWhole("several types")
  }
}
