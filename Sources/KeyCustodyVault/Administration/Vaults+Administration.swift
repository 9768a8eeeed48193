public import KeyCustody

/// Making vaults and setting their rules: for the host program, which decides who may, and says for whom it is done.
extension Vaults {
  package var administration: AdministrationLog { AdministrationLog(audit, time: environment.time) }

  /// Where a vault is.
  package func address(_ vault: VaultName) -> String { "https://\(vault.folded).\(domain)" }

  /// Makes a vault without any rules: nobody may do anything yet.
  ///
  /// - Throws: `invalidInput` (`already-exists`, `wrong-size`, `bad-configuration-value`).
  public func create(
    _ definition: VaultDefinition, by administrator: Administrator = .host
  ) async throws(KeyCustodyError) {
    let days = definition.softDeleteDays
    let protection = definition.purgeProtection ? ", purge protection" : ""
    let act = AdministrativeAct(
      "vaults/create", on: address(definition.name),
      "tenant \(definition.tenant), keys in \(definition.keyProvider), \(days) days\(protection)")
    try await administration.change(act, by: administrator) { () async throws(KeyCustodyError) in
      guard (7...90).contains(days) else {
        throw KeyCustodyError(
          .invalidInput, .wrongSize, "A deleted key is kept for 7 to 90 days, not \(days).",
          remedy: "Choose a number of days in between.")
      }
      let provider = try self.named(definition.keyProvider)
      let hsm: (any KeyProvider)? = if let name = definition.hsmKeyProvider { try self.named(name) } else { nil }
      let record = VaultRecord(
        definition: definition, provider: provider.identity, hsmProvider: hsm?.identity,
        created: self.environment.time.now())
      guard try await self.records.create(try Self.path(definition.name, "definition"), record) else {
        throw KeyCustodyError(
          .invalidInput, .alreadyExists, "The vault '\(definition.name)' exists already, or was deleted.",
          remedy: "Choose another name: that of a deleted vault is not used again.")
      }
    }
  }

  /// Turns purge protection on, for good.
  public func enablePurgeProtection(
    _ name: VaultName, by administrator: Administrator = .host
  ) async throws(KeyCustodyError) {
    let act = AdministrativeAct("vaults/protect", on: address(name))
    try await administration.change(act, by: administrator) { () async throws(KeyCustodyError) in
      try await self.update(name) { $0.definition.purgeProtection = true }
    }
  }

  /// Gives a vault to another tenant: nothing crosses a tenant, so all of its rules go, and nobody may do anything in it
  /// until new ones are set (SEMANTICS I5).
  ///
  /// When it fails it can be repeated.
  public func move(
    _ name: VaultName, to tenant: TenantID, by administrator: Administrator = .host
  ) async throws(KeyCustodyError) {
    let act = AdministrativeAct("vaults/move", on: address(name), "to tenant \(tenant)")
    try await administration.change(act, by: administrator) { () async throws(KeyCustodyError) in
      // Told whatever comes of it: of a lost answer nobody knows.
      defer { self.tell(.vault(name)) }
      try await self.update(name) { $0.definition.tenant = tenant }
      // Of principals of the old tenant, who are refused from the moment before.
      _ = try await self.policies.remove(try Self.path(name, "policy"))
    }
  }

  /// Sets from where a vault may be reached; acts at once.
  public func setNetworkRules(
    _ rules: NetworkRules, in vault: VaultName, by administrator: Administrator = .host
  ) async throws(KeyCustodyError) {
    let act = AdministrativeAct("vaults/setNetwork", on: address(vault), rules.summary)
    try await administration.change(act, by: administrator) { () async throws(KeyCustodyError) in
      defer { self.tell(.vault(vault)) }
      try await self.update(vault) { $0.networkRules = rules }
    }
  }

  /// From where a vault may be reached.
  public func networkRules(of vault: VaultName) async throws(KeyCustodyError) -> NetworkRules {
    try await required(vault).network
  }

  /// Sets the rule of that name, replacing an earlier one.
  public func setRule(
    _ rule: AccessRule, in vault: VaultName, by administrator: Administrator = .host
  ) async throws(KeyCustodyError) {
    let act = AdministrativeAct("policies/set", on: "\(address(vault))/policies/\(rule.principal)", rule.summary)
    try await administration.change(act, by: administrator) { () async throws(KeyCustodyError) in
      _ = try await self.required(vault)
      let path = try Self.path(vault, "policy")
      // Told whatever comes of it: of a lost answer nobody knows.
      var concerned: Set = [rule.principal]
      defer { self.tell(.policy(vault, concerned)) }
      _ = try await self.policies.create(path, AccessPolicy())
      try await self.policies.update(path) { policy in
        concerned.formUnion(policy.rules.filter { $0.name == rule.name }.map(\.principal))
        policy.rules.removeAll { $0.name == rule.name }
        policy.rules.append(rule)
      }
    }
  }

  /// Removes the rule of that name; acts at once.
  public func removeRule(
    _ name: String, in vault: VaultName, by administrator: Administrator = .host
  ) async throws(KeyCustodyError) {
    let path = try Self.path(vault, "policy")
    let known = try await policies.read(path)?.rules.first { $0.name == name }
    let act = AdministrativeAct(
      "policies/delete", on: "\(address(vault))/policies/\(known?.principal.description ?? "-")",
      known?.summary ?? "no rule of that name")
    try await administration.change(act, by: administrator) { () async throws(KeyCustodyError) in
      _ = try await self.required(vault)
      var concerned: Set<PrincipalID> = []
      defer { self.tell(.policy(vault, concerned)) }
      try await self.policies.update(path) { policy in
        concerned.formUnion(policy.rules.filter { $0.name == name }.map(\.principal))
        policy.rules.removeAll { $0.name == name }
      }
    }
  }

  /// The rules of a vault.
  public func policy(of vault: VaultName) async throws(KeyCustodyError) -> AccessPolicy {
    _ = try await required(vault)
    return try await policies.read(try Self.path(vault, "policy")) ?? AccessPolicy()
  }

  /// Changes a vault that is there.
  func update(_ name: VaultName, _ change: (inout VaultRecord) -> Void) async throws(KeyCustodyError) {
    let written = try await records.update(try Self.path(name, "definition")) { (record) throws(KeyCustodyError) in
      guard record.deletion == nil else { throw VaultErrors.vaultUnknown(name) }
      change(&record)
    }
    guard written != nil else { throw VaultErrors.vaultUnknown(name) }
  }

  private func named(_ name: String) throws(KeyCustodyError) -> any KeyProvider {
    if let provider = providers[name] { return provider }
    throw KeyCustodyError(
      .invalidInput, .badConfigurationValue, "There is no key provider '\(name)'.",
      remedy: "Use one of: \(providers.keys.sorted().joined(separator: ", ")).")
  }
}
