public import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyVault

extension ProtectedResource {
  /// Gives the resource an identity of its own, which the customer can grant access to a vault (SEMANTICS I2).
  ///
  /// - Throws: `invalidInput` (`already-exists`) when a principal of that name is in the way.
  @discardableResult
  public func switchIdentityOn() async throws(KeyCustodyError) -> PrincipalID {
    let record = try await custody.record(id, refresh: true)
    let found = try await custody.managedIdentity(of: record)
    if let found, found == record.identity { return found }
    let identity: PrincipalID
    if let found {
      // Switching it on was cut off before.
      identity = found
    } else {
      identity = try await custody.identities.createManagedIdentity(for: id, tenant: record.tenant)
    }
    try await custody.change(id) { $0.identity = identity }
    return identity
  }

  /// Takes the resource's identity away: data under the customer's key can't be read until it has one again and that
  /// one is granted access (SEMANTICS I3).
  public func switchIdentityOff() async throws(KeyCustodyError) {
    let record = try await custody.record(id, refresh: true)
    if let identity = try await custody.managedIdentity(of: record) {
      try await custody.identities.delete(identity)
    }
    try await custody.change(id) { $0.identity = nil }
  }

  /// Puts long-term data under the customer's key: new data at once, stored data by converting it.
  ///
  /// Returns when everything in `stores` is converted; the resource works fully meanwhile. When it is interrupted,
  /// ``resumeConversion(of:)`` goes on. Whoever writes meanwhile seals and stores in one step
  /// (``seal(_:as:dataClass:identifiers:storing:)``): the conversion waits for what is on its way into a store.
  ///
  /// - Parameters:
  ///   - key: the key's address; without a version the newest is taken and kept (SEMANTICS E5).
  ///   - stores: where the resource's sealed data is kept, all of it: what is in none of them can't be opened any more
  ///     when the conversion has ended.
  /// - Throws: an error of its own for each check of SEMANTICS E4; nothing is changed then.
  public func enableCustomerKey(_ key: KeyURI, converting stores: [any SealedStore]) async throws(KeyCustodyError) {
    let record = try await custody.record(id, refresh: true)
    guard record.mode == .serviceManaged else { throw wrongState(record.mode, "enabled") }
    guard record.primary(.customer, .longTerm) != nil else {
      throw KeyCustodyError(
        .invalidInput, .dataClassUnknown,
        "The profile '\(record.profile.name)' keeps no long-term data: there is nothing for a customer's key to protect.",
        remedy: "Use a profile with a data class of the group 'longTerm'.")
    }
    let (identity, full) = try await check(key, for: record)
    try await switchOuterLayer(
      of: record, to: .enabling, customerKey: full, kek: full, holder: identity, isCustomerManaged: true)
    try await resumeConversion(of: stores)
  }

  /// Goes over to a newer version of the customer's key, or to another key, without interruption (SEMANTICS E7).
  ///
  /// By the profile's choice the keyset is wrapped anew, or the stored data converted to a new root key.
  public func updateCustomerKey(_ key: KeyURI, converting stores: [any SealedStore]) async throws(KeyCustodyError) {
    let record = try await custody.record(id, refresh: true)
    guard record.mode == .customerManaged else { throw wrongState(record.mode, "updated") }
    let (identity, full) = try await check(key, for: record)
    switch record.profile.rotation {
    case .reencrypt:
      try await switchOuterLayer(
        of: record, to: .updating, customerKey: full, kek: full, holder: identity, isCustomerManaged: true)
      try await resumeConversion(of: stores)
    case .rewrap:
      var rewrapped: [RootKeyRecord] = []
      for old in record.rootKeys where old.isCustomerManaged {
        let material = try await custody.unwrapMaterial(old, of: id)
        var new = try await custody.wrap(
          material, id, layer: old.layer, group: old.group, epoch: old.epoch, kek: full, holder: identity,
          isCustomerManaged: true)
        new.isPrimary = old.isPrimary
        rewrapped.append(new)
      }
      let before = record.rootKeys.filter(\.isCustomerManaged)
      try await custody.change(id) { (current) throws(KeyCustodyError) in
        guard current.rootKeys.filter(\.isCustomerManaged) == before else { throw Self.changedMeanwhile(id) }
        current.rootKeys = current.rootKeys.map { old in rewrapped.first { $0.id == old.id } ?? old }
        current.customerKey = full
      }
      custody.leases.end(rewrapped.map(\.id))
    }
  }

  /// Goes back to service-managed keys: afterwards taking the customer's key away has no effect (SEMANTICS E11).
  ///
  /// - Throws: `denied` and the like while the customer's key is withdrawn: what it protects can't be converted then.
  public func disableCustomerKey(converting stores: [any SealedStore]) async throws(KeyCustodyError) {
    let record = try await custody.record(id, refresh: true)
    guard record.mode == .customerManaged, let key = record.customerKey else {
      throw wrongState(record.mode, "disabled")
    }
    // Without the key nothing could be converted: say so before anything is changed.
    for old in record.rootKeys where old.isCustomerManaged { try await custody.unwrap(old, of: id).destroy() }
    let kek = custody.vaults.uri(try VaultName(ServiceKeys.vaultName), try ServiceKeys.keyName(.customer))
    try await switchOuterLayer(
      of: record, to: .disabling, customerKey: key, kek: kek, holder: custody.servicePrincipal, isCustomerManaged: false
    )
    try await resumeConversion(of: stores)
  }

  /// Makes a new outer root key for long-term data and lets new data use it.
  ///
  /// Never an old one wrapped anew: what a service KEK once wrapped may live on in backups (SEMANTICS E10).
  private func switchOuterLayer(
    of record: ResourceRecord, to mode: EncryptionMode, customerKey: KeyURI, kek: KeyURI, holder: PrincipalID,
    isCustomerManaged: Bool
  ) async throws(KeyCustodyError) {
    let epoch = (record.rootKeys.map(\.epoch).max() ?? 0) + 1
    let new = try await custody.newRootKey(
      id, layer: .customer, group: .longTerm, epoch: epoch, kek: kek, holder: holder,
      isCustomerManaged: isCustomerManaged)
    try await custody.change(id) { (current) throws(KeyCustodyError) in
      guard current.mode == record.mode, current.rootKeys == record.rootKeys else { throw Self.changedMeanwhile(id) }
      current.setPrimary(new)
      current.mode = mode
      current.customerKey = customerKey
    }
  }

  // MARK: The checks of a binding

  /// The checks of SEMANTICS E4, in their order.
  ///
  /// The last, a real wrap and unwrap, is made with the new root key.
  private func check(
    _ key: KeyURI, for record: ResourceRecord
  ) async throws(KeyCustodyError) -> (identity: PrincipalID, key: KeyURI) {
    guard let identity = record.identity else {
      throw KeyCustodyError(
        .invalidInput, .identityRequired, "The resource '\(id)' has no identity that could be granted access to a key.",
        remedy: "Switch it on first: keycustody resource identity on \(id).")
    }
    let name = try key.vault
    guard let vault = try await custody.vaults.definition(name) else {
      throw KeyCustodyError(
        .notFound, .vaultUnknown, "There is no vault '\(name)'.", remedy: "Check the key's address.")
    }
    guard vault.tenant == record.tenant else {
      throw KeyCustodyError(
        .denied, .otherTenant, "The vault '\(name)' does not belong to the tenant of the resource '\(id)'.",
        remedy: "Use a vault of the tenant '\(record.tenant)'.")
    }
    guard !record.profile.requiresSameRegion || vault.region == record.region else {
      throw KeyCustodyError(
        .invalidInput, .otherRegion, "The vault '\(name)' is in '\(vault.region)', the resource in '\(record.region)'.",
        remedy: "Use a vault in the region '\(record.region)'.")
    }
    guard vault.purgeProtection else {
      throw KeyCustodyError(
        .invalidInput, .purgeProtectionRequired, "The vault '\(name)' has no purge protection: its keys could be lost.",
        remedy: "The vault's administrator can switch it on: keycustody vault protect \(name).")
    }
    let granted = try await custody.vaults.policy(of: name).permissions(of: identity)
    let missing = [KeyPermission.get, .wrapKey, .unwrapKey].filter { !granted.contains($0) }
    guard missing.isEmpty else {
      throw KeyCustodyError(
        .denied, .grantRequired,
        "The vault '\(name)' does not grant '\(identity)': \(missing.map(\.rawValue).joined(separator: ", ")).",
        remedy: "The vault's administrator can grant it get, wrapKey and unwrapKey.")
    }
    return (identity, try await checkKey(key, for: record, as: identity))
  }

  private func checkKey(
    _ uri: KeyURI, for record: ResourceRecord, as identity: PrincipalID
  ) async throws(KeyCustodyError) -> KeyURI {
    let caller = try await custody.principal(identity)
    let key = try await custody.vaults.key(
      uri, as: caller, context: CallContext(purpose: .resource, principal: identity, resource: id))
    guard key.role == .wrapping, record.profile.keyTypes.isEmpty || record.profile.keyTypes.contains(key.type) else {
      let types = record.profile.keyTypes.map(\.description).joined(separator: ", ")
      throw KeyCustodyError(
        .invalidInput, .wrongKeyType, "The key '\(uri)' (\(key.type), \(key.role.rawValue)) can't be bound here.",
        remedy: "Use a wrapping key\(types.isEmpty ? "" : " of type \(types)").")
    }
    guard let version = uri.version.map({ wanted in key.versions.first { $0.version == wanted } }) ?? key.newest else {
      throw KeyCustodyError(
        .notFound, .keyVersionUnknown, "There is no key '\(uri)'.", remedy: "Check the version in the key's address.")
    }
    let full = uri.with(version: version.version)
    guard version.isEnabled else {
      throw KeyCustodyError(
        .disabled, .keyDisabled, "The key version '\(full)' is disabled.", remedy: "The key's owner can enable it.")
    }
    guard version.isValid(at: custody.environment.time.now()) else {
      throw KeyCustodyError(
        .disabled, .keyOutsideValidity, "The key version '\(full)' is not yet, or no longer, valid.",
        remedy: "The key's owner can change its dates; or name another version.")
    }
    return full
  }

  private func wrongState(_ mode: EncryptionMode, _ wanted: String) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .wrongResourceState,
      "The customer's key of '\(id)' can't be \(wanted) while the resource is \(mode.rawValue).",
      remedy: "'keycustody resource status \(id)' shows where it stands; a conversion under way is finished first.")
  }

  static func changedMeanwhile(_ id: ResourceID) -> KeyCustodyError {
    KeyCustodyError(
      .busy, .conflict, "The keyset of '\(id)' was changed by somebody else meanwhile; nothing was done.",
      remedy: "Look at its status, then try again.", retryAfter: .milliseconds(100))
  }
}
