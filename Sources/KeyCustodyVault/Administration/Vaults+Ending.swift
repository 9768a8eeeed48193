public import KeyCustody

/// The end of a vault.
extension Vaults {
  /// Deletes a vault that holds nothing any more, for good.
  ///
  /// All its keys and secrets must have been purged, which purge protection puts off until their retention has run out.
  /// Its rules go, and the key that its backups are under: nothing restores them afterwards. Its name is not used again,
  /// so that no address ever means something else. When it fails the vault is there as before, but perhaps without rules.
  ///
  /// - Throws: `notFound` (`vault-unknown`); `invalidInput` (`vault-not-empty`); what its key provider throws.
  public func delete(_ name: VaultName, by administrator: Administrator = .host) async throws(KeyCustodyError) {
    let act = AdministrativeAct("vaults/delete", on: address(name))
    try await administration.change(act, by: administrator) { () async throws(KeyCustodyError) in
      let vault = try await self.required(name)
      try await self.requireEmpty(name)
      // Told whatever comes of it: of a lost answer nobody knows.
      defer { self.tell(.vault(name)) }
      try await self.update(name) { $0.deleted = self.environment.time.now() }
      do throws(KeyCustodyError) {
        // Something may have been made in it at the last moment.
        try await self.requireEmpty(name)
        try await self.requests.forget(name)
        _ = try await self.policies.remove(try Self.path(name, "policy"))
        try await self.destroyInternalKey(of: vault)
      } catch {
        _ = try await self.records.update(try Self.path(name, "definition")) { $0.deleted = nil }
        throw error
      }
    }
  }

  /// Refuses unless neither keys nor secrets are there, deleted ones included.
  private func requireEmpty(_ name: VaultName) async throws(KeyCustodyError) {
    for kind in ["keys", "secrets"] {
      guard try await records.store.list(prefix: "vaults/\(name.folded)/\(kind)/", after: nil, limit: 1).isEmpty else {
        throw KeyCustodyError(
          .invalidInput, .vaultNotEmpty, "The vault '\(name)' still holds \(kind).",
          remedy: "Delete and purge them first; under purge protection they go when their retention has run out.")
      }
    }
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
    // In a vault that is gone it does no harm.
    _ = try? await internalKeys.remove(path)
  }
}
