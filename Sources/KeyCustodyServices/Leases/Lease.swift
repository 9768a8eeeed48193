import KeyCustody
import KeyCustodyEnvelope

/// A lease on a root key: whose key it is, by whose access to which KEK it is held and until when, and the key itself,
/// awake, which is ready for use, or at rest while nobody uses it.
///
/// An object, and a small one: a process may hold hundreds of thousands, in a table of which half is empty.
final class Lease: @unchecked Sendable {
  // Unchecked: what changes is read and written under the lock of the table that it stands in.
  let resource: ResourceID
  private let access: LeaseAccess
  private let end: Int64
  let layer: Layer
  let isPrimary: Bool
  var isStale = false
  var isRenewing = false
  /// One of the two is there.
  private(set) var awake: RootKey?
  private var resting: RestingRootKey?

  init(
    _ record: RootKeyRecord, of resource: ResourceID, by access: LeaseAccess, on key: RootKey, until deadline: Duration
  ) {
    self.resource = resource
    self.access = access
    end = deadline.wholeNanoseconds
    layer = record.layer
    isPrimary = record.isPrimary
    awake = key
  }

  /// In running time, down to the nanosecond.
  var deadline: Duration { .nanoseconds(end) }

  var holder: PrincipalID { access.concern.holder }
  var kek: KeyURI { access.concern.kek }

  /// The key, woken if it rests; `nil` when it was destroyed.
  func wake() -> (key: RootKey, wasAsleep: Bool)? {
    if let awake { return awake.isDestroyed ? nil : (awake, false) }
    guard let rested = resting.take() else { return nil }
    let key = rested.woken()
    awake = key
    return (key, true)
  }

  /// Lets it rest; `false` where somebody else holds it, or works with it.
  func rest() -> Bool {
    guard awake != nil else { return true }
    guard isKnownUniquelyReferenced(&awake), let rested = awake?.resting() else { return false }
    awake?.destroy()
    awake = nil
    resting = consume rested
    return true
  }

  /// Its access must be checked before the key is used once more.
  func suspend() {
    isStale = true
    awake?.suspendLease()
  }

  func destroy() {
    awake?.destroy()
    resting = nil
  }
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
