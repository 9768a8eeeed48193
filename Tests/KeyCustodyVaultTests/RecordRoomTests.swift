import KeyCustody
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

/// Keys and secrets with as many versions as fit into a record.
struct RecordRoomTests {
  private static let full = error(.invalidInput, .tooManyVersions)

  private static func version(_ number: Int) throws(KeyCustodyError) -> KeyVersionID {
    let digits = String(number, radix: 16)
    return try KeyVersionID(String(repeating: "0", count: 32 - digits.count) + digits)
  }

  /// Fills a key's record with older versions, which no provider has, up to so many bytes and one version more.
  private static func fill(_ bench: VaultBench, _ uri: KeyURI, to size: Int) async throws {
    try await RecordView<KeyRecord>(bench.records).update(Vaults.path(uri)) { (record) throws(KeyCustodyError) in
      let one = try SealedValue.json(record.allVersions).count - 1
      let count = (size - (try SealedValue.json(record).count)) / one + 1
      guard let newest = record.newest else { return }
      var older: [KeyVersionRecord] = []
      for number in 1...count {
        var version = newest
        version.version = try Self.version(number)
        older.append(version)
      }
      record.allVersions = older + record.allVersions
    }
  }

  private static func size(_ bench: VaultBench, _ path: RecordKey) async throws -> Int {
    try await bench.records.read(path)?.value.count ?? 0
  }

  @Test("V1: a key with as many versions as fit gets no more, and is switched off, deleted, recovered and purged")
  func keys() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let made = try await bench.create()
    let uri = made.with(version: nil)
    try await Self.fill(bench, uri, to: RecordRoom.versions)
    let additions: [(String, () async throws -> Void)] = [
      ("rotate", { try await vaults.rotateKey(uri, as: owner, context: context) }),
      (
        "create",
        {
          try await vaults.createKey(
            uri, type: .aes(bits: 256), role: .wrapping, onExisting: .addVersion, as: owner, context: context)
        }
      ),
      (
        "import",
        {
          try await vaults.importKey(
            bench.secret(9), to: uri, type: .aes(bits: 256), role: .wrapping, as: owner, context: context)
        }
      ),
    ]
    for (name, add) in additions {
      let refused = await failure(add)
      #expect(refused == Self.full && refused?.remedy.isEmpty == false, "\(name)")
    }
    #expect(try await bench.inventory() == Set([made.version].compactMap { $0 }), "nothing was made")
    #expect(try await bench.unwrap(bench.wrap(uri)))
    try await vaults.updateKey(uri, expires: bench.clock.now() + VaultBench.day, as: owner, context: context)
    try await vaults.updateKey(uri, isEnabled: false, as: owner, context: context)
    try await vaults.deleteKey(uri, as: owner, context: context)
    try await vaults.recoverKey(uri, as: owner, context: context)
    try await vaults.deleteKey(uri, as: owner, context: context)
    try await vaults.purgeKey(uri, as: owner, context: context)
    #expect(try await bench.inventory().isEmpty)
    try await bench.create()
  }

  @Test("V6: attributes grow as long as the key can still be switched off, deleted and purged")
  func attributes() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let made = try await bench.create()
    let uri = made.with(version: nil)
    try await Self.fill(bench, uri, to: RecordRoom.versions - 1024)
    let long = Dictionary(uniqueKeysWithValues: (0..<15).map { ("t\($0)", String(repeating: "x", count: 256)) })
    var refused: KeyCustodyError?
    for number in 1...20 where refused == nil {
      let version = try uri.with(version: Self.version(number))
      refused = await failure {
        try await vaults.updateKey(version, KeyAttributes(tags: long), as: owner, context: context)
      }
    }
    #expect(refused == error(.invalidInput, .wrongSize) && refused?.remedy.isEmpty == false)
    #expect(try await Self.size(bench, Vaults.path(uri)) <= RecordRoom.attributes)
    let first = try uri.with(version: Self.version(1))
    try await vaults.updateKey(first, KeyAttributes(tags: [:]), as: owner, context: context)
    try await vaults.updateKey(uri, isEnabled: false, as: owner, context: context)
    try await vaults.deleteKey(uri, as: owner, context: context)
    try await vaults.purgeKey(uri, as: owner, context: context)
    #expect(try await bench.inventory().isEmpty)
  }

  @Test("V10: a secret with as many versions as fit gets no more, and is switched off, deleted and purged")
  func secrets() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let uri = vaults.secretURI(bench.vault, try SecretName("db"))
    try await vaults.setSecret(bench.secret(), at: uri, as: owner, context: context)
    try await RecordView<SecretRecord>(bench.records).update(Vaults.path(uri)) { (record) throws(KeyCustodyError) in
      let one = try SealedValue.json(record.allVersions).count - 1
      guard let newest = record.newest else { return }
      var older: [SecretVersionRecord] = []
      for number in 1...(RecordRoom.versions / one) {
        var version = newest
        version.version = try Self.version(number)
        older.append(version)
      }
      record.allVersions = older + record.allVersions
    }
    let refused = await failure { try await vaults.setSecret(bench.secret(), at: uri, as: owner, context: context) }
    #expect(refused == Self.full && refused?.remedy.isEmpty == false)
    #expect(try await bench.records.list(prefix: "vaults/kv1/secret-values/", after: nil, limit: 10).count == 1)
    try await vaults.updateSecret(uri, SecretAttributes(isEnabled: false), as: owner, context: context)
    try await vaults.deleteSecret(uri, as: owner, context: context)
    try await vaults.purgeSecret(uri, as: owner, context: context)
    #expect(try await bench.records.list(prefix: "vaults/kv1/secret", after: nil, limit: 10).isEmpty)
    try await vaults.setSecret(bench.secret(), at: uri, as: owner, context: context)
  }

  @Test("V10: a secret whose value could not be stored takes up no room")
  func refusedSecrets() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let uri = vaults.secretURI(bench.vault, try SecretName("db"))
    let made = try await vaults.setSecret(bench.secret(), at: uri, as: owner, context: context)
    func set() async -> KeyCustodyError? {
      await failure { try await vaults.setSecret(bench.secret(), at: uri, as: owner, context: context) }
    }
    for fault in [down, lost] {
      bench.keyFaults.failNext(.wrap, with: fault)
      #expect(await set() == fault)
    }
    bench.storeFaults.reset()
    // The third write stores the value: before it the version was entered, at the second attempt.
    bench.storeFaults.fail(.compareAndSet, call: 3, with: down)
    #expect(await set() == down)
    let record = try await RecordView<SecretRecord>(bench.records).read(Vaults.path(uri))
    #expect(record?.allVersions == [made.attributes])
    bench.storeFaults.reset()
    bench.storeFaults.fail(.compareAndSet, call: 3, .after, with: lost)
    #expect(await set() == lost)
    let unclear = try await RecordView<SecretRecord>(bench.records).read(Vaults.path(uri))
    #expect(unclear?.allVersions.count == 2, "it names a value that may be there")
  }
}
