import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyVault

/// One request of a tenant's administrator, and how each kind is answered.
struct AdministrationRequest: Sendable {
  let administration: Administration
  let custody: KeyCustody
  let settings: ServerSettings
  /// The caller's own tenant, the only one it can name.
  let tenant: TenantID
  /// What stands in the address for the names in braces.
  let values: [String: String]
  let request: WireRequest

  private func answer<Value: Encodable>(
    _ body: () async throws(KeyCustodyError) -> Value
  ) async throws(WireError) -> WireResponse {
    let value: Value
    do throws(KeyCustodyError) { value = try await body() } catch { throw WireError(error) }
    return try WireResponse(encoding: value)
  }

  private func name<Tag>(_ text: String) throws(WireError) -> Identifier<Tag> {
    do throws(KeyCustodyError) { return try Identifier(text) } catch { throw WireError(error) }
  }

  private func vault() throws(WireError) -> VaultName { try name(values["vault-name"] ?? "") }

  private func principal() throws(WireError) -> PrincipalID {
    PrincipalID(tenant: tenant, subject: try name(values["principal"] ?? ""))
  }

  // MARK: Vaults

  func listVaults() async throws(WireError) -> WireResponse {
    try await answer { () async throws(KeyCustodyError) in try await administration.vaults(of: tenant) }
  }

  func createVault() async throws(WireError) -> WireResponse {
    let body = try WireBody(request.body)
    let vault: VaultName = try name(try body.requiredText("name"))
    guard let keyProvider = try body.text("keyProvider") ?? settings.keyProvider else {
      throw .badParameter("'keyProvider' is missing, and this server has no usual one.")
    }
    let days = try body.number("softDeleteDays") ?? 90
    let isProtected = try body.flag("purgeProtection") ?? false
    let hsmKeyProvider = try body.text("hsmKeyProvider") ?? settings.hsmKeyProvider
    return try await answer { () async throws(KeyCustodyError) in
      let definition = VaultDefinition(
        name: vault, tenant: tenant, region: custody.region, keyProvider: keyProvider,
        softDeleteDays: Int(clamping: days), purgeProtection: isProtected, hsmKeyProvider: hsmKeyProvider)
      try await administration.createVault(definition)
      return definition
    }
  }

  func showVault() async throws(WireError) -> WireResponse {
    let vault = try vault()
    return try await answer { () async throws(KeyCustodyError) in try await administration.vault(vault) }
  }

  func protectVault() async throws(WireError) -> WireResponse {
    let vault = try vault()
    return try await answer { () async throws(KeyCustodyError) in
      try await administration.protectVault(vault)
      return ["protected": vault.spelling]
    }
  }

  func deleteVault() async throws(WireError) -> WireResponse {
    let vault = try vault()
    return try await answer { () async throws(KeyCustodyError) in
      try await administration.deleteVault(vault)
      return ["deleted": vault.spelling]
    }
  }

  func setNetwork() async throws(WireError) -> WireResponse {
    let (vault, body) = (try vault(), try WireBody(request.body))
    let (texts, isOpen) = (try body.texts("ranges") ?? [], try body.flag("allowsEveryAddress") ?? false)
    let bypasses = try body.flag("trustedServicesBypass") ?? true
    guard !isOpen || texts.isEmpty else { throw .badParameter("Either every address is let in, or 'ranges' are.") }
    return try await answer { () async throws(KeyCustodyError) in
      var ranges: [AddressRange] = []
      for text in texts { ranges.append(try AddressRange(text)) }
      let rules: NetworkRules = isOpen ? .everywhere : .only(ranges, trustedServicesBypass: bypasses)
      try await administration.setNetworkRules(rules, in: vault)
      return rules
    }
  }

  // MARK: Rules

  func listPolicies() async throws(WireError) -> WireResponse {
    let vault = try vault()
    return try await answer { () async throws(KeyCustodyError) in try await administration.policy(of: vault) }
  }

  func setPolicy() async throws(WireError) -> WireResponse {
    let (vault, principal, body) = (try vault(), try principal(), try WireBody(request.body))
    let (keys, secrets) = (try body.texts("keys"), try body.texts("secrets"))
    guard keys != nil || secrets != nil else { throw .badParameter("'keys' and 'secrets' are missing.") }
    let effect: AccessRule.Effect = try body.flag("deny") ?? false ? .deny : .allow
    return try await answer { () async throws(KeyCustodyError) in
      try await administration.setPolicy(
        principal, effect, keys: try PermissionNames.read(keys ?? [], of: "keys"),
        secrets: try PermissionNames.read(secrets ?? [], of: "secrets"), in: vault)
    }
  }

  func deletePolicy() async throws(WireError) -> WireResponse {
    let (vault, principal) = (try vault(), try principal())
    return try await answer { () async throws(KeyCustodyError) in
      try await administration.deletePolicy(principal, in: vault)
    }
  }

  // MARK: Questions

  func listRecords() async throws(WireError) -> WireResponse {
    let (vault, after) = (try vault(), request.query["after"])
    do throws(KeyCustodyError) {
      let page = try await administration.records(of: vault, AuditPageRequest(after: after))
      return WireResponse(.ok, AuditWire.json(page))
    } catch { throw WireError(error) }
  }

  func explain() async throws(WireError) -> WireResponse {
    let vault = try vault()
    let permission = try OwnRoutes.permission(request)
    let principal = PrincipalID(tenant: tenant, subject: try name(request.query["principal"] ?? ""))
    do throws(KeyCustodyError) {
      let key = try request.query["key"].map { (text) throws(KeyCustodyError) in
        custody.vaults.uri(vault, try KeyName(text))
      }
      return OwnRoutes.explanation(
        try await administration.explain(permission, of: principal, key: key, in: vault))
    } catch { throw WireError(error) }
  }

  // MARK: Identities

  func listIdentities() async throws(WireError) -> WireResponse {
    try await answer { () async throws(KeyCustodyError) in try await administration.identities(of: tenant) }
  }

  func createIdentity() async throws(WireError) -> WireResponse {
    let body = try WireBody(request.body)
    let id = PrincipalID(tenant: tenant, subject: try name(try body.requiredText("name")))
    let hasSecret = try !(body.flag("withoutSecret") ?? false)
    let isAdministrator = try body.flag("administrator") ?? false
    let credential = try body.body("federation").map { (body) throws(WireError) in try Self.credential(body) }
    return try await answer { () async throws(KeyCustodyError) in
      try await administration.createIdentity(
        id, trusting: credential, hasSecret: hasSecret, isAdministrator: isAdministrator)
    }
  }

  func showIdentity() async throws(WireError) -> WireResponse {
    let id = try principal()
    return try await answer { () async throws(KeyCustodyError) in try await administration.identity(id) }
  }

  func updateIdentity() async throws(WireError) -> WireResponse {
    let id = try principal()
    guard let isEnabled = try WireBody(request.body).flag("enabled") else {
      throw .badParameter("'enabled' is missing.")
    }
    return try await answer { () async throws(KeyCustodyError) in try await administration.setEnabled(isEnabled, id) }
  }

  func deleteIdentity() async throws(WireError) -> WireResponse {
    let id = try principal()
    return try await answer { () async throws(KeyCustodyError) in try await administration.deleteIdentity(id) }
  }

  func issueSecret() async throws(WireError) -> WireResponse {
    let id = try principal()
    let days = try WireBody(request.body).number("days")
    guard (1...3650).contains(days ?? 1) else { throw .badParameter("'days' is 1 to 3650.") }
    return try await answer { () async throws(KeyCustodyError) in
      let now = custody.environment.time.now()
      return try await administration.issueSecret(for: id, expires: days.map { now + .seconds(86_400 * $0) })
    }
  }

  func federate() async throws(WireError) -> WireResponse {
    let (id, body) = (try principal(), try WireBody(request.body))
    let isRemoved = try body.flag("removed") ?? false
    let credential = try Self.credential(body, isRemoved: isRemoved)
    return try await answer { () async throws(KeyCustodyError) in
      try await administration.federate(id, credential, isRemoved: isRemoved)
    }
  }

  /// What is trusted; never a file of this machine, nor what listens on it alone: these only its operator names.
  private static func credential(
    _ body: WireBody, isRemoved: Bool = false
  ) throws(WireError) -> FederatedCredential {
    let issuer = try body.requiredText("issuer")
    guard isRemoved || issuer.hasPrefix("https://") else { throw .badParameter("'issuer' is not an https URL.") }
    return FederatedCredential(
      issuer: FederatedIssuer(issuer), subject: try body.requiredText("subject"),
      audience: try body.text("audience") ?? FederatedCredential.usualAudience)
  }
}
