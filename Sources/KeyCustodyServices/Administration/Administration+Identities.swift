package import KeyCustody
package import KeyCustodyVault

/// A principal as it is told to people and programs; what does not belong to an answer is absent.
package struct IdentityDescription: Codable, Sendable {
  package var id: String
  package var clientID: String
  package var tenant: String
  package var principal: String
  package var kind: Principal.Kind?
  package var enabled: Bool?
  package var administrator: Bool?
  /// Shown this once.
  package var clientSecret: String?
  /// The same.
  package var secret: String?
  package var issuer: String?
  package var subject: String?
  package var removed: Bool?

  /// The names of a principal.
  package init(_ id: PrincipalID) {
    self.id = id.subject.spelling
    clientID = id.subject.spelling
    tenant = id.tenant.spelling
    principal = id.description
  }

  init(_ record: PrincipalRecord, isAdministrator: Bool) {
    self.init(record.id)
    kind = record.kind
    enabled = record.isEnabled
    administrator = isAdministrator ? true : nil
  }

  mutating func set(secret: String) {
    clientSecret = secret
    self.secret = secret
  }
}

extension Administration {
  /// The principals of a tenant.
  package func identities(of tenant: TenantID) async throws(KeyCustodyError) -> [IdentityDescription] {
    let act = AdministrativeAct("identities/list", on: tenant.description)
    try await admit(act, in: tenant)
    return try await look(act) { () async throws(KeyCustodyError) in
      var found: [IdentityDescription] = []
      for record in try await self.identities.principals(of: tenant) {
        found.append(
          IdentityDescription(record, isAdministrator: try await self.custody.isAdministrator(record.id)))
      }
      return found
    }
  }

  /// A principal.
  package func identity(_ id: PrincipalID) async throws(KeyCustodyError) -> IdentityDescription {
    let act = AdministrativeAct("identities/get", on: id.description)
    try await admit(act, in: id.tenant)
    return try await look(act) { () async throws(KeyCustodyError) in
      guard let record = try await self.identities.lookup(id) else {
        throw KeyCustodyError(
          .notFound, .principalUnknown, "There is no principal '\(id)'.",
          remedy: "Create it: keycustody identity create \(id.subject).")
      }
      return IdentityDescription(record, isAdministrator: try await self.custody.isAdministrator(id))
    }
  }

  /// Makes a service principal, with a secret unless it needs none.
  package func createIdentity(
    _ id: PrincipalID, trusting credential: FederatedCredential? = nil, hasSecret: Bool = true,
    isAdministrator: Bool = false
  ) async throws(KeyCustodyError) -> IdentityDescription {
    let act = AdministrativeAct("identities/create", on: id.description)
    // A right that an earlier principal of that name had is not this one's.
    try await admit(act, on: id)
    if isAdministrator, isLimited {
      try await refuse(
        act, "operator-only",
        KeyCustodyError(
          .denied, .accessDenied, "Only whoever runs the deployment makes administrators.",
          remedy: "Ask them to: keycustody identity create \(id) --administrator."))
    }
    try await identities.create(id, kind: .servicePrincipal)
    if try await custody.isAdministrator(id) != isAdministrator {
      try await custody.setAdministrator(isAdministrator, id, by: administrator)
    }
    if let credential { try await identities.addFederatedCredential(credential, to: id) }
    var made = IdentityDescription(id)
    made.administrator = isAdministrator ? true : nil
    if hasSecret { made.set(secret: try await identities.issueClientSecret(for: id, expires: nil)) }
    return made
  }

  /// Gives a principal the right to administer its tenant, or takes it away: for the operator alone.
  package func setAdministrator(
    _ isAdministrator: Bool, _ id: PrincipalID
  ) async throws(KeyCustodyError) -> IdentityDescription {
    guard !isLimited else {
      throw KeyCustodyError(.denied, .accessDenied, "Only whoever runs the deployment makes administrators.")
    }
    try await custody.setAdministrator(isAdministrator, id, by: administrator)
    var told = IdentityDescription(id)
    told.administrator = isAdministrator
    return told
  }

  /// Gives a principal another secret, until a moment or for good.
  package func issueSecret(
    for id: PrincipalID, expires: Timestamp?
  ) async throws(KeyCustodyError) -> IdentityDescription {
    try await admit(AdministrativeAct("identities/issueSecret", on: id.description), on: id)
    var told = IdentityDescription(id)
    told.set(secret: try await identities.issueClientSecret(for: id, expires: expires))
    return told
  }

  /// Lets a subject of an outside issuer act as a principal, or takes that back.
  package func federate(
    _ id: PrincipalID, _ credential: FederatedCredential, isRemoved: Bool
  ) async throws(KeyCustodyError) -> IdentityDescription {
    let action = isRemoved ? "identities/unfederate" : "identities/federate"
    try await admit(AdministrativeAct(action, on: id.description), on: id)
    if isRemoved {
      try await identities.removeFederatedCredential(credential, from: id)
    } else {
      try await identities.addFederatedCredential(credential, to: id)
    }
    var told = IdentityDescription(id)
    told.issuer = credential.issuer.name
    told.subject = credential.subject
    told.removed = isRemoved
    return told
  }

  /// Switches a principal on or off.
  package func setEnabled(_ isEnabled: Bool, _ id: PrincipalID) async throws(KeyCustodyError) -> IdentityDescription {
    let action = isEnabled ? "identities/enable" : "identities/disable"
    try await admit(AdministrativeAct(action, on: id.description), on: id)
    try await identities.setEnabled(isEnabled, id)
    var told = IdentityDescription(id)
    told.enabled = isEnabled
    return told
  }

  /// Removes a principal with its rights and rules: another one of its name would find them.
  package func deleteIdentity(_ id: PrincipalID) async throws(KeyCustodyError) -> IdentityDescription {
    try await admit(AdministrativeAct("identities/delete", on: id.description), on: id)
    if try await custody.isAdministrator(id) {
      try await custody.setAdministrator(false, id, by: administrator)
    }
    for vault in try await vaults.definitions() where !isLimited || vault.tenant == id.tenant {
      for rule in try await vaults.policy(of: vault.name).rules where rule.principal == id {
        try await vaults.removeRule(rule.name, in: vault.name, by: administrator)
      }
    }
    try await identities.delete(id)
    var told = IdentityDescription(id)
    told.removed = true
    return told
  }
}
