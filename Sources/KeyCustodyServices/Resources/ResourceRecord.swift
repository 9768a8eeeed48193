public import KeyCustody
import KeyCustodyEnvelope

/// One root key of a resource, wrapped.
///
/// The envelope is all that is ever stored of it.
struct RootKeyRecord: Sendable, Hashable {
  var id: RootKeyID
  /// SHA-512-derived commitment, hexadecimal: what an unwrapped key must prove to be.
  var commitment: String
  var layer: Layer
  var group: RootKeyGroup
  var epoch: Int
  /// The KEK version that wraps it.
  var kek: KeyURI
  var algorithm: WrapAlgorithm
  /// Who unwraps it: the service's own principal, or the identity that the customer granted.
  var holder: PrincipalID
  /// Whether the KEK is the customer's, so that losing it is a revocation.
  var isCustomerManaged: Bool
  var envelope: KeyEnvelope
  /// Whether new data is sealed under it; others are kept until nothing needs them.
  var isPrimary: Bool
  var created: Timestamp

  func facts(_ resource: ResourceID) -> KeyEnvelopeFacts {
    KeyEnvelopeFacts(
      kid: kek.description, algorithm: algorithm, resource: resource, layer: layer, group: group, epoch: epoch)
  }
}

/// A resource as it is stored.
struct ResourceRecord: Sendable {
  var id: ResourceID
  var tenant: TenantID
  var region: Region
  var profile: Profile
  var mode: EncryptionMode = .serviceManaged
  /// The managed identity, where it is switched on.
  var identity: PrincipalID?
  /// The customer's key, while one is bound.
  var customerKey: KeyURI?
  /// Whether the service's jobs take the newest version of that key over; absent means no.
  var followsNewest: Bool?
  var rootKeys: [RootKeyRecord]
  var created: Timestamp

  func primary(_ layer: Layer, _ group: RootKeyGroup) -> RootKeyRecord? {
    rootKeys.last { $0.layer == layer && $0.group == group && $0.isPrimary }
  }

  /// The customer layer's long-term keys that no new data uses: what a conversion works off.
  var outgoing: [RootKeyRecord] {
    rootKeys.filter { $0.layer == .customer && $0.group == .longTerm && !$0.isPrimary }
  }

  /// Which root keys there are, and which of them new data goes under.
  var keyset: [RootKeyID: Bool] {
    Dictionary(rootKeys.map { ($0.id, $0.isPrimary) }, uniquingKeysWith: { first, _ in first })
  }

  var nextEpoch: Int { (rootKeys.map(\.epoch).max() ?? 0) + 1 }

  mutating func setPrimary(_ key: RootKeyRecord) {
    for index in rootKeys.indices where rootKeys[index].layer == key.layer && rootKeys[index].group == key.group {
      rootKeys[index].isPrimary = false
    }
    rootKeys.append(key)
  }
}

/// What a customer can see of a resource (SEMANTICS E16).
public struct ResourceStatus: Sendable, Hashable, Codable {
  /// Whether the data can be read now.
  public enum Health: Sendable, Hashable, Codable {
    /// Yes: both layers' keys were just unwrapped.
    case available
    /// No: the customer's key was taken away. The text is the reason, such as `access-denied` or `key-disabled`.
    case suspended(reason: String)
    /// Not now: a backend does not answer.
    case unreachable(reason: String)
  }
  /// Which resource.
  public var resource: ResourceID
  /// Its profile.
  public var profile: String
  /// Where it is between service-managed and customer-managed.
  public var mode: EncryptionMode
  /// The customer's key, with its version.
  public var key: KeyURI?
  /// The identity that is to be granted access.
  public var identity: PrincipalID?
  /// Whether the data can be read now.
  public var health: Health
  /// How many root keys there are that only older data needs.
  public var outgoingRootKeys: Int
  /// What is left to do in the background, and how far it is; `nil` when nothing is.
  public var job: Job?
}
