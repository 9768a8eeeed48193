public import KeyCustody
import KeyCustodyVault

/// The service in its customers' tenants (SEMANTICS I6).
extension KeyCustody {
  /// Registers this service in a customer's tenant: from then on it has a principal there that can be granted access.
  ///
  /// - Throws: `invalidInput` (`already-exists`) when a principal of another kind is in the way.
  @discardableResult
  public func register(in tenant: TenantID) async throws(KeyCustodyError) -> PrincipalID {
    if let found = try await registration(in: tenant) { return found }
    let id = try registeredID(in: tenant)
    do throws(KeyCustodyError) { try await identities.create(id, kind: .servicePrincipal) } catch {
      // Another one was quicker, unless it is something else.
      guard error.reason == .alreadyExists, try await registration(in: tenant) != nil else { throw error }
    }
    return id
  }

  /// This service's principal in a tenant; `nil` where it is not registered.
  public func registration(in tenant: TenantID) async throws(KeyCustodyError) -> PrincipalID? {
    let id = try registeredID(in: tenant)
    return try await identities.lookup(id)?.kind == .servicePrincipal ? id : nil
  }

  /// Takes the registration back: resources in the tenant that are granted access by it are suspended.
  public func unregister(in tenant: TenantID) async throws(KeyCustodyError) {
    guard tenant != servicePrincipal.tenant, let id = try await registration(in: tenant) else { return }
    try await identities.delete(id)
  }

  private func registeredID(in tenant: TenantID) throws(KeyCustodyError) -> PrincipalID {
    PrincipalID(tenant: tenant, subject: servicePrincipal.subject)
  }
}
