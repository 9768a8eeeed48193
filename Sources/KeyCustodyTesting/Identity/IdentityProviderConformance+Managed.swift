import KeyCustody

extension IdentityProviderConformance {
  /// The identities of resources.
  static let managedIdentities: [IdentityBehavior] = [
    .init("A managed identity is bound to its resource", "I2", managedIdentityIsBound),
    .init("A resource has one managed identity", "I2", managedIdentityIsUnique),
    .init("A managed identity is gone after it is deleted, and can be made again", "I2", managedIdentityIsDeleted),
    .init("A managed identity that is switched off has no access", "I3", managedIdentityIsSwitchedOff),
    .init("A managed identity has no secret of its own", "IdentityAdministration", managedIdentityHasNoSecret),
    .init("A tenant's managed identities don't meet those of another", "I5", managedIdentitiesOfTenants),
  ]

  private static func make(
    _ trial: IdentityTrial, _ resource: String, tenant: TenantID? = nil
  ) async throws -> PrincipalID {
    let resource = try ResourceID(resource)
    return try await working("Creating the managed identity of '\(resource)'") { () async throws(KeyCustodyError) in
      try await trial.administration.createManagedIdentity(for: resource, tenant: tenant ?? trial.subject.tenant)
    }
  }

  @Sendable private static func managedIdentityIsBound(_ trial: IdentityTrial) async throws {
    let resource = try ResourceID("bot-1")
    let id = try await make(trial, "bot-1")
    try expect(id.tenant == trial.subject.tenant, "The managed identity '\(id)' is in another tenant.")
    let record = try await trial.lookup(id)
    try expect(
      record == PrincipalRecord(id: id, kind: .managedIdentity, resource: resource, isEnabled: true),
      "The managed identity is looked up as \(String(describing: record)).")
    let principal = try await trial.accepted(.token(trial.token(id)), as: id, "a managed identity's token")
    try expect(
      principal.kind == .managedIdentity && principal.resource == resource && principal.method == .token,
      "A managed identity of 'bot-1' is taken for \(principal).")
    let plain = try await trial.create("plain")
    let other = try await trial.accepted(.token(trial.token(plain)), as: plain, "a token")
    try expect(other.resource == nil, "A service principal is bound to \(String(describing: other.resource)).")
  }

  @Sendable private static func managedIdentityIsUnique(_ trial: IdentityTrial) async throws {
    let id = try await make(trial, "bot-1")
    try await refused(.invalidInput, .alreadyExists, "Creating a resource's second managed identity") {
      () async throws(KeyCustodyError) in
      _ = try await trial.administration.createManagedIdentity(
        for: ResourceID("bot-1"), tenant: trial.subject.tenant)
    }
    let other = try await make(trial, "bot-2")
    try expect(id != other, "Two resources have the same managed identity '\(id)'.")
    try await trial.accepted(.token(trial.token(id)), as: id, "the first identity's token after a refused twin")
  }

  @Sendable private static func managedIdentityIsDeleted(_ trial: IdentityTrial) async throws {
    let id = try await make(trial, "bot-1")
    let token = try await trial.token(id)
    try await trial.delete(id)
    try expect(try await trial.lookup(id) == nil, "A deleted managed identity is still looked up.")
    try await trial.rejected(.token(token), "a deleted managed identity's token")
    let again = try await make(trial, "bot-1")
    try await trial.rejected(.token(token), "an earlier managed identity's token")
    try await trial.accepted(.token(trial.token(again)), as: again, "the new managed identity's token")
  }

  @Sendable private static func managedIdentityIsSwitchedOff(_ trial: IdentityTrial) async throws {
    let id = try await make(trial, "bot-1")
    let token = try await trial.token(id)
    try await trial.setEnabled(false, id)
    try await trial.rejected(.token(token), "a switched-off managed identity's token")
    try await trial.setEnabled(true, id)
    try await trial.accepted(.token(token), as: id, "a managed identity's token after switching on again")
  }

  @Sendable private static func managedIdentityHasNoSecret(_ trial: IdentityTrial) async throws {
    let id = try await make(trial, "bot-1")
    try await thrown("Issuing a managed identity a client secret") { () async throws(KeyCustodyError) in
      _ = try await trial.administration.issueClientSecret(for: id, expires: nil)
    }
    try await thrown("Issuing a managed identity an API key") { () async throws(KeyCustodyError) in
      _ = try await trial.administration.regenerateAPIKey(.first, for: id)
    }
  }

  @Sendable private static func managedIdentitiesOfTenants(_ trial: IdentityTrial) async throws {
    let here = try await make(trial, "bot-1")
    let there = try await make(trial, "bot-2", tenant: trial.subject.otherTenant)
    try expect(there.tenant == trial.subject.otherTenant, "The managed identity '\(there)' is in another tenant.")
    try await trial.delete(here)
    try await trial.accepted(.token(trial.token(there)), as: there, "the other tenant's managed identity's token")
  }
}
