public import KeyCustody
public import KeyCustodyVault

/// A principal that may administer its tenant.
struct AdministratorRecord: Codable, Sendable {
  var principal: PrincipalID
  var since: Timestamp
}

/// The right to administer a tenant: its vaults, their rules, its identities.
///
/// It is given by whoever runs the deployment alone, and it gives no permission on any key or secret. It lies beside the
/// directory, not in it: principals of outside issuers can have it too.
extension KeyCustody {
  /// Whether a principal may administer its tenant.
  public func isAdministrator(_ id: PrincipalID) async throws(KeyCustodyError) -> Bool {
    try await administrators.read(try Self.path(administrator: id)) != nil
  }

  /// Gives a principal the right to administer its tenant, or takes it away; acts at once.
  public func setAdministrator(
    _ isAdministrator: Bool, _ id: PrincipalID, by administrator: Administrator = .host
  ) async throws(KeyCustodyError) {
    let act = AdministrativeAct(
      isAdministrator ? "administrators/add" : "administrators/remove", on: id.description)
    try await administrationLog.change(act, by: administrator) { () async throws(KeyCustodyError) in
      let path = try Self.path(administrator: id)
      if isAdministrator {
        let record = AdministratorRecord(principal: id, since: self.environment.time.now())
        _ = try await self.administrators.create(path, record)
      } else {
        _ = try await self.administrators.remove(path)
      }
    }
  }

  private static func path(administrator id: PrincipalID) throws(KeyCustodyError) -> RecordKey {
    try RecordKey("administrators/\(id.tenant.folded)/\(id.subject.folded)")
  }

  // MARK: The operator's own principals

  /// The subject, in each tenant, by which whoever runs the deployment manages keys and secrets of its vaults.
  static var operatorSubject: String { "administrator" }

  /// Whoever runs the deployment, as a principal of a tenant, with a rule in each vault made by ``Administration``.
  ///
  /// Whoever can read the configuration can act as one.
  package func administrator(of tenant: TenantID) async throws(KeyCustodyError) -> Principal {
    let id = PrincipalID(tenant: tenant, subject: try SubjectID(Self.operatorSubject))
    if try await identities.lookup(id) == nil { try await identities.create(id, kind: .user) }
    let token = try await identities.issueToken(for: id, audience: audience, lifetime: .seconds(300))
    return try await identities.authenticate(.token(token), audience: audience)
  }

  /// Whether a principal is this deployment's own, so that nobody of an outside issuer can be it: the operator's, the
  /// service's, or one of the directory.
  package func isOwn(_ id: PrincipalID) async throws(KeyCustodyError) -> Bool {
    if id.subject.folded == Self.operatorSubject || id == servicePrincipal { return true }
    return try await identities.lookup(id) != nil
  }

  /// What the operator's principal may do in a vault: everything but use its keys and read its secrets.
  package func administratorRule(of tenant: TenantID) async throws(KeyCustodyError) -> AccessRule {
    AccessRule(
      name: "administrator", principal: try await administrator(of: tenant).id,
      keys: Set(KeyPermission.allCases).subtracting([.encrypt, .decrypt, .wrapKey, .unwrapKey, .sign]),
      secrets: Set(SecretPermission.allCases).subtracting([.get, .backup]))
  }
}
