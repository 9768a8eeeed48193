package import KeyCustody
package import KeyCustodyVault

/// A vault, and from where it may be reached.
package struct VaultDescription: Codable, Sendable {
  /// What is fixed or switched.
  package var definition: VaultDefinition
  /// From where it may be reached.
  package var network: NetworkRules
}

extension Administration {
  /// The vaults of a tenant; every vault where none is named, for the operator.
  package func vaults(of tenant: TenantID?) async throws(KeyCustodyError) -> [VaultDefinition] {
    let act = AdministrativeAct("vaults/list", on: tenant?.description ?? "-")
    try await admit(act, in: tenant)
    return try await look(act) { () async throws(KeyCustodyError) in
      try await self.vaults.definitions().filter { tenant == nil || $0.tenant == tenant }
    }
  }

  /// Makes a vault, in which the operator may do everything but use its keys and read its secrets.
  ///
  /// - Throws: `denied`; what ``Vaults/create(_:by:)`` throws.
  package func createVault(_ definition: VaultDefinition) async throws(KeyCustodyError) {
    try await admit(
      AdministrativeAct("vaults/create", on: vaults.address(definition.name)), in: definition.tenant)
    guard definition.name.folded != "login" else {
      throw KeyCustodyError(
        .invalidInput, .badName, "No vault can be called 'login': tokens are asked for at that host.",
        remedy: "Choose another name.")
    }
    try await vaults.create(definition, by: administrator)
    try await vaults.setRule(
      try await custody.administratorRule(of: definition.tenant), in: definition.name, by: administrator)
  }

  /// A vault, and from where it may be reached.
  package func vault(_ name: VaultName) async throws(KeyCustodyError) -> VaultDescription {
    let act = AdministrativeAct("vaults/get", on: vaults.address(name))
    let definition = try await vault(name, act)
    return try await look(act) { () async throws(KeyCustodyError) in
      VaultDescription(definition: definition, network: try await self.vaults.networkRules(of: name))
    }
  }

  /// Turns purge protection on, for good.
  package func protectVault(_ name: VaultName) async throws(KeyCustodyError) {
    _ = try await vault(name, AdministrativeAct("vaults/protect", on: vaults.address(name)))
    try await vaults.enablePurgeProtection(name, by: administrator)
  }

  /// Deletes a vault that holds nothing any more.
  ///
  /// - Throws: `denied`; what ``Vaults/delete(_:by:)`` throws.
  package func deleteVault(_ name: VaultName) async throws(KeyCustodyError) {
    _ = try await vault(name, AdministrativeAct("vaults/delete", on: vaults.address(name)))
    try await vaults.delete(name, by: administrator)
  }

  /// Gives a vault to another tenant, whose administrator may do in it what they may in every vault of theirs.
  ///
  /// - Throws: `denied` for everybody but the operator.
  package func moveVault(_ name: VaultName, to tenant: TenantID) async throws(KeyCustodyError) {
    let act = AdministrativeAct("vaults/move", on: vaults.address(name))
    _ = try await vault(name, act)
    // An administrator of either tenant would reach into the other.
    guard !isLimited else {
      let error = KeyCustodyError(
        .denied, .accessDenied, "Only whoever runs the deployment moves vaults from tenant to tenant.",
        remedy: "Ask them: 'keycustody vault move' on the server's own machine.")
      return try await refuse(act, "operator-only", error)
    }
    try await vaults.move(name, to: tenant, by: administrator)
    try await vaults.setRule(try await custody.administratorRule(of: tenant), in: name, by: administrator)
  }

  /// Sets from where a vault may be reached.
  package func setNetworkRules(_ rules: NetworkRules, in name: VaultName) async throws(KeyCustodyError) {
    _ = try await vault(name, AdministrativeAct("vaults/setNetwork", on: vaults.address(name)))
    try await vaults.setNetworkRules(rules, in: name, by: administrator)
  }

  // MARK: Rules

  /// The rules of a vault.
  package func policy(of name: VaultName) async throws(KeyCustodyError) -> AccessPolicy {
    let act = AdministrativeAct("policies/list", on: "\(vaults.address(name))/policies")
    _ = try await vault(name, act)
    return try await look(act) { () async throws(KeyCustodyError) in try await self.vaults.policy(of: name) }
  }

  /// Sets what a principal may do in a vault, or may not, in place of what was set before.
  package func setPolicy(
    _ id: PrincipalID, _ effect: AccessRule.Effect, keys: Set<KeyPermission>, secrets: Set<SecretPermission>,
    in name: VaultName
  ) async throws(KeyCustodyError) -> AccessPolicy {
    _ = try await vault(name, AdministrativeAct("policies/set", on: "\(vaults.address(name))/policies/\(id)"))
    let rule = AccessRule(
      name: "\(effect == .deny ? "deny " : "")\(id.tenant.folded)/\(id.subject.folded)", principal: id,
      effect: effect, keys: keys, secrets: secrets)
    try await vaults.setRule(rule, in: name, by: administrator)
    // Whatever its name: a rule that stayed would go on granting what is not among these permissions.
    for old in try await vaults.policy(of: name).rules
    where old.principal == id && old.effect == rule.effect && old.name != rule.name {
      try await vaults.removeRule(old.name, in: name, by: administrator)
    }
    return try await vaults.policy(of: name)
  }

  /// Withdraws a principal's rules in a vault.
  package func deletePolicy(
    _ id: PrincipalID, in name: VaultName
  ) async throws(KeyCustodyError) -> AccessPolicy {
    let act = AdministrativeAct("policies/delete", on: "\(vaults.address(name))/policies/\(id)", "no rules")
    _ = try await vault(name, act)
    let rules = try await vaults.policy(of: name).rules.filter { $0.principal == id }
    guard !rules.isEmpty else {
      return try await look(act) { () async throws(KeyCustodyError) in try await self.vaults.policy(of: name) }
    }
    for rule in rules { try await vaults.removeRule(rule.name, in: name, by: administrator) }
    return try await vaults.policy(of: name)
  }

  // MARK: Questions

  /// How a vault was administered, oldest first, a page at a time.
  package func records(
    of name: VaultName, _ request: AuditPageRequest
  ) async throws(KeyCustodyError) -> AuditPage {
    let act = AdministrativeAct("audit/list", on: vaults.address(name))
    _ = try await vault(name, act)
    return try await look(act) { () async throws(KeyCustodyError) in
      try await self.vaults.administrationRecords(of: name, request)
    }
  }

  /// Why a principal may, or may not, do something in a vault.
  package func explain(
    _ permission: Permission, of id: PrincipalID, key: KeyURI?, in name: VaultName
  ) async throws(KeyCustodyError) -> AccessExplanation {
    _ = try await vault(name, AdministrativeAct("explain", on: vaults.address(name), "\(permission) of \(id)"))
    let principal = Principal(id: id, kind: .user, method: .token, expires: Timestamp(milliseconds: .max))
    return try await vaults.explain(permission, in: name, key: key, for: principal, by: administrator)
  }
}
