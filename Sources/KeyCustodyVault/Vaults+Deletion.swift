public import KeyCustody

/// Soft delete, recovery and purging, of keys and of single versions (SEMANTICS V2, V3, V9).
extension Vaults {
  /// Soft-deletes a key with all its versions: kept for the vault's retention, its name blocked.
  @discardableResult
  public func deleteKey(
    _ uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> DeletedKeyBundle {
    try await change(.delete, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      _ = try await self.living(uri)
      let deletion = try await self.deletion(admission)
      // Told whatever comes of it: of a lost answer nobody knows.
      defer { self.tell(uri) }
      let updated = try await self.keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        if let earlier = record.deletion { throw VaultErrors.deleted(uri, until: earlier.scheduledPurge) }
        record.deletion = deletion
      }
      guard let updated, let deleted = self.deletedBundle(updated, in: admission.vault) else {
        throw VaultErrors.keyUnknown(uri)
      }
      return (deleted, uri)
    }
  }

  /// Brings a soft-deleted key back, with all its versions.
  @discardableResult
  public func recoverKey(
    _ uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyBundle {
    try await change(.recover, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      defer { self.tell(uri) }
      let updated = try await self.keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        guard record.deletion != nil else { throw VaultErrors.keyUnknown(uri) }
        guard !record.versions.isEmpty else { throw VaultErrors.purging(uri) }
        record.deletion = nil
      }
      guard let updated, let newest = updated.newest else { throw VaultErrors.keyUnknown(uri) }
      return (self.bundle(updated, newest, in: admission.vault), uri)
    }
  }

  /// Destroys a soft-deleted key for good.
  ///
  /// Under purge protection the vault's retention must have run out first. It is counted in time during which the vaults
  /// were watched over, by the running clock, which nobody can set:
  /// - No setting of the wall clock shortens it, and many processes at once don't either.
  /// - It goes on while a process lives, and from one process to the next on a machine that was not started anew.
  /// - A machine that is off, or another machine that takes over, makes it longer by that time.
  ///
  /// - Throws: `denied` (`purge-protected`) while purge protection holds and the retention has not run out.
  public func purgeKey(_ uri: KeyURI, as caller: Principal, context: CallContext) async throws(KeyCustodyError) {
    try await purge(uri, by: .caller(caller), context)
  }

  func purge(_ uri: KeyURI, by authority: Authority, _ context: CallContext) async throws(KeyCustodyError) {
    _ = try await change(.key(.purge), on: uri, by: authority, context: context) {
      (admission) throws(KeyCustodyError) in
      try await self.purge(uri, admission, context, onlyExpired: authority.isVault)
      return (Done(), uri)
    }
  }

  /// Soft-deletes one version of a key; the others go on, and the newest of them takes its place.
  ///
  /// - Throws: `denied` (the permission is `delete`), `notFound`; `invalidInput` (`last-version`) for a key's only one.
  @discardableResult
  public func deleteKeyVersion(
    _ uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyBundle {
    try await changeVersion(.delete, uri, as: caller, context: context) {
      (record, index, deletion) throws(KeyCustodyError) in
      guard record.allVersions[index].isLiving else { throw VaultErrors.keyUnknown(uri) }
      guard record.versions.count > 1 else { throw VaultErrors.lastVersion(uri) }
      let before = record
      record.allVersions[index].deletion = deletion
      try RecordRoom.checkAttributes(record, was: before, of: uri.description)
    }
  }

  /// Brings a soft-deleted version back.
  @discardableResult
  public func recoverKeyVersion(
    _ uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyBundle {
    try await changeVersion(.recover, uri, as: caller, context: context) {
      (record, index, _) throws(KeyCustodyError) in
      guard record.allVersions[index].deletion != nil else { throw VaultErrors.keyUnknown(uri) }
      guard record.allVersions[index].stage == .ready else { throw VaultErrors.purging(uri) }
      record.allVersions[index].deletion = nil
    }
  }

  /// Destroys a soft-deleted version for good, under the same conditions as ``purgeKey(_:as:context:)``.
  public func purgeKeyVersion(_ uri: KeyURI, as caller: Principal, context: CallContext) async throws(KeyCustodyError) {
    _ = try await change(.purge, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      let now = try await self.observed.now()
      defer { self.tell(uri) }
      var marked: KeyVersionRecord?
      _ = try await self.keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        guard let index = record.allVersions.firstIndex(where: { $0.version == uri.version }),
          let deletion = record.allVersions[index].deletion
        else { throw VaultErrors.keyUnknown(uri) }
        try self.checkPurgeable(deletion, admission, now)
        record.allVersions[index].stage = .destroying
        marked = record.allVersions[index]
      }
      guard let marked else { throw VaultErrors.keyUnknown(uri) }
      try await self.destroy(marked, admission, context)
      _ = try await self.keys.update(try Self.path(uri)) { record in
        record.allVersions.removeAll { $0.version == marked.version }
      }
      return (Done(), uri)
    }
  }

  private func purge(
    _ uri: KeyURI, _ admission: Admission, _ context: CallContext, onlyExpired: Bool
  ) async throws(KeyCustodyError) {
    let path = try Self.path(uri)
    let now = try await observed.now()
    defer { tell(uri) }
    // Judged on the very record that is marked: a key that is recovered meanwhile is left alone.
    let intended = try await keys.updateRevised(path) { (record) throws(KeyCustodyError) in
      guard let deletion = record.deletion else { throw VaultErrors.keyUnknown(uri) }
      try self.checkPurgeable(deletion, admission, now, onlyExpired: onlyExpired)
      for index in record.allVersions.indices { record.allVersions[index].stage = .destroying }
    }
    guard let intended else { throw VaultErrors.keyUnknown(uri) }
    for version in intended.value.allVersions { try await destroy(version, admission, context) }
    // Only what was marked: somebody else's purge may have been quicker, and the name be another key's by now.
    _ = try await keys.store.delete(path, expecting: intended.revision)
  }

  /// A deletion that happens now.
  func deletion(_ admission: Admission) async throws(KeyCustodyError) -> KeyRecord.Deletion {
    let now = environment.time.now()
    return KeyRecord.Deletion(
      deleted: now, scheduledPurge: now + .seconds(86_400 * admission.vault.softDeleteDays),
      observed: try await observed.now())
  }

  func checkPurgeable(
    _ deletion: KeyRecord.Deletion, _ admission: Admission, _ observed: Int64, onlyExpired: Bool = false
  ) throws(KeyCustodyError) {
    let remaining = deletion.remaining(observed)
    guard !(admission.vault.purgeProtection || onlyExpired) || remaining == 0 else {
      throw VaultErrors.purgeProtected(until: environment.time.now() + .milliseconds(remaining))
    }
  }

  private func changeVersion(
    _ permission: KeyPermission, _ uri: KeyURI, as caller: Principal, context: CallContext,
    _ body: (inout KeyRecord, Int, KeyRecord.Deletion) throws(KeyCustodyError) -> Void
  ) async throws(KeyCustodyError) -> KeyBundle {
    try await change(permission, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      _ = try await self.living(uri)
      let deletion = try await self.deletion(admission)
      defer { self.tell(uri) }
      var changed: KeyVersionRecord?
      let updated = try await self.keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        if let deletion = record.deletion { throw VaultErrors.deleted(uri, until: deletion.scheduledPurge) }
        guard let index = record.allVersions.firstIndex(where: { $0.version == uri.version }) else {
          throw VaultErrors.keyUnknown(uri)
        }
        try body(&record, index, deletion)
        changed = record.allVersions[index]
      }
      guard let updated, let changed else { throw VaultErrors.keyUnknown(uri) }
      return (self.bundle(updated, changed, in: admission.vault), uri)
    }
  }
}
