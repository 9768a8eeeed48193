public import KeyCustody

extension Vaults {
  /// Makes a key with its first version.
  ///
  /// - Throws: `denied`; `invalidInput` (`already-exists`, also while a soft-deleted key blocks the name).
  public func createKey(
    _ uri: KeyURI, type: KeyType, role: KeyRole, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyURI {
    try await perform(.create, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      let planned = try self.plan(.making)
      let request = GenerateKeyRequest(version: planned.version, type: type, role: role, label: uri.name.spelling)
      try request.validate()
      try admission.provider.capabilities.require(.generate(type))
      let empty = KeyRecord(name: uri.name, type: type, role: role, allVersions: [], deletion: nil)
      let version = try await self.enter(planned, of: empty, at: uri, admission, context)
      let made = try await self.make(version, of: empty, at: uri, .generated, admission, context)
      return (made, made)
    }
  }

  /// Makes a new version of a key, which becomes the newest.
  ///
  /// Older versions stay as they are.
  ///
  /// - Throws: `denied`, `notFound`, `disabled` (soft-deleted).
  public func rotateKey(
    _ uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyURI {
    try await perform(.rotate, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      let planned = try self.plan(.making)
      _ = try await self.living(uri)
      let key = try await self.keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        if let deletion = record.deletion { throw VaultErrors.deleted(uri, until: deletion.scheduledPurge) }
        record.allVersions.append(planned)
      }
      guard let key else { throw VaultErrors.keyUnknown(uri) }
      let made = try await self.make(planned, of: key, at: uri, .generated, admission, context)
      return (made, made)
    }
  }

  /// Brings in a key from outside: PKCS#8 DER for RSA and EC, the bare bytes for AES.
  ///
  /// - Throws: `denied`, `invalidInput`, `unsupported`.
  public func importKey(
    _ material: borrowing SecretBytes, to uri: KeyURI, type: KeyType, role: KeyRole, as caller: Principal,
    context: CallContext
  ) async throws(KeyCustodyError) -> KeyURI {
    let copy = SharedSecret(material)
    return try await perform(.import, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      let planned = try self.plan(.importing)
      let request = GenerateKeyRequest(version: planned.version, type: type, role: role, label: uri.name.spelling)
      try request.validate()
      try admission.provider.capabilities.require(.importing(type))
      let empty = KeyRecord(name: uri.name, type: type, role: role, allVersions: [], deletion: nil)
      let found = try await self.keys.read(try Self.path(uri))
      if let found, found.deletion == nil, !found.versions.isEmpty {
        let updated = try await self.keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
          guard record.deletion == nil else { throw VaultErrors.exists(uri) }
          guard record.type == type, record.role == role else { throw VaultErrors.otherType(uri, record) }
          record.allVersions.append(planned)
        }
        guard updated != nil else { throw VaultErrors.keyUnknown(uri) }
      } else {
        _ = try await self.enter(planned, of: empty, at: uri, admission, context)
      }
      let made = try await self.make(planned, of: empty, at: uri, .imported(copy), admission, context)
      return (made, made)
    }
  }

  /// A key with its versions.
  public func key(
    _ uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyRecord {
    try await perform(.get, on: uri, as: caller, context: context) { (_) throws(KeyCustodyError) in
      let record = try await self.living(uri)
      guard uri.version.map({ wanted in record.versions.contains { $0.version == wanted } }) ?? true else {
        throw VaultErrors.keyUnknown(uri)
      }
      return (record, uri)
    }
  }

  /// The keys of a vault, soft-deleted ones included.
  public func keys(
    in vault: VaultName, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> [KeyRecord] {
    let any = uri(vault, try KeyName("any"))
    return try await perform(.list, on: any, as: caller, context: context) { (_) throws(KeyCustodyError) in
      let all = try await self.keys.all(prefix: "vaults/\(vault.folded)/keys/").map(\.value)
      // Without those whose making was cut off before the first version: there is nothing of them yet.
      return (all.filter { !$0.versions.isEmpty || $0.deletion != nil }, any)
    }
  }

  /// Changes the attributes of a version (without one in the address: of the newest).
  public func updateKey(
    _ uri: KeyURI, isEnabled: Bool? = nil, notBefore: Timestamp? = nil, expires: Timestamp? = nil,
    as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) {
    try await perform(.update, on: uri, as: caller, context: context) { (_) throws(KeyCustodyError) in
      _ = try await self.living(uri)
      let now = self.environment.time.now()
      defer { self.tell(uri) }
      let updated = try await self.keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        guard let wanted = uri.version ?? record.newest?.version,
          let index = record.allVersions.firstIndex(where: { $0.version == wanted && $0.stage == .ready })
        else { throw VaultErrors.keyUnknown(uri) }
        if let isEnabled { record.allVersions[index].isEnabled = isEnabled }
        if let notBefore { record.allVersions[index].notBefore = notBefore }
        if let expires { record.allVersions[index].expires = expires }
        record.allVersions[index].updated = now
      }
      guard updated != nil else { throw VaultErrors.keyUnknown(uri) }
      return ((), uri)
    }
  }

  /// Soft-deletes a key with all its versions: kept for the vault's retention, its name blocked.
  @discardableResult
  public func deleteKey(
    _ uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyRecord.Deletion {
    try await perform(.delete, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      _ = try await self.living(uri)
      let now = self.environment.time.now()
      let deletion = KeyRecord.Deletion(
        deleted: now, scheduledPurge: now + .seconds(86_400 * admission.vault.softDeleteDays))
      // Told whatever comes of it: of a lost answer nobody knows.
      defer { self.tell(uri) }
      let updated = try await self.keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        if let earlier = record.deletion { throw VaultErrors.deleted(uri, until: earlier.scheduledPurge) }
        record.deletion = deletion
      }
      guard updated != nil else { throw VaultErrors.keyUnknown(uri) }
      return (deletion, uri)
    }
  }

  /// Brings a soft-deleted key back, with all its versions.
  public func recoverKey(_ uri: KeyURI, as caller: Principal, context: CallContext) async throws(KeyCustodyError) {
    try await perform(.recover, on: uri, as: caller, context: context) { (_) throws(KeyCustodyError) in
      defer { self.tell(uri) }
      let updated = try await self.keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        guard record.deletion != nil else { throw VaultErrors.keyUnknown(uri) }
        guard !record.allVersions.contains(where: { $0.stage == .destroying }) else { throw VaultErrors.purging(uri) }
        record.deletion = nil
      }
      guard updated != nil else { throw VaultErrors.keyUnknown(uri) }
      return ((), uri)
    }
  }

  /// Destroys a soft-deleted key for good.
  ///
  /// - Throws: `denied` (`purge-protected`) while purge protection holds and the retention has not run out.
  public func purgeKey(_ uri: KeyURI, as caller: Principal, context: CallContext) async throws(KeyCustodyError) {
    try await perform(.purge, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      let path = try Self.path(uri)
      let now = self.environment.time.now()
      defer { self.tell(uri) }
      // Judged on the very record that is marked: a key that is recovered meanwhile is left alone.
      let intended = try await self.keys.update(path) { (record) throws(KeyCustodyError) in
        guard let deletion = record.deletion else { throw VaultErrors.keyUnknown(uri) }
        guard !admission.vault.purgeProtection || deletion.scheduledPurge <= now else {
          throw VaultErrors.purgeProtected(until: deletion.scheduledPurge)
        }
        for index in record.allVersions.indices { record.allVersions[index].stage = .destroying }
      }
      guard let intended else { throw VaultErrors.keyUnknown(uri) }
      for version in intended.allVersions { try await self.destroy(version, admission, context) }
      _ = try await self.keys.remove(path)
      return ((), uri)
    }
  }

  /// The key, if it is there and not deleted.
  func living(_ uri: KeyURI) async throws(KeyCustodyError) -> KeyRecord {
    guard let record = try await keys.read(try Self.path(uri)), !record.versions.isEmpty else {
      throw VaultErrors.keyUnknown(uri)
    }
    if let deletion = record.deletion { throw VaultErrors.deleted(uri, until: deletion.scheduledPurge) }
    return record
  }
}
