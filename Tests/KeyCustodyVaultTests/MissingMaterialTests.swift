import KeyCustody
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// Keys that the vault has, and its key provider has lost.
struct MissingMaterialTests {
  private static let missing = error(.notFound, .keyMaterialMissing)

  @Test("V8: a key that only the provider lacks is told from one that is not there")
  func keys() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let wrapping = try await vaults.createKey(
      bench.uri("key"), type: .aes(bits: 256), role: .wrapping, isBackupable: true, as: owner, context: context
    ).uri
    let signing = try await bench.create("signing", type: .ec(.p256), role: .signing)
    let wrapped = try await bench.wrap(wrapping)
    for version in try await bench.inventory() { try await bench.keys.destroy(version, context: context) }
    let attempts: [(String, () async throws -> Void)] = [
      ("wrap", { _ = try await bench.wrap(wrapping) }), ("unwrap", { _ = try await bench.unwrap(wrapped) }),
      ("back up", { _ = try await vaults.backUpKey(wrapping, as: owner, context: context) }),
      (
        "sign",
        {
          _ = try await vaults.sign(
            [UInt8](repeating: 3, count: 32), with: signing, algorithm: .es256, as: owner, context: context)
        }
      ),
    ]
    for (name, attempt) in attempts {
      let refused = await failure(attempt)
      #expect(refused == Self.missing && refused?.remedy.isEmpty == false, "\(name)")
    }
    try await vaults.deleteKey(wrapping, as: owner, context: context)
    try await vaults.purgeKey(wrapping, as: owner, context: context)
    #expect(await failure { _ = try await bench.wrap(wrapping) } == error(.notFound, .keyVersionUnknown))
  }

  @Test("V10: where the provider lacks the vault's own key, secrets and backups say that something is damaged")
  func secrets() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let uri = vaults.secretURI(bench.vault, try SecretName("db"))
    try await vaults.setSecret(bench.secret(), at: uri, as: owner, context: context)
    let blob = try await vaults.backUpSecret(uri, as: owner, context: context)
    for version in try await bench.inventory() { try await bench.keys.destroy(version, context: context) }
    let attempts: [(String, () async throws -> Void)] = [
      ("get", { _ = try await vaults.secret(uri, as: owner, context: context).bundle }),
      ("set", { try await vaults.setSecret(bench.secret(), at: uri, as: owner, context: context) }),
      ("back up", { _ = try await vaults.backUpSecret(uri, as: owner, context: context) }),
      ("restore", { try await vaults.restoreSecret(blob, in: bench.vault, as: owner, context: context) }),
    ]
    for (name, attempt) in attempts {
      let refused = await failure(attempt)
      #expect(refused == error(.integrityFailure, .damaged) && refused?.remedy.isEmpty == false, "\(name)")
    }
  }
}
