import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyVault

/// The checks of SEMANTICS E4, in their order, each with an error of its own.
///
/// The last, a real wrap and unwrap, is made with the new root key.
extension ProtectedResource {
  /// Checks a key, and takes it into use by `body`; where a check fails, what was granted for the customer is taken back.
  func bound(
    to key: KeyURI, _ record: ResourceRecord,
    _ body: (_ holder: PrincipalID, _ key: KeyURI, _ isFollowed: Bool) async throws(KeyCustodyError) -> Void
  ) async throws(KeyCustodyError) {
    let holder = try await grantee(of: record)
    let isFollowed = record.profile.versionChoice == .newest && key.version == nil
    if let place = custody.elsewhere(key, for: record.tenant) {
      return try await body(holder, try await checkKey(key, in: place, for: record, as: holder), isFollowed)
    }
    let name = try key.vault
    try checkAddress(key, of: name)
    try await checkVault(name, for: record)
    let replaced = try await grantForCustomer(holder, in: name, record)
    let full: KeyURI
    do throws(KeyCustodyError) {
      try await checkAccess(holder, to: name)
      full = try await checkKey(key, for: record, as: holder)
    } catch {
      try? await takeBack(replaced, in: name)
      throw error
    }
    // What fails from here on may have happened: nothing that it needs is taken back.
    try await body(holder, full, isFollowed)
  }

  /// Who is to unwrap with the customer's key.
  private func grantee(of record: ResourceRecord) async throws(KeyCustodyError) -> PrincipalID {
    switch record.profile.grantee {
    case .registeredService:
      guard let registered = try await custody.registration(in: record.tenant) else {
        throw KeyCustodyError(
          .invalidInput, .registrationRequired,
          "This service is not registered in the tenant '\(record.tenant)': there is nobody to grant access to.",
          remedy: "Register it: keycustody service register \(record.tenant).")
      }
      return registered
    case .identityGrantedForCustomer: return try await switchIdentityOn()
    case .identityGrantedByCustomer:
      guard let identity = record.identity else {
        throw KeyCustodyError(
          .invalidInput, .identityRequired,
          "The resource '\(id)' has no identity that could be granted access to a key.",
          remedy: "Switch it on first: keycustody resource identity on \(id).")
      }
      return identity
    }
  }

  /// Refuses an address that only looks like one of this deployment's vaults: its key would be another one.
  private func checkAddress(_ key: KeyURI, of vault: VaultName) throws(KeyCustodyError) {
    guard key.authority != custody.vaults.uri(vault, key.name).authority else { return }
    throw KeyCustodyError(
      .notFound, .vaultUnknown,
      "'\(key.authority)' is no vault of this deployment, whose domain is '\(custody.vaults.domain)'.",
      remedy: "Check the key's address; or the operator adds a section for that place to 'customerKeys'.")
  }

  private func checkVault(_ name: VaultName, for record: ResourceRecord) async throws(KeyCustodyError) {
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
    // Soft delete is always on, and access policies are the only permission model.
    guard vault.purgeProtection else {
      throw KeyCustodyError(
        .invalidInput, .purgeProtectionRequired, "The vault '\(name)' has no purge protection: its keys could be lost.",
        remedy: "The vault's administrator can switch it on: keycustody vault protect \(name).")
    }
  }

  /// Grants the identity what it needs, where the profile does that for the customer.
  ///
  /// - Returns: what stood in the place of the rule that was made, if one was made.
  private func grantForCustomer(
    _ identity: PrincipalID, in vault: VaultName, _ record: ResourceRecord
  ) async throws(KeyCustodyError) -> Replaced? {
    guard record.profile.grantee == .identityGrantedForCustomer else { return nil }
    let policy = try await custody.vaults.policy(of: vault)
    guard !policy.permissions(of: identity).isSuperset(of: Self.permissions) else { return nil }
    let name = "allow-\(id.folded)"
    try await custody.vaults.setRule(
      AccessRule(name: name, principal: identity, keys: Set(Self.permissions)), in: vault)
    return Replaced(name: name, rule: policy.rules.first { $0.name == name })
  }

  /// What a rule that was made for the customer took the place of.
  private struct Replaced {
    var name: String
    var rule: AccessRule?
  }

  private func takeBack(_ replaced: Replaced?, in vault: VaultName) async throws(KeyCustodyError) {
    guard let replaced else { return }
    if let rule = replaced.rule {
      try await custody.vaults.setRule(rule, in: vault)
    } else {
      try await custody.vaults.removeRule(replaced.name, in: vault)
    }
  }

  private static var permissions: [KeyPermission] { [.get, .wrapKey, .unwrapKey] }

  private func checkAccess(_ holder: PrincipalID, to vault: VaultName) async throws(KeyCustodyError) {
    let granted = try await custody.vaults.policy(of: vault).permissions(of: holder)
    let missing = Self.permissions.filter { !granted.contains($0) }
    guard missing.isEmpty else {
      throw KeyCustodyError(
        .denied, .grantRequired,
        "The vault '\(vault)' does not grant '\(holder)': \(missing.map(\.rawValue).joined(separator: ", ")).",
        remedy: "The vault's administrator can grant it get, wrapKey and unwrapKey.")
    }
    guard try await custody.vaults.networkRules(of: vault).admits(nil) else {
      throw KeyCustodyError(
        .denied, .networkRefused, "The network rules of the vault '\(vault)' keep this service out.",
        remedy: "The vault's administrator can let trusted services in: keycustody vault network \(vault).")
    }
  }

  private func checkKey(
    _ uri: KeyURI, for record: ResourceRecord, as identity: PrincipalID
  ) async throws(KeyCustodyError) -> KeyURI {
    let key = try await custody.customerKey(
      uri, as: identity, context: CallContext(purpose: .resource, principal: identity, resource: id))
    return try checkFit(key, for: record)
  }

  /// The checks of the key itself.
  private func checkFit(_ key: CustomerKey, for record: ResourceRecord) throws(KeyCustodyError) -> KeyURI {
    guard key.wraps, record.profile.keyTypes.isEmpty || record.profile.keyTypes.contains(key.type) else {
      let types = record.profile.keyTypes.map(\.description).joined(separator: ", ")
      throw KeyCustodyError(
        .invalidInput, .wrongKeyType,
        "The key '\(key.uri)' (\(key.type)\(key.wraps ? "" : ", not for wrapping")) can't be bound here.",
        remedy: "Use a wrapping key\(types.isEmpty ? "" : " of type \(types)").")
    }
    try custody.requireUsable(key)
    return key.uri
  }

  // MARK: Elsewhere

  /// The checks of a key that is in no vault of this deployment, by what its place lets be seen.
  ///
  /// Whether wrapping and unwrapping are granted shows when a root key is wrapped and unwrapped, as the last check.
  private func checkKey(
    _ uri: KeyURI, in place: CustomerKeys, for record: ResourceRecord, as identity: PrincipalID
  ) async throws(KeyCustodyError) -> KeyURI {
    guard place.tenant == nil || place.tenant == record.tenant else {
      throw KeyCustodyError(
        .denied, .otherTenant, "The keys at '\(uri.authority)' do not belong to the tenant of the resource '\(id)'.",
        remedy: "Use a vault of the tenant '\(record.tenant)'.")
    }
    // Asked first, since it may be of another tenant; what else it says has its place below.
    let key = await described(uri, as: identity)
    if case .failure(let error) = key, error.reason == .otherTenant { throw error }
    guard !record.profile.requiresSameRegion || place.region == record.region else {
      throw KeyCustodyError(
        .invalidInput, .otherRegion,
        "The keys at '\(uri.authority)' are in \(place.region.map { "'\($0)'" } ?? "a region that nobody wrote down"), "
          + "the resource in '\(record.region)'.",
        remedy: "Use a vault there; the operator writes its place in 'region' of its section in 'customerKeys'.")
    }
    if case .success(let key) = key, let recovery = key.recovery, recovery != .protected {
      throw KeyCustodyError(
        .invalidInput, .purgeProtectionRequired,
        "The vault '\(uri.authority)' has no purge protection: its keys could be lost.",
        remedy: "The vault's administrator can switch it on.")
    }
    guard !record.profile.requiresAccessPolicies || place.permissionModel == .accessPolicies else {
      throw KeyCustodyError(
        .invalidInput, .otherPermissionModel,
        "The profile '\(record.profile.name)' takes vaults with access policies, and nobody says that "
          + "'\(uri.authority)' has them.",
        remedy: "The operator writes it in 'permissionModel' of its section in 'customerKeys'.")
    }
    return try checkFit(try key.get(), for: record)
  }

  /// What the key's owner lets the grantee know of it.
  private func described(_ uri: KeyURI, as identity: PrincipalID) async -> Result<CustomerKey, KeyCustodyError> {
    do throws(KeyCustodyError) {
      return .success(
        try await custody.customerKey(
          uri, as: identity, context: CallContext(purpose: .resource, principal: identity, resource: id)))
    } catch {
      guard error.reason == .accessDenied else { return .failure(error) }
      return .failure(
        KeyCustodyError(
          .denied, .grantRequired, "'\(uri.authority)' does not let this service read the key '\(uri.name)'.",
          remedy: "The vault's administrator can grant it get, wrapKey and unwrapKey on keys.",
          diagnostic: error.diagnostic))
    }
  }
}
