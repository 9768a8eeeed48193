public import KeyCustody

extension Vaults {
  /// What becomes of a creation whose name is taken by a key that is there.
  public enum OnExisting: Sendable {
    /// It is refused.
    case refuse
    /// The key gets a new version, of whatever type, as on the Key Vault wire.
    case addVersion
  }

  /// Whether a key is made so that it can be backed up.
  package enum Backups: Sendable {
    /// It is not, unless it gets a version and is a key that can be.
    case never
    /// It is, or it is not made.
    case required
    /// It is where the provider can, and a key that is there stays what it is.
    case whereOffered
  }

  /// Makes a key with its first version.
  ///
  /// - Parameter isBackupable: whether the key can be backed up; such a key is extractable in a token's terms.
  /// - Throws: `denied`; `invalidInput` (`already-exists`; `deleted-but-recoverable` while a soft-deleted key blocks the
  ///   name; `key-operation-impossible`, `bad-tags`); `unsupported` for a type, or a backup, that the vault's provider
  ///   does not offer.
  @discardableResult
  public func createKey(
    _ uri: KeyURI, type: KeyType, role: KeyRole, attributes: KeyAttributes = KeyAttributes(),
    protection: KeyProtection = .software, isBackupable: Bool = false, onExisting: OnExisting = .refuse,
    as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyBundle {
    try await createKey(
      uri, type: type, role: role, attributes: attributes, protection: protection,
      backups: isBackupable ? .required : .never, onExisting: onExisting, as: caller, context: context)
  }

  /// Makes a key as ``createKey(_:type:role:attributes:protection:isBackupable:onExisting:as:context:)`` does.
  @discardableResult
  package func createKey(
    _ uri: KeyURI, type: KeyType, role: KeyRole, attributes: KeyAttributes, protection: KeyProtection,
    backups: Backups, onExisting: OnExisting, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyBundle {
    try await change(.create, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      if let made = try await self.made(uri, admission) { return made }
      var planned = try self.plan(.making, attributes, admission)
      planned.storedProtection = protection.stored
      let empty = try self.empty(uri, type, role, attributes, backups, planned, admission)
      try admission.provider(of: planned).capabilities.require(.generate(type))
      let (version, key) = try await self.enter(planned, of: empty, at: uri, onExisting, backups, admission, context)
      return try await self.make(version, of: key, at: uri, .generated, admission, context)
    }
  }

  /// Makes a new version of a key, which becomes the newest.
  ///
  /// Older versions stay as they are. The new one has the allowed operations and tags of the newest before, and expires
  /// when the rotation policy says so.
  ///
  /// - Throws: `denied`, `notFound`, `disabled` (soft-deleted); `invalidInput` (`too-many-versions`).
  @discardableResult
  public func rotateKey(
    _ uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyBundle {
    try await change(.rotate, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      try await self.rotate(uri, admission, context)
    }
  }

  /// Brings in a key from outside: PKCS#8 DER for RSA and EC, the bare bytes for AES.
  ///
  /// Where the name is taken by a key, it gets a new version.
  ///
  /// - Throws: `denied`, `invalidInput`, `unsupported`.
  @discardableResult
  public func importKey(
    _ material: borrowing SecretBytes, to uri: KeyURI, type: KeyType, role: KeyRole,
    attributes: KeyAttributes = KeyAttributes(), protection: KeyProtection = .software, isBackupable: Bool = false,
    as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyBundle {
    try await importKey(
      material, to: uri, type: type, role: role, attributes: attributes, protection: protection,
      backups: isBackupable ? .required : .never, as: caller, context: context)
  }

  /// Brings in a key as ``importKey(_:to:type:role:attributes:protection:isBackupable:as:context:)`` does.
  @discardableResult
  package func importKey(
    _ material: borrowing SecretBytes, to uri: KeyURI, type: KeyType, role: KeyRole, attributes: KeyAttributes,
    protection: KeyProtection, backups: Backups, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyBundle {
    let copy = SharedSecret(material.copy())
    return try await change(.import, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      if let made = try await self.made(uri, admission) { return made }
      var planned = try self.plan(.importing, attributes, admission)
      planned.storedProtection = protection.stored
      let empty = try self.empty(uri, type, role, attributes, backups, planned, admission)
      try admission.provider(of: planned).capabilities.require(.importing(type))
      let (version, key) = try await self.enter(planned, of: empty, at: uri, .addVersion, backups, admission, context)
      return try await self.make(version, of: key, at: uri, .imported(copy), admission, context)
    }
  }

  /// Changes the attributes of a version (without one in the address: of the newest).
  @discardableResult
  public func updateKey(
    _ uri: KeyURI, _ attributes: KeyAttributes, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyBundle {
    try await change(.update, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      _ = try await self.living(uri)
      let now = self.environment.time.now()
      defer { self.tell(uri) }
      var changed: KeyVersionRecord?
      let updated = try await self.keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        if let deletion = record.deletion { throw VaultErrors.deleted(uri, until: deletion.scheduledPurge) }
        guard let wanted = uri.version ?? record.newest?.version,
          let index = record.allVersions.firstIndex(where: { $0.version == wanted && $0.isLiving })
        else { throw VaultErrors.keyUnknown(uri) }
        let (before, version) = (record, record.allVersions[index])
        try attributes.validate(record.type(of: version), record.role(of: version))
        record.allVersions[index].set(attributes, at: now)
        // A version can always be switched off.
        if attributes != KeyAttributes(isEnabled: attributes.isEnabled) {
          try RecordRoom.checkAttributes(record, was: before, of: uri.description)
        }
        changed = record.allVersions[index]
      }
      guard let updated, let changed else { throw VaultErrors.keyUnknown(uri) }
      return (self.bundle(updated, changed, in: admission.vault), uri)
    }
  }

  /// Changes the attributes of a version, the commonest ones.
  @discardableResult
  public func updateKey(
    _ uri: KeyURI, isEnabled: Bool? = nil, notBefore: Timestamp? = nil, expires: Timestamp? = nil,
    as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> KeyBundle {
    try await updateKey(
      uri, KeyAttributes(isEnabled: isEnabled, notBefore: notBefore, expires: expires), as: caller, context: context)
  }

  /// Adds a version to the key, and makes it.
  func rotate(
    _ uri: KeyURI, _ admission: Admission, _ context: CallContext
  ) async throws(KeyCustodyError) -> (KeyBundle, KeyURI) {
    if let made = try await made(uri, admission) { return made }
    _ = try await living(uri)
    var planned = try plan(.making, KeyAttributes(), admission)
    let key = try await keys.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
      if let deletion = record.deletion { throw VaultErrors.deleted(uri, until: deletion.scheduledPurge) }
      planned.chosenOperations = record.newest?.chosenOperations
      planned.storedTags = record.newest?.storedTags
      planned.storedProtection = record.newest?.storedProtection
      planned = record.entry(planned, record.type, record.role)
      planned.expires = record.rotationPolicy?.expiryTime.map { $0.after(planned.created) }
      guard !record.allVersions.contains(where: { $0.version == planned.version }) else { return }
      record.allVersions.append(planned)
      try RecordRoom.checkVersions(record, of: uri.description)
    }
    guard let key else { throw VaultErrors.keyUnknown(uri) }
    return try await make(planned, of: key, at: uri, .generated, admission, context)
  }

  /// What a key is before it has versions, if the provider and the type allow what is asked.
  private func empty(
    _ uri: KeyURI, _ type: KeyType, _ role: KeyRole, _ attributes: KeyAttributes, _ backups: Backups,
    _ planned: KeyVersionRecord, _ admission: Admission
  ) throws(KeyCustodyError) -> KeyRecord {
    try GenerateKeyRequest(version: planned.version, type: type, role: role).validate()
    try attributes.validate(type, role)
    let offered = try admission.provider(of: planned).capabilities
    if backups == .required { try offered.require(.backup) }
    return KeyRecord(
      name: uri.name, firstType: type, firstRole: role, allVersions: [], deletion: nil,
      canBeBackedUp: backups != .never && offered.offers(.backup) ? true : nil)
  }

  /// The key, if it is there and not deleted.
  func living(_ uri: KeyURI) async throws(KeyCustodyError) -> KeyRecord {
    guard let record = try await keys.read(try Self.path(uri)) else { throw VaultErrors.keyUnknown(uri) }
    // First: while it is purged it is deleted, though none of its versions is left.
    if let deletion = record.deletion { throw VaultErrors.deleted(uri, until: deletion.scheduledPurge) }
    guard record.allVersions.contains(where: \.isLiving) else { throw VaultErrors.keyUnknown(uri) }
    return record
  }
}
