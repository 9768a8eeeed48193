public import KeyCustody

/// Hands out root keys in use: a look-up among leases.
///
/// Opening asks for keys by the name in a header, and asks again at every piece of 1 MiB, so that a revocation stops
/// long streams. An answer must be cheap when the lease lives.
public protocol RootKeySource: Sendable {
  /// The root key of that name, with a living lease.
  ///
  /// - Throws: `integrityFailure` (`unknown-root-key`) when the resource has no such key in that layer; what stopped
  ///   the lease, such as `denied`, `disabled` or `unavailable`.
  func rootKey(_ id: RootKeyID, layer: Layer) async throws(KeyCustodyError) -> RootKey
}

/// The two primary root keys of a resource: what new data is sealed with.
public struct LayeredKeys: Sendable {
  /// The inner layer's.
  public var service: RootKey
  /// The outer layer's.
  public var customer: RootKey

  /// Puts two keys together.
  public init(service: RootKey, customer: RootKey) {
    self.service = service
    self.customer = customer
  }
}
