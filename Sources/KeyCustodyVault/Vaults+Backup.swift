public import KeyCustody

/// Backups of keys, which only the vault that made them restores (SEMANTICS V7).
extension Vaults {
  private struct Content: Codable {
    var record: KeyRecord
    /// What the provider made of each version, base64url, by the version's name.
    var versions: [String: String]
  }
  private static let kind = ["key-backup"]

  /// Backs up a key with all its versions, their attributes and tags, and its rotation policy.
  ///
  /// - Returns: an opaque blob that says nothing to anybody but this vault and its key provider.
  /// - Throws: `denied`, `notFound`; `unsupported` for a key that was not made for it.
  public func backUpKey(
    _ uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> [UInt8] {
    try await perform(.backup, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      var record = try await self.living(uri)
      guard record.isBackupable else {
        throw KeyCustodyError(
          .unsupported, .notOffered, "The key '\(uri)' was made without backups.",
          remedy: "Make a key for which backups are asked, in a vault whose key provider can make them.")
      }
      record.allVersions = record.versions
      var versions: [String: String] = [:]
      for version in record.versions {
        let backup = try self.backup(of: version, admission)
        let blob = try await self.using(version, at: uri.with(version: version.version)) {
          () async throws(KeyCustodyError) in
          try await backup.backUp(version.version, context: context)
        }
        versions[version.version.description] = blob.base64URL
      }
      let json = try SealedValue.json(Content(record: record, versions: versions))
      let sealed = try await self.seal(SecretBytes(copying: json), as: Self.kind, admission, context)
      return (try sealed.blob, uri)
    }
  }

  /// Brings a key back from its backup, under its name and with the versions' names.
  ///
  /// - Throws: `denied`; `invalidInput`: `malformed` for anything but a backup of this vault, `already-exists` or
  ///   `deleted-but-recoverable` where the name is taken.
  @discardableResult
  public func restoreKey(
    _ blob: [UInt8], in vault: VaultName, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyBundle {
    try await change(.key(.restore), on: collection("keys", in: vault), by: .caller(caller), context: context) {
      (admission) throws(KeyCustodyError) in
      let content: Content = try await self.content(of: blob, as: Self.kind, admission, context)
      let uri = self.uri(vault, content.record.name)
      try await self.enterRestored(content.record, at: uri, admission, context)
      for version in content.record.allVersions {
        let backup = try self.backup(of: version, admission)
        guard let bytes = content.versions[version.version.description].flatMap({ [UInt8](base64URL: $0) }) else {
          throw SealedValue.corrupt
        }
        do throws(KeyCustodyError) { _ = try await backup.restore(bytes, context: context) } catch {
          // Restored by an attempt that was cut off, or by somebody who restores the same backup.
          guard error.reason == .alreadyExists else { throw error }
        }
      }
      let written = try await self.keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        guard record == Self.restoring(content.record) else { throw VaultErrors.exists(uri) }
        record = content.record
      }
      guard let written, let newest = written.newest else { throw VaultErrors.changedMeanwhile(uri) }
      self.tell(uri)
      return (
        self.bundle(written, newest, in: admission.vault),
        self.collection("keys/\(written.name)", in: vault)
      )
    }
  }

  /// What a backup holds.
  func content<Content: Decodable>(
    of blob: [UInt8], as kind: [String], _ admission: Admission, _ context: CallContext
  ) async throws(KeyCustodyError) -> Content {
    let sealed = try SealedValue(blob: blob)
    let json: SecretBytes
    do throws(KeyCustodyError) { json = try await open(sealed, as: kind, admission, context) } catch {
      guard error.code == .integrityFailure, error.reason != .damaged else { throw error }
      throw SealedValue.corrupt
    }
    return try SealedValue.value(json)
  }

  private func backup(
    of version: KeyVersionRecord, _ admission: Admission
  ) throws(KeyCustodyError) -> any KeyBackup {
    if let backup = try admission.provider(of: version).backup { return backup }
    throw KeyCustodyError(
      .unsupported, .notOffered, "The vault's key provider makes and restores no backups.",
      remedy: "Use a vault whose key provider does; 'keycustody doctor' lists what each offers.")
  }

  private static func restoring(_ record: KeyRecord) -> KeyRecord {
    var record = record
    for index in record.allVersions.indices { record.allVersions[index].stage = .importing }
    return record
  }

  /// Enters the versions that are to be restored, where nothing is in their way.
  private func enterRestored(
    _ record: KeyRecord, at uri: KeyURI, _ admission: Admission, _ context: CallContext
  ) async throws(KeyCustodyError) {
    let path = try Self.path(uri)
    let planned = Self.restoring(record)
    if try await keys.create(path, planned) {
      return try await confirm(planned.allVersions, at: uri, in: admission.vault.name)
    }
    guard let found = try await keys.readRevised(path) else { throw VaultErrors.changedMeanwhile(uri) }
    if let deletion = found.value.deletion {
      throw VaultErrors.recoverable(uri.description, until: deletion.scheduledPurge)
    }
    guard found.value.allVersions.allSatisfy({ $0.stage != .ready }) else { throw VaultErrors.exists(uri) }
    // What is left of something that was cut off: the same restoration goes on, anything else makes way.
    if found.value != planned {
      guard try await replace(found, by: planned, at: uri, admission, context) else {
        throw VaultErrors.changedMeanwhile(uri)
      }
    }
    try await confirm(planned.allVersions, at: uri, in: admission.vault.name)
  }
}
