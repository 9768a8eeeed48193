public import KeyCustody

extension Vaults {
  /// Makes a key with its first version.
  ///
  /// - Throws: `denied`; `invalidInput` (`already-exists`, also while a soft-deleted key blocks the name).
  public func createKey(
    _ uri: KeyURI, type: KeyType, role: KeyRole, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyURI {
    try await perform(.create, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      try GenerateKeyRequest(version: KeyVersionID(random: self.environment.random), type: type, role: role).validate()
      try admission.provider.capabilities.require(.generate(type))
      let path = try Self.path(uri)
      let empty = KeyRecord(name: uri.name, type: type, role: role, allVersions: [], deletion: nil)
      if try await !self.keys.create(path, empty) {
        // Left over from a creation that was cut off before its first version: go on with it.
        guard let record = try await self.keys.read(path), record.versions.isEmpty, record.deletion == nil,
          record.type == type, record.role == role
        else {
          throw KeyCustodyError(
            .invalidInput, .alreadyExists, "The key '\(uri)' exists already, perhaps deleted and recoverable.",
            remedy: "Use another name, or rotate or recover the key.")
        }
      }
      let made = try await self.addVersion(uri, admission, context)
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
      _ = try await self.living(uri)
      let made = try await self.addVersion(uri, admission, context)
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
      let request = GenerateKeyRequest(
        version: try KeyVersionID(random: self.environment.random), type: type, role: role, label: uri.name.spelling)
      try request.validate()
      let description = try await admission.provider.importKey(copy.bytes, as: request, context: context)
      let path = try Self.path(uri)
      let version = self.version(description, at: self.environment.time.now())
      _ = try await self.keys.create(
        path, KeyRecord(name: uri.name, type: type, role: role, allVersions: [], deletion: nil))
      try await self.keys.update(path) { (record) throws(KeyCustodyError) in
        guard record.type == type, record.role == role, record.deletion == nil else {
          throw KeyCustodyError(
            .invalidInput, .wrongKeyType, "The key '\(uri)' exists with another type or role, or is deleted.")
        }
        record.allVersions.append(version)
      }
      self.tell(.key(try uri.vault, uri.name))
      let made = uri.with(version: request.version)
      return (made, made)
    }
  }

  /// A key with its versions.
  public func key(
    _ uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyRecord {
    try await perform(.get, on: uri, as: caller, context: context) { (_) throws(KeyCustodyError) in
      (try await self.living(uri), uri)
    }
  }

  /// The keys of a vault, soft-deleted ones included.
  public func keys(
    in vault: VaultName, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> [KeyRecord] {
    let any = uri(vault, try KeyName("any"))
    return try await perform(.list, on: any, as: caller, context: context) { (_) throws(KeyCustodyError) in
      (try await self.keys.all(prefix: "vaults/\(vault.folded)/keys/").map(\.value), any)
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
      try await self.keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        guard let wanted = uri.version ?? record.newest?.version,
          let index = record.allVersions.firstIndex(where: { $0.version == wanted && $0.stage == .ready })
        else { throw VaultErrors.keyUnknown(uri) }
        if let isEnabled { record.allVersions[index].isEnabled = isEnabled }
        if let notBefore { record.allVersions[index].notBefore = notBefore }
        if let expires { record.allVersions[index].expires = expires }
        record.allVersions[index].updated = now
      }
      self.tell(.key(try uri.vault, uri.name))
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
      try await self.keys.update(try Self.path(uri)) { $0.deletion = $0.deletion ?? deletion }
      self.tell(.key(try uri.vault, uri.name))
      return (deletion, uri)
    }
  }

  /// Brings a soft-deleted key back, with all its versions.
  public func recoverKey(_ uri: KeyURI, as caller: Principal, context: CallContext) async throws(KeyCustodyError) {
    try await perform(.recover, on: uri, as: caller, context: context) { (_) throws(KeyCustodyError) in
      try await self.keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        guard record.deletion != nil else { throw VaultErrors.keyUnknown(uri) }
        record.deletion = nil
      }
      self.tell(.key(try uri.vault, uri.name))
      return ((), uri)
    }
  }

  /// Destroys a soft-deleted key for good.
  ///
  /// - Throws: `denied` (`purge-protected`) while purge protection holds and the retention has not run out.
  public func purgeKey(_ uri: KeyURI, as caller: Principal, context: CallContext) async throws(KeyCustodyError) {
    try await perform(.purge, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      let path = try Self.path(uri)
      guard let record = try await self.keys.read(path), let deletion = record.deletion else {
        throw VaultErrors.keyUnknown(uri)
      }
      guard !admission.vault.purgeProtection || deletion.scheduledPurge <= self.environment.time.now() else {
        throw KeyCustodyError(
          .denied, .purgeProtected, "Operation 'purge' is not allowed: purge protection is on for this vault.",
          remedy: "Nobody can; the key goes at \(deletion.scheduledPurge.seconds) (seconds since 1970).")
      }
      let intended = try await self.keys.update(path) { record in
        for index in record.allVersions.indices { record.allVersions[index].stage = .destroying }
      }
      for version in intended?.allVersions ?? [] {
        do throws(KeyCustodyError) {
          try await admission.provider.destroy(version.version, context: context)
        } catch {
          guard error.code == .notFound else { throw error }
        }
      }
      _ = try await self.keys.remove(path)
      self.tell(.key(try uri.vault, uri.name))
      return ((), uri)
    }
  }

  // MARK: Versions

  /// The key, if it is there and not deleted.
  func living(_ uri: KeyURI) async throws(KeyCustodyError) -> KeyRecord {
    guard let record = try await keys.read(try Self.path(uri)), !record.versions.isEmpty else {
      throw VaultErrors.keyUnknown(uri)
    }
    if let deletion = record.deletion { throw VaultErrors.deleted(uri, until: deletion.scheduledPurge) }
    return record
  }

  /// Adds a version, the intent recorded before the provider is asked: after a crash the same version is looked up or
  /// made, never a second one.
  private func addVersion(
    _ uri: KeyURI, _ admission: Admission, _ context: CallContext
  ) async throws(KeyCustodyError) -> KeyURI {
    let path = try Self.path(uri)
    let now = environment.time.now()
    let planned = KeyVersionRecord(
      version: try KeyVersionID(random: environment.random), isEnabled: true, created: now, updated: now,
      publicKey: "", stage: .making)
    guard let record = try await keys.update(path, { $0.allVersions.append(planned) }) else {
      throw VaultErrors.keyUnknown(uri)
    }
    let request = GenerateKeyRequest(
      version: planned.version, type: record.type, role: record.role, label: uri.name.spelling)
    let description: KeyDescription
    do throws(KeyCustodyError) {
      description = try await admission.provider.generate(request, context: context)
    } catch {
      if error.code != .timeout {
        _ = try? await keys.update(path) { $0.allVersions.removeAll { $0.version == planned.version } }
      }
      throw error
    }
    let made = version(description, at: now)
    try await keys.update(path) { record in
      record.allVersions.removeAll { $0.version == made.version }
      record.allVersions.append(made)
    }
    tell(.key(try uri.vault, uri.name))
    return uri.with(version: made.version)
  }

  private func version(_ description: KeyDescription, at now: Timestamp) -> KeyVersionRecord {
    KeyVersionRecord(
      version: description.version, isEnabled: true, created: now, updated: now,
      publicKey: (description.publicKey ?? []).base64URL, stage: .ready)
  }
}

/// A secret that a closure needs: the one owner is this object, which the closure shares.
private final class SharedSecret: Sendable {
  let bytes: SecretBytes
  init(_ secret: borrowing SecretBytes) { bytes = secret.copy() }
}
