public import KeyCustody

/// Soft delete, recovery, purging, backup and restore of secrets: as of keys.
extension Vaults {
  private struct Content: Codable {
    var record: SecretRecord
    /// The values as they are stored, by the versions' names.
    var values: [String: SealedValue]
  }
  private static let kind = ["secret-backup"]

  /// Soft-deletes a secret with all its versions: kept for the vault's retention, its name blocked.
  @discardableResult
  public func deleteSecret(
    _ uri: SecretURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> DeletedSecretBundle {
    try await change(.secret(.delete), on: uri, by: .caller(caller), context: context) {
      (admission) throws(KeyCustodyError) in
      _ = try await self.living(uri.with(version: nil))
      let deletion = try await self.deletion(admission)
      let updated = try await self.secrets.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        if let earlier = record.deletion { throw VaultErrors.secretDeleted(uri, until: earlier.scheduledPurge) }
        record.deletion = deletion
      }
      guard let updated, let deleted = self.deletedBundle(updated, in: admission.vault) else {
        throw VaultErrors.secretUnknown(uri)
      }
      return (deleted, uri)
    }
  }

  /// The soft-deleted secrets of a vault, ordered by name.
  public func listDeletedSecrets(
    in vault: VaultName, after token: String? = nil, limit: Int? = nil, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> Page<DeletedSecretBundle> {
    let target = collection("deletedsecrets", in: vault)
    return try await perform(.secret(.list), on: target, by: .caller(caller), context: context) {
      (admission) throws(KeyCustodyError) in
      let page = try await self.page(self.secrets, "secrets", in: vault, after: token, limit: limit) { record in
        self.deletedBundle(record, in: admission.vault)
      }
      return (page, target)
    }
  }

  /// A soft-deleted secret.
  ///
  /// - Throws: `denied`; `notFound` for a secret that is not deleted.
  public func deletedSecret(
    _ uri: SecretURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> DeletedSecretBundle {
    try await perform(.secret(.get), on: uri, by: .caller(caller), context: context) {
      (admission) throws(KeyCustodyError) in
      guard let record = try await self.secrets.read(try Self.path(uri)),
        let deleted = self.deletedBundle(record, in: admission.vault)
      else { throw VaultErrors.secretUnknown(uri) }
      return (deleted, uri)
    }
  }

  /// Brings a soft-deleted secret back, with all its versions.
  @discardableResult
  public func recoverSecret(
    _ uri: SecretURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> SecretBundle {
    try await change(.secret(.recover), on: uri, by: .caller(caller), context: context) {
      (admission) throws(KeyCustodyError) in
      let updated = try await self.secrets.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        guard record.deletion != nil, !record.isPurging else { throw VaultErrors.secretUnknown(uri) }
        record.deletion = nil
      }
      guard let updated, let newest = updated.newest else { throw VaultErrors.secretUnknown(uri) }
      return (self.bundle(updated, newest, in: admission.vault), uri)
    }
  }

  /// Destroys a soft-deleted secret for good, under the same conditions as ``purgeKey(_:as:context:)``.
  public func purgeSecret(_ uri: SecretURI, as caller: Principal, context: CallContext) async throws(KeyCustodyError) {
    try await purge(uri, by: .caller(caller), context)
  }

  func purge(_ uri: SecretURI, by authority: Authority, _ context: CallContext) async throws(KeyCustodyError) {
    _ = try await change(.secret(.purge), on: uri, by: authority, context: context) {
      (admission) throws(KeyCustodyError) in
      let path = try Self.path(uri)
      let now = try await self.observed.now()
      let intended = try await self.secrets.updateRevised(path) { (record) throws(KeyCustodyError) in
        guard let deletion = record.deletion else { throw VaultErrors.secretUnknown(uri) }
        try self.checkPurgeable(deletion, admission, now, onlyExpired: authority.isVault)
        record.isPurging = true
      }
      guard let intended else { throw VaultErrors.secretUnknown(uri) }
      for version in intended.value.allVersions {
        _ = try await self.secretValues.remove(try Self.valuePath(uri, version.version))
      }
      // Only what was marked: the name may be another secret's by now.
      _ = try await self.secrets.store.delete(path, expecting: intended.revision)
      return (Done(), uri)
    }
  }

  /// Backs up a secret with all its versions.
  ///
  /// - Returns: an opaque blob that only this vault, on its key provider, restores.
  public func backUpSecret(
    _ uri: SecretURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> [UInt8] {
    try await perform(.secret(.backup), on: uri, by: .caller(caller), context: context) {
      (admission) throws(KeyCustodyError) in
      var (record, _) = try await self.living(uri.with(version: nil))
      record.allVersions = record.versions
      var values: [String: SealedValue] = [:]
      for version in record.versions {
        values[version.version.description] =
          try await self.secretValues.read(try Self.valuePath(uri, version.version))
      }
      let json = try SealedValue.json(Content(record: record, values: values))
      let sealed = try await self.seal(SecretBytes(copying: json), as: Self.kind, admission, context)
      return (try sealed.blob, uri)
    }
  }

  /// Brings a secret back from its backup, under its name and with the versions' names.
  ///
  /// - Throws: as ``restoreKey(_:in:as:context:)``.
  @discardableResult
  public func restoreSecret(
    _ blob: [UInt8], in vault: VaultName, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> SecretBundle {
    let target = collection("secrets", in: vault)
    return try await change(.secret(.restore), on: target, by: .caller(caller), context: context) {
      (admission) throws(KeyCustodyError) in
      let content: Content = try await self.content(of: blob, as: Self.kind, admission, context)
      let uri = self.secretURI(vault, content.record.name)
      let planned = try await self.enterRestored(content.record, at: uri)
      for (version, value) in content.values {
        _ = try await self.secretValues.create(try Self.valuePath(uri, try KeyVersionID(version)), value)
      }
      let restored = Dictionary(content.record.allVersions.map { ($0.version, $0) }) { first, _ in first }
      let written = try await self.secrets.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        guard record == planned else { throw Self.taken(uri) }
        for (index, version) in record.allVersions.enumerated() {
          record.allVersions[index] = restored[version.version] ?? version
        }
      }
      guard let written, let newest = written.newest else { throw Self.taken(uri) }
      return (
        self.bundle(written, newest, in: admission.vault),
        self.collection("secrets/\(written.name)", in: vault)
      )
    }
  }

  /// Enters the versions that are to be restored, after what attempts at a value left that nobody can read.
  ///
  /// That stays: somebody may be storing the value at this moment, and a purge removes it.
  private func enterRestored(
    _ record: SecretRecord, at uri: SecretURI
  ) async throws(KeyCustodyError) -> SecretRecord {
    let path = try Self.path(uri)
    var planned = record
    for index in planned.allVersions.indices { planned.allVersions[index].isReady = false }
    if try await secrets.create(path, planned) {
      try await confirm(planned.allVersions, at: uri, in: try uri.vault)
      return planned
    }
    let restored = Set(planned.allVersions.map(\.version))
    let entered = try await secrets.update(path) { (found) throws(KeyCustodyError) in
      if let deletion = found.deletion {
        throw VaultErrors.recoverable(uri.description, until: deletion.scheduledPurge)
      }
      guard found.versions.isEmpty else { throw Self.taken(uri) }
      // The same restoration, cut off, finds its own versions and goes on.
      let others = found.allVersions.filter { !restored.contains($0.version) }
      found = planned
      found.allVersions = others + planned.allVersions
    }
    guard let entered else { throw VaultErrors.secretPurged(uri) }
    try await confirm(planned.allVersions, at: uri, in: try uri.vault)
    return entered
  }

  private static func taken(_ uri: SecretURI) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .alreadyExists, "The secret '\(uri)' exists already.",
      remedy: "Delete and purge it first, if the backup is to take its place.")
  }

  private func deletedBundle(_ record: SecretRecord, in vault: VaultDefinition) -> DeletedSecretBundle? {
    guard let deletion = record.deletion, let version = record.newest ?? record.allVersions.last else { return nil }
    return DeletedSecretBundle(secret: bundle(record, version, in: vault), deletion: deletion)
  }
}
