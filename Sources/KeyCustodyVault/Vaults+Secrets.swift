public import KeyCustody

/// Secrets: small values under a key of the vault's own (SEMANTICS V10).
///
/// Each version's value is encrypted by AES-256-GCM under a data key of its own, which a key wraps that the vault's
/// provider holds; vault, name and version are authenticated with it, so that no value can take another's place.
extension Vaults {
  /// The largest value, in bytes.
  public static let largestSecret = 25_600

  /// The address of a secret.
  public func secretURI(_ vault: VaultName, _ name: SecretName, version: KeyVersionID? = nil) -> SecretURI {
    SecretURI(authority: "\(vault.folded).\(domain)", name: name, version: version)
  }

  /// Makes a secret, or a new version of one.
  ///
  /// - Throws: `denied`; `invalidInput` (`wrong-size` for more than ``largestSecret`` bytes, `bad-tags`,
  ///   `too-many-versions`; `deleted-but-recoverable` while a soft-deleted secret blocks the name); what the provider
  ///   throws.
  @discardableResult
  public func setSecret(
    _ value: borrowing SecretBytes, at uri: SecretURI, attributes: SecretAttributes = SecretAttributes(),
    as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> SecretBundle {
    let shared = SharedSecret(value.copy())
    return try await change(.secret(.set), on: uri, by: .caller(caller), context: context) {
      (admission) throws(KeyCustodyError) in
      guard shared.bytes.count <= Self.largestSecret else {
        throw KeyCustodyError(
          .invalidInput, .wrongSize, "A secret of \(shared.bytes.count) bytes is over the \(Self.largestSecret) kept.",
          remedy: "Store it sealed elsewhere, and its key here.")
      }
      try attributes.validate()
      let fresh = try KeyVersionID(random: self.environment.random)
      let planned = SecretVersionRecord(admission.version ?? fresh, attributes, at: self.environment.time.now())
      let (made, isFirst) = try await self.enter(planned, at: uri, in: admission.vault)
      if let made { return (made, made.uri) }
      try await self.store(shared, as: planned, at: uri, isFirst: isFirst, admission, context)
      var isThere = false
      let updated = try await self.secrets.update(try Self.path(uri)) { record in
        let index = record.allVersions.firstIndex { $0.version == planned.version }
        isThere = index != nil && !record.isPurging
        guard let index, isThere, !record.allVersions[index].isReady else { return }
        var ready = record.allVersions.remove(at: index)
        ready.isReady = true
        record.allVersions.append(ready)
      }
      guard let updated, isThere, let version = updated.versions.first(where: { $0.version == planned.version }) else {
        _ = try await self.secretValues.remove(try Self.valuePath(uri, planned.version))
        throw VaultErrors.secretPurged(uri)
      }
      let bundle = self.bundle(updated, version, in: admission.vault)
      return (bundle, bundle.uri)
    }
  }

  /// Reads a secret's value (without a version in the address: the newest); also of one that has expired.
  ///
  /// - Throws: `denied`, `notFound`, `disabled` (`secret-disabled`, `secret-deleted`); `integrityFailure` for a value
  ///   that was altered; what the provider throws.
  public func secret(
    _ uri: SecretURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> RevealedSecret {
    let (bundle, value) = try await perform(.secret(.get), on: uri, by: .caller(caller), context: context) {
      (admission) throws(KeyCustodyError) in
      let (record, version) = try await self.living(uri)
      let bundle = self.bundle(record, version, in: admission.vault)
      guard version.isEnabled else { throw VaultErrors.secretDisabled(bundle.uri) }
      guard let sealed = try await self.secretValues.read(try Self.valuePath(uri, version.version)) else {
        throw KeyCustodyError(
          .integrityFailure, .damaged, "The value of '\(bundle.uri)' is missing.",
          remedy: "Restore the policy store from a backup.")
      }
      let names = ["secret", uri.name.folded, version.version.description]
      let value = try await self.open(sealed, as: names, admission, context)
      return ((bundle, SharedSecret(value)), bundle.uri)
    }
    return RevealedSecret(bundle: bundle, value: value.bytes.copy())
  }

  /// Changes the attributes of a version (without one in the address: of the newest).
  @discardableResult
  public func updateSecret(
    _ uri: SecretURI, _ attributes: SecretAttributes, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> SecretBundle {
    try await change(.secret(.set), on: uri, by: .caller(caller), context: context) {
      (admission) throws(KeyCustodyError) in
      try attributes.validate()
      _ = try await self.living(uri)
      let now = self.environment.time.now()
      var changed: SecretVersionRecord?
      let updated = try await self.secrets.update(try Self.path(uri)) { (record) throws(KeyCustodyError) in
        if let deletion = record.deletion { throw VaultErrors.secretDeleted(uri, until: deletion.scheduledPurge) }
        guard let wanted = uri.version ?? record.newest?.version,
          let index = record.allVersions.firstIndex(where: { $0.version == wanted && $0.isReady })
        else { throw VaultErrors.secretUnknown(uri) }
        let before = record
        record.allVersions[index].set(attributes, at: now)
        // A version can always be switched off.
        if attributes != SecretAttributes(isEnabled: attributes.isEnabled) {
          try RecordRoom.checkAttributes(record, was: before, of: uri.description)
        }
        changed = record.allVersions[index]
      }
      guard let updated, let changed else { throw VaultErrors.secretUnknown(uri) }
      let bundle = self.bundle(updated, changed, in: admission.vault)
      return (bundle, bundle.uri)
    }
  }

  /// The secrets of a vault, each by its newest version and without its value, ordered by name.
  public func listSecrets(
    in vault: VaultName, after token: String? = nil, limit: Int? = nil, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> Page<SecretBundle> {
    let target = collection("secrets", in: vault)
    return try await perform(.secret(.list), on: target, by: .caller(caller), context: context) {
      (admission) throws(KeyCustodyError) in
      let page = try await self.page(self.secrets, "secrets", in: vault, after: token, limit: limit) { record in
        record.deletion == nil ? record.newest.map { self.bundle(record, $0, in: admission.vault) } : nil
      }
      return (page, target)
    }
  }

  /// The versions of a secret, in an order of their own; none of a secret that is not there or deleted.
  public func listVersions(
    of uri: SecretURI, after token: String? = nil, limit: Int? = nil, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> Page<SecretBundle> {
    try await perform(.secret(.list), on: uri, by: .caller(caller), context: context) {
      (admission) throws(KeyCustodyError) in
      let record = try await self.secrets.read(try Self.path(uri)).flatMap { $0.deletion == nil ? $0 : nil }
      let page = try PageToken.page(
        record?.versions ?? [], by: \.version.description, of: "versions/\(uri.name.folded)", after: token, limit: limit
      ) { version in record.map { self.bundle($0, version, in: admission.vault) } }
      return (page, uri)
    }
  }

  /// Enters a version whose value is to be stored.
  ///
  /// - Returns: the version, where an earlier attempt at the same request made it; and whether there was none.
  private func enter(
    _ planned: SecretVersionRecord, at uri: SecretURI, in vault: VaultDefinition
  ) async throws(KeyCustodyError) -> (made: SecretBundle?, isFirst: Bool) {
    let path = try Self.path(uri)
    let fresh = SecretRecord(name: uri.name, allVersions: [planned])
    if try await secrets.create(path, fresh) {
      try await confirm([planned], at: uri, in: vault.name)
      return (nil, true)
    }
    var earlier: SecretVersionRecord?
    let updated = try await secrets.update(path) { (record) throws(KeyCustodyError) in
      if let deletion = record.deletion {
        throw VaultErrors.recoverable(uri.description, until: deletion.scheduledPurge)
      }
      earlier = record.allVersions.first { $0.version == planned.version }
      guard earlier == nil else { return }
      record.allVersions.append(planned)
      try RecordRoom.checkVersions(record, of: uri.description)
    }
    guard let updated else { throw VaultErrors.secretPurged(uri) }
    try await confirm(earlier == nil ? [planned] : [], at: uri, in: vault.name)
    guard let earlier else { return (nil, true) }
    return (earlier.isReady ? bundle(updated, earlier, in: vault) : nil, false)
  }

  /// Stores the value of a version that was entered; the record does not go on naming one that surely has none.
  ///
  /// - Parameter isFirst: whether no earlier attempt at the same request can have stored it.
  private func store(
    _ value: SharedSecret, as planned: SecretVersionRecord, at uri: SecretURI, isFirst: Bool, _ admission: Admission,
    _ context: CallContext
  ) async throws(KeyCustodyError) {
    var isSealed = false
    do throws(KeyCustodyError) {
      let names = ["secret", uri.name.folded, planned.version.description]
      let sealed = try await seal(value.bytes, as: names, admission, context)
      isSealed = true
      // A value that an earlier attempt stored is the same request's.
      _ = try await secretValues.create(try Self.valuePath(uri, planned.version), sealed)
    } catch {
      // After a lost answer of the store it may be there.
      let mayBeStored = !isFirst || isSealed && (error.code == .timeout || error.code == .fault)
      if !mayBeStored {
        _ = try? await secrets.update(try Self.path(uri)) { record in
          guard !record.isPurging else { return }
          record.allVersions.removeAll { $0.version == planned.version && !$0.isReady }
        }
      }
      throw error
    }
  }

  /// The secret, if it is there and not deleted, and the version meant.
  func living(_ uri: SecretURI) async throws(KeyCustodyError) -> (SecretRecord, SecretVersionRecord) {
    guard let record = try await secrets.read(try Self.path(uri)), !record.versions.isEmpty else {
      throw VaultErrors.secretUnknown(uri)
    }
    if let deletion = record.deletion { throw VaultErrors.secretDeleted(uri, until: deletion.scheduledPurge) }
    guard
      let version = uri.version.map({ wanted in record.versions.first { $0.version == wanted } }) ?? record.newest
    else { throw VaultErrors.secretUnknown(uri) }
    return (record, version)
  }

  func bundle(_ record: SecretRecord, _ version: SecretVersionRecord, in vault: VaultDefinition) -> SecretBundle {
    SecretBundle(
      uri: secretURI(vault.name, record.name, version: version.version), attributes: version,
      recovery: RecoveryLevel(vault))
  }

  static func path(_ uri: SecretURI) throws(KeyCustodyError) -> RecordKey {
    try RecordKey("vaults/\(try uri.vault.folded)/secrets/\(uri.name.folded)")
  }

  static func valuePath(_ uri: SecretURI, _ version: KeyVersionID) throws(KeyCustodyError) -> RecordKey {
    try RecordKey("vaults/\(try uri.vault.folded)/secret-values/\(uri.name.folded)/\(version)")
  }
}
