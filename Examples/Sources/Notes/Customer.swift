import Hummingbird
import KeyCustody
import KeyCustodyServices
import KeyCustodyVault

/// A tenant, as its owner's API key proves it: its notes, and the key of its own that it may put over them.
struct Customer {
  let notes: ProtectedResource
  private let custody: KeyCustody
  private let principal: Principal
  private let context: CallContext

  /// Makes what a new tenant has here, and answers its API key, which is not shown again.
  static func signUp(_ tenant: String, _ custody: KeyCustody) async throws(KeyCustodyError) -> String {
    let owner = PrincipalID(tenant: try TenantID(tenant), subject: try SubjectID("owner"))
    try await custody.identities.create(owner, kind: .user)
    try await custody.setAdministrator(true, owner)
    _ = try await custody.createResource(ResourceID("\(tenant)-notes"), tenant: owner.tenant)
    return try await custody.identities.regenerateAPIKey(.first, for: owner)
  }

  init(_ request: Request, _ context: BasicRequestContext, _ custody: KeyCustody) async throws {
    let refused = HTTPError(.unauthorized, message: "Show the tenant's API key: 'Authorization: Bearer KEY'.")
    let shown = SecretBytes(copying: Array((request.headers[.authorization] ?? "").dropFirst("Bearer ".count).utf8))
    do throws(KeyCustodyError) {
      principal = try await custody.identities.authenticate(.apiKey(shown), audience: custody.audience)
    } catch { throw error.code == .credentialRejected ? refused : error }
    guard try principal.id.tenant == TenantID(context.parameters.require("tenant")) else { throw refused }
    notes = try await custody.resource(ResourceID("\(principal.id.tenant)-notes"))
    self.custody = custody
    self.context = CallContext(purpose: .administration, principal: principal.id, requestID: "\(context.id)")
  }

  enum KeyChange: String { case create, grant, enable, revoke, disable }

  func perform(_ change: KeyChange) async throws(KeyCustodyError) {
    let (vaults, administrator) = (custody.vaults, Administrator(principal, context: context))
    let vault = try VaultName("\(principal.id.tenant)-keys")
    let key = vaults.uri(vault, try KeyName("notes"))
    switch change {
    case .create:
      if try await vaults.definition(vault) == nil {
        let new = VaultDefinition(
          name: vault, tenant: principal.id.tenant, region: custody.region, keyProvider: "keys", purgeProtection: true)
        try await vaults.create(new, by: administrator)
      }
      let owner = AccessRule(name: "owner", principal: principal.id, keys: [.get, .create, .update])
      try await vaults.setRule(owner, in: vault, by: administrator)
      try await vaults.createKey(key, type: .rsa(bits: 2048), role: .wrapping, as: principal, context: context)
    case .grant:
      let service = AccessRule(
        name: "service", principal: try await notes.switchIdentityOn(), keys: [.get, .wrapKey, .unwrapKey])
      try await vaults.setRule(service, in: vault, by: administrator)
    case .revoke: try await vaults.removeRule("service", in: vault, by: administrator)
    case .enable: try await notes.enableCustomerKey(key)
    case .disable: try await notes.disableCustomerKey()
    }
  }
}
