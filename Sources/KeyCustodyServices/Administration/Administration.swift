package import KeyCustody
package import KeyCustodyVault

/// Vaults, their rules and identities, administered for somebody: the operator everywhere, an administrator in its own
/// tenant alone, nobody else.
///
/// Every change, and everything that an administrator asks for, is on record before it is answered; so is what was
/// refused. The right to administer gives no permission on any key or secret.
package struct Administration: Sendable {
  let custody: KeyCustody
  package let administrator: Administrator
  /// Whose right is decided on; `nil`: the operator, who needs none.
  private let caller: Principal?

  private init(_ custody: KeyCustody, _ administrator: Administrator, _ caller: Principal?) {
    self.custody = custody
    self.administrator = administrator
    self.caller = caller
  }

  /// Administration by whoever runs the deployment.
  package init(of custody: KeyCustody, by administrator: Administrator = .host) {
    self.init(custody, administrator, nil)
  }

  /// Administration by an authenticated principal; whether it may is decided at each act.
  package init(of custody: KeyCustody, by caller: Principal, context: CallContext) {
    self.init(custody, Administrator(caller, context: context), caller)
  }

  var vaults: Vaults { custody.vaults }
  var identities: DirectoryIdentityProvider { custody.identities.administered(by: administrator) }
  /// Whether who asks is an administrator of one tenant, and not the operator.
  var isLimited: Bool { caller != nil }

  // MARK: The decision

  /// Refuses, on record, who may not administer a tenant; `nil` where only the right itself counts.
  func admit(_ act: AdministrativeAct, in tenant: TenantID?) async throws(KeyCustodyError) {
    guard let caller, let rule = try await obstacle(caller, tenant) else { return }
    try await refuse(act, rule, Self.denied(caller.id, act))
  }

  /// The vault, for who may administer it.
  ///
  /// For an administrator one of another tenant is none.
  func vault(_ name: VaultName, _ act: AdministrativeAct) async throws(KeyCustodyError) -> VaultDefinition {
    try await admit(act, in: nil)
    let found = try await vaults.definition(name)
    guard let found, found.tenant == caller?.id.tenant ?? found.tenant else {
      let unknown = KeyCustodyError(
        .notFound, .vaultUnknown, "There is no vault '\(name)'.", remedy: "Check the name, or create it first.")
      guard isLimited else { throw unknown }
      try await refuse(act, found == nil ? "-" : "other-tenant", unknown)
      throw unknown
    }
    return found
  }

  /// Refuses administrators what would make them the operator, or another administrator.
  func admit(_ act: AdministrativeAct, on id: PrincipalID) async throws(KeyCustodyError) {
    try await admit(act, in: id.tenant)
    guard let caller, caller.id != id else { return }
    let isReserved = id.subject.folded == KeyCustody.operatorSubject || id == custody.servicePrincipal
    var isForbidden = isReserved
    if !isForbidden { isForbidden = try await custody.isAdministrator(id) }
    guard isForbidden else { return }
    try await refuse(
      act, "operator-only",
      KeyCustodyError(
        .denied, .accessDenied, "Only whoever runs the deployment changes '\(id)'.",
        remedy: "Ask them: administrators are made and changed by 'keycustody identity' on the server's own machine."))
  }

  func refuse(_ act: AdministrativeAct, _ rule: String, _ error: KeyCustodyError) async throws(KeyCustodyError) {
    try await custody.administrationLog.refuse(act, by: administrator, rule: rule, error)
    throw error
  }

  /// Answers what changes nothing; on record where an administrator asks.
  func look<Answer>(
    _ act: AdministrativeAct, _ body: () async throws(KeyCustodyError) -> Answer
  ) async throws(KeyCustodyError) -> Answer {
    guard isLimited else { return try await body() }
    return try await custody.administrationLog.look(act, by: administrator, body)
  }

  /// The rule by which a principal is refused; `nil` where it may.
  private func obstacle(_ caller: Principal, _ tenant: TenantID?) async throws(KeyCustodyError) -> String? {
    // What was narrowed to some permissions on keys is good for nothing else.
    if caller.restrictedTo != nil { return "restriction" }
    if caller.expires <= custody.environment.time.now() { return "expired" }
    guard try await custody.isAdministrator(caller.id) else { return "default-deny" }
    return tenant.map { $0 == caller.id.tenant } ?? true ? nil : "other-tenant"
  }

  private static func denied(_ caller: PrincipalID, _ act: AdministrativeAct) -> KeyCustodyError {
    KeyCustodyError(
      .denied, .accessDenied, "'\(caller)' may not '\(act.action)' on '\(act.target)'.",
      remedy:
        "Whoever runs the deployment can make it an administrator of its tenant: "
        + "keycustody identity administrator \(caller).")
  }
}

extension KeyCustody {
  var administrationLog: AdministrationLog { vaults.administration }
}
