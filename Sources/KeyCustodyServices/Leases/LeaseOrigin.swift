import KeyCustody
import KeyCustodyEnvelope

/// Whose key it is, and by whose access to which KEK it is held.
final class LeaseOrigin: Sendable {
  let resource: ResourceID
  let access: LeaseAccess
  let layer: Layer
  let isPrimary: Bool

  init(_ record: RootKeyRecord, of resource: ResourceID, by access: LeaseAccess) {
    self.resource = resource
    self.access = access
    layer = record.layer
    isPrimary = record.isPrimary
  }

  var holder: PrincipalID { access.concern.holder }
  var kek: KeyURI { access.concern.kek }
}

/// Who unwraps with which KEK; shared by the leases that depend on the same.
final class LeaseAccess: Sendable {
  struct Concern: Hashable, Sendable {
    var kek: KeyURI
    var holder: PrincipalID
  }
  let concern: Concern
  init(_ concern: Concern) { self.concern = concern }
}
