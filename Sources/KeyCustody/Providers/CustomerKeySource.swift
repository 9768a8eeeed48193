/// Customers' keys that are in no vault of this deployment: in a vault that somebody else runs, or in a key provider.
///
/// The service wraps root keys under such a key by its address, with what the key's owner lets it do there. What the owner
/// withdraws holds here when the leases end that were granted before: nobody tells this deployment earlier.
///
/// ``KeyProvider`` is for keys that this deployment makes; a source makes none, and sees only the keys it is asked for.
public protocol CustomerKeySource: Sendable {
  /// What the backend is, for logs and for whoever looks after it.
  var identity: ProviderIdentity { get }

  /// Whether the source itself keeps one tenant's keys from resources of another.
  ///
  /// Where it does not, the configuration says for which tenant it is.
  var separatesTenants: Bool { get }

  /// Whether a key's address is of this source; asked often, and answered without asking anybody.
  func covers(_ key: KeyURI) -> Bool

  /// What the key's owner lets be known of it now.
  ///
  /// - Parameters:
  ///   - key: the key; without a version the newest is meant.
  ///   - tenant: the tenant of the resource that it is, or would be, bound to.
  /// - Throws: `notFound` only when the source says so; `denied` (`other-tenant` for a key of another tenant,
  ///   `network-refused`, `access-denied`); `credentialRejected`, `unavailable`, `timeout`, `busy`.
  func describe(
    _ key: KeyURI, for tenant: TenantID, context: CallContext
  ) async throws(KeyCustodyError) -> CustomerKey

  /// Wraps 16 to 64 bytes under a key version.
  ///
  /// - Throws: as ``describe(_:for:context:)``; `disabled`; `unsupported` for an algorithm that the key has not.
  func wrap(
    _ secret: borrowing SecretBytes, with key: KeyURI, algorithm: WrapAlgorithm, for tenant: TenantID,
    context: CallContext
  ) async throws(KeyCustodyError) -> [UInt8]

  /// Unwraps what was wrapped for a key version.
  ///
  /// - Throws: as ``wrap(_:with:algorithm:for:context:)``; `integrityFailure` for what was not wrapped for it.
  func unwrap(
    _ wrapped: [UInt8], with key: KeyURI, algorithm: WrapAlgorithm, for tenant: TenantID, context: CallContext
  ) async throws(KeyCustodyError) -> SecretBytes

  /// Ends every connection; calls after it throw `unavailable` (`closed`).
  func close() async
}

/// A version of a customer's key, as its owner lets it be known.
public struct CustomerKey: Sendable, Hashable {
  /// What becomes of the key when it is deleted, where its vault tells.
  public enum Recovery: Sendable, Hashable {
    /// It is gone at once.
    case none
    /// It can be recovered, unless somebody purges it.
    case recoverable
    /// It can be recovered, and nobody can purge it before its time.
    case protected
  }

  /// Its address, with the version.
  public var uri: KeyURI
  /// Its type.
  public var type: KeyType
  /// Whether its owner made it for wrapping and unwrapping.
  public var wraps: Bool
  /// Whether it is switched on.
  public var isEnabled: Bool
  /// From when on it is valid; `nil`: ever since.
  public var notBefore: Timestamp?
  /// Until when it is valid; `nil`: for ever.
  public var expires: Timestamp?
  /// What becomes of it when it is deleted; `nil` where its place has no such rules.
  public var recovery: Recovery?
  /// How it wraps, the best algorithm first.
  public var algorithms: [WrapAlgorithm]

  /// A key version, switched on and valid without end.
  public init(
    uri: KeyURI, type: KeyType, wraps: Bool, recovery: Recovery? = nil, algorithms: [WrapAlgorithm]? = nil
  ) {
    self.uri = uri
    self.type = type
    self.wraps = wraps
    isEnabled = true
    self.recovery = recovery
    self.algorithms = algorithms ?? WrapAlgorithm.fitting(type)
  }

  /// Whether a moment is within its validity.
  public func isValid(at moment: Timestamp) -> Bool {
    (notBefore.map { $0 <= moment } ?? true) && (expires.map { moment < $0 } ?? true)
  }
}
