public import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyVault

extension ProtectedResource {
  /// Gives the resource to another tenant; its identity and every access that was granted stay behind (SEMANTICS I5).
  ///
  /// Under service-managed keys nothing else changes. Under a customer's key the resource is suspended at once, until the
  /// key's vault is the new tenant's too (``Vaults/move(_:to:by:)``) and grants access anew to who is to have it there: an
  /// identity that is switched on again, or the service once it is registered in that tenant. To go on with another key
  /// instead, disable the customer's key before the move. When it fails it can be repeated.
  ///
  /// - Throws: `invalidInput` (`wrong-resource-state`) during a conversion; what the stores throw.
  public func move(to tenant: TenantID) async throws(KeyCustodyError) {
    let record = try await custody.record(id)
    guard record.tenant != tenant else { return }
    guard !record.mode.isConverting else { throw wrongState(record.mode, "The tenant of '\(id)'", "changed") }
    // The identity first: once the resource is elsewhere nobody would find it again.
    if let identity = try await custody.managedIdentity(of: record) { try await custody.identities.delete(identity) }
    let moved = try await custody.change(id) { (current) throws(KeyCustodyError) in
      guard current.tenant == record.tenant, !current.mode.isConverting else { throw Self.changedMeanwhile(id) }
      current.tenant = tenant
      current.identity = nil
      // Whoever is to unwrap from now on is of the new tenant.
      for index in current.rootKeys.indices where current.rootKeys[index].isCustomerManaged {
        let holder = current.rootKeys[index].holder
        current.rootKeys[index].holder = PrincipalID(tenant: tenant, subject: holder.subject)
      }
    }
    custody.leases.end(moved.rootKeys.filter(\.isCustomerManaged).map(\.id))
  }
}
