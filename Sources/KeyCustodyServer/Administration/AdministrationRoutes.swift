import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyVault

/// Vaults, their rules and identities, administered over HTTP at the domain itself, by a tenant's administrators.
///
/// A route and what answers it stand in one table.
enum AdministrationRoutes {
  typealias Answer = @Sendable (AdministrationRequest) -> () async throws(WireError) -> WireResponse

  /// Every route, with what answers it.
  static let table: [(route: APIRoute, answer: Answer)] = vaults + policies + questions + identities

  private static func route(
    _ method: HTTPRequest.Method, _ path: String, _ operation: String, _ summary: String,
    _ parameters: [APIParameter] = [], takes request: String? = nil, gives response: String, _ answer: @escaping Answer
  ) -> (route: APIRoute, answer: Answer) {
    let route = APIRoute(
      .administration, method, "/keycustody/v1/\(path)", operation, summary, parameters: parameters, takes: request,
      gives: response)
    return (route, answer)
  }

  private static let vaults = [
    route(
      .get, "vaults", "listVaults", "List the tenant's vaults", gives: "Vaults", AdministrationRequest.listVaults),
    route(
      .post, "vaults", "createVault", "Make a vault", takes: "VaultCreation", gives: "Vault",
      AdministrationRequest.createVault),
    route(
      .get, "vaults/{vault-name}", "getVault", "Show a vault", gives: "VaultDescription",
      AdministrationRequest.showVault),
    route(
      .delete, "vaults/{vault-name}", "deleteVault", "Delete a vault that holds nothing any more, for good",
      gives: "VaultDeletion", AdministrationRequest.deleteVault),
    route(
      .post, "vaults/{vault-name}/protect", "protectVault", "Switch purge protection on, for good",
      gives: "VaultProtection", AdministrationRequest.protectVault),
    route(
      .put, "vaults/{vault-name}/network", "setNetworkRules", "Set from where a vault may be reached",
      takes: "NetworkRules", gives: "NetworkRules", AdministrationRequest.setNetwork),
  ]

  private static let policies = [
    route(
      .get, "vaults/{vault-name}/policies", "listPolicies", "List a vault's rules", gives: "AccessPolicy",
      AdministrationRequest.listPolicies),
    route(
      .put, "vaults/{vault-name}/policies/{principal}", "setPolicy",
      "Set a principal's permissions in a vault, in place of those it has", takes: "Permissions",
      gives: "AccessPolicy", AdministrationRequest.setPolicy),
    route(
      .delete, "vaults/{vault-name}/policies/{principal}", "deletePolicy", "Withdraw a principal's rules",
      gives: "AccessPolicy", AdministrationRequest.deletePolicy),
  ]

  private static let questions = [
    route(
      .get, "vaults/{vault-name}/audit", "listAdministration", "List how a vault was administered, and by whom",
      [APIParameter("after", ["type": "string"], "Where the page begins: 'next' of the page before.")],
      gives: "AdministrationRecords", AdministrationRequest.listRecords),
    route(
      .get, "vaults/{vault-name}/explain", "explainAccess", "Tell why a principal may, or may not, do something",
      [
        APIParameter("principal", isRequired: true, ["type": "string"], "The principal: its name in the tenant."),
        APIParameter("permission", isRequired: true, ["type": "string"], "A permission, like wrapKey or secrets/get."),
        APIParameter("key", ["type": "string"], "The name of the key it is wanted for."),
      ], gives: "Explanation", AdministrationRequest.explain),
  ]

  private static let identities = [
    route(
      .get, "identities", "listIdentities", "List the tenant's principals", gives: "Identities",
      AdministrationRequest.listIdentities),
    route(
      .post, "identities", "createIdentity", "Make a service principal, and show its secret this once",
      takes: "IdentityCreation", gives: "Identity", AdministrationRequest.createIdentity),
    route(
      .get, "identities/{principal}", "getIdentity", "Show a principal", gives: "Identity",
      AdministrationRequest.showIdentity),
    route(
      .patch, "identities/{principal}", "updateIdentity", "Switch a principal on or off", takes: "IdentityUpdate",
      gives: "Identity", AdministrationRequest.updateIdentity),
    route(
      .delete, "identities/{principal}", "deleteIdentity", "Remove a principal, and its rules", gives: "Identity",
      AdministrationRequest.deleteIdentity),
    route(
      .post, "identities/{principal}/secret", "issueSecret", "Give a principal another secret, shown this once",
      takes: "SecretIssue", gives: "Identity", AdministrationRequest.issueSecret),
    route(
      .post, "identities/{principal}/federate", "federateIdentity",
      "Let a subject of an outside issuer act as a principal, or take that back", takes: "Federation",
      gives: "Identity", AdministrationRequest.federate),
  ]
}

extension VaultServer {
  /// Answers `/keycustody/v1/…` at the domain itself; `nil` for any other address.
  func administered(_ request: WireRequest) async throws(WireError) -> WireResponse? {
    guard request.segments.count >= 3, request.segments[0].lowercased() == "keycustody",
      request.segments[1].lowercased() == "v1"
    else { return nil }
    let caller = try await authenticate(request, settings.tenant)
    guard
      let found = AdministrationRoutes.table.first(where: { $0.route.matches(request.method, request.segments) })
    else { throw VaultRoutes.unknown }
    let administration = Administration(of: custody, by: caller, context: try context(request, caller))
    return try await found.answer(
      AdministrationRequest(
        administration: administration, custody: custody, settings: settings, tenant: caller.id.tenant,
        values: found.route.values(request.segments), request: request))()
  }
}
