public import KeyCustody
import Logging

/// The end of a vault.
extension Vaults {
  /// Deletes a vault that holds nothing any more, for good.
  ///
  /// All its keys and secrets must have been purged, which purge protection puts off until their retention has run out.
  /// Its rules go, and the key that its backups are under: nothing restores them afterwards. Its name is not used again,
  /// so that no address ever means something else. What is left behind by a failure ``purgeExpired()`` does.
  ///
  /// - Throws: `notFound` (`vault-unknown`); `invalidInput` (`vault-not-empty`); what the policy store throws.
  public func delete(_ name: VaultName, by administrator: Administrator = .host) async throws(KeyCustodyError) {
    let act = AdministrativeAct("vaults/delete", on: address(name))
    try await administration.change(act, by: administrator) { () async throws(KeyCustodyError) in
      let vault = try await self.required(name)
      try await self.requireEmpty(name)
      let deletion = VaultDeletion(
        id: try self.environment.random.bytes(16).hexadecimal, began: self.environment.time.now())
      // Told whatever comes of it: of a lost answer nobody knows.
      defer { self.tell(.vault(name)) }
      try await self.update(name) { $0.deletion = deletion }
      // Whoever makes something in it from now on finds it deleted (`confirm`); what was made is seen.
      do throws(KeyCustodyError) { try await self.requireEmpty(name) } catch {
        // Unless upkeep found it empty, and brought this to its end.
        guard try await self.revive(name, deletion) else { throw error }
      }
      try await self.conclude(name, deletion)
      do throws(KeyCustodyError) { try await self.clear(vault) } catch {
        self.environment.logger.warning(
          "what a deleted vault left is removed later", metadata: ["vault": "\(name)", "error": "\(error)"])
      }
    }
  }

  /// Brings a deletion that was cut off to an end: takes it back where there is something in the vault.
  func settle(_ name: VaultName) async throws(KeyCustodyError) {
    guard let vault = try await records.read(try Self.path(name, "definition")), let deletion = vault.deletion else {
      return
    }
    if !deletion.isEnded {
      do throws(KeyCustodyError) { try await requireEmpty(name) } catch {
        guard error.reason == .vaultNotEmpty else { throw error }
        guard try await revive(name, deletion) else { return }
      }
      try await conclude(name, deletion)
    }
    try await clear(vault)
  }

  /// Makes sure that key versions that were just entered are in a vault that is there; otherwise they are taken back.
  ///
  /// Whoever deletes the vault looks for records after marking it, so that one of the two sees the other.
  func confirm(
    _ versions: [KeyVersionRecord], at uri: KeyURI, in vault: VaultName
  ) async throws(KeyCustodyError) {
    try await confirm(try Self.path(uri), in: keys, of: vault, \.allVersions) { entry in
      versions.contains { $0.version == entry.version && $0.stage == entry.stage }
    }
  }

  /// The same of versions of a secret.
  func confirm(
    _ versions: [SecretVersionRecord], at uri: SecretURI, in vault: VaultName
  ) async throws(KeyCustodyError) {
    try await confirm(try Self.path(uri), in: secrets, of: vault, \.allVersions) { entry in
      !entry.isReady && versions.contains { $0.version == entry.version }
    }
  }

  private func confirm<Record, Version>(
    _ path: RecordKey, in view: RecordView<Record>, of vault: VaultName, _ entries: WritableKeyPath<Record, [Version]>,
    isOwn: (Version) -> Bool
  ) async throws(KeyCustodyError) {
    guard try await definition(vault) == nil else { return }
    _ = try? await view.update(path) { $0[keyPath: entries].removeAll(where: isOwn) }
    if let left = try? await view.readRevised(path), left.value[keyPath: entries].isEmpty {
      _ = try? await view.store.delete(path, expecting: left.revision)
    }
    throw VaultErrors.vaultUnknown(vault)
  }

  /// Takes a deletion back.
  ///
  /// - Returns: whether that is too late, since it came to its end.
  private func revive(_ name: VaultName, _ deletion: VaultDeletion) async throws(KeyCustodyError) -> Bool {
    let found = try await records.update(try Self.path(name, "definition")) { record in
      if record.deletion?.id == deletion.id, record.deletion?.isEnded == false { record.deletion = nil }
    }
    return found?.deletion?.id == deletion.id
  }

  /// Ends a vault that was seen to hold nothing after its deletion began.
  private func conclude(_ name: VaultName, _ deletion: VaultDeletion) async throws(KeyCustodyError) {
    _ = try await records.update(try Self.path(name, "definition")) { (record) throws(KeyCustodyError) in
      // Somebody else found something in it, and took the deletion back.
      guard record.deletion?.id == deletion.id else { throw Self.notEmpty(name, "something") }
      record.deletion?.isEnded = true
    }
  }

  /// Removes what is a vault's own; may be repeated.
  private func clear(_ vault: VaultRecord) async throws(KeyCustodyError) {
    try await requests.forget(vault.definition.name)
    _ = try await policies.remove(try Self.path(vault.definition.name, "policy"))
    try await destroyInternalKey(of: vault)
  }

  /// Refuses unless neither keys nor secrets are there, deleted ones included.
  private func requireEmpty(_ name: VaultName) async throws(KeyCustodyError) {
    for kind in ["keys", "secrets"] {
      guard try await records.store.list(prefix: "vaults/\(name.folded)/\(kind)/", after: nil, limit: 1).isEmpty else {
        throw Self.notEmpty(name, kind)
      }
    }
  }

  private static func notEmpty(_ name: VaultName, _ what: String) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .vaultNotEmpty, "The vault '\(name)' still holds \(what).",
      remedy:
        "Delete and purge all keys and secrets first; under purge protection they go when their retention has run out."
    )
  }

  private func destroyInternalKey(of vault: VaultRecord) async throws(KeyCustodyError) {
    let path = try Self.path(vault.definition.name, "internal-key")
    guard let key = try await internalKeys.read(path) else { return }
    do throws(KeyCustodyError) {
      try await provider(of: vault).destroy(key.version, context: CallContext(purpose: .administration))
    } catch {
      // Never made, or destroyed by an attempt whose answer was lost.
      guard error.code == .notFound else { throw error }
    }
    _ = try await internalKeys.remove(path)
  }
}
