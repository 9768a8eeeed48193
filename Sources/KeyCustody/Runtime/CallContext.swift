/// Who asks for an operation, for what, and by when: handed with every call to a provider, logged, never secret.
public struct CallContext: Sendable {
  /// What the operation serves.
  public enum Purpose: String, Sendable, Codable {
    /// A resource's root key.
    case resource
    /// A key operation that a vault was asked for.
    case vault
    /// Signing of tokens.
    case token
    /// A check that the backend works.
    case probe
    /// Work of an administrator.
    case administration
  }

  /// The authenticated caller, where there is one.
  public var principal: PrincipalID?
  /// The identity the caller acts for.
  public var onBehalfOf: PrincipalID?
  /// The protected resource concerned.
  public var resource: ResourceID?
  /// What the operation serves.
  public var purpose: Purpose
  /// The approval under which a person's access happens (customer lockbox).
  public var approval: String?
  /// The moment, in running time of the ``TimeSource``, after which no answer is wanted.
  public var deadline: Duration?
  /// Ties the operation to the request that caused it.
  public var requestID: String
  /// Where the call came from over a network, an IPv4 or IPv6 address; `nil` for a call from within this process.
  public var clientAddress: String?
  /// The caller's own name for a change it asks for.
  ///
  /// Asked for again under it within a day (or ``repeatsWithin``), by the same caller, the change is answered as the first time and not made
  /// twice.
  public var clientRequestID: String?
  /// Whether a repeat is answered as the first time only while what was made then is still as it was left.
  ///
  /// For names that callers may well give to several changes: one that was undone since is made again.
  public var repeatsOnlyWhatHolds = false
  /// For how long a change is known by its caller's name for it; `nil`: a day.
  public var repeatsWithin: Duration?

  /// Describes a call.
  public init(
    purpose: Purpose, principal: PrincipalID? = nil, onBehalfOf: PrincipalID? = nil, resource: ResourceID? = nil,
    approval: String? = nil, deadline: Duration? = nil, requestID: String = "",
    clientAddress: String? = nil, clientRequestID: String? = nil
  ) {
    self.purpose = purpose
    self.principal = principal
    self.onBehalfOf = onBehalfOf
    self.resource = resource
    self.approval = approval
    self.deadline = deadline
    self.requestID = requestID
    self.clientAddress = clientAddress
    self.clientRequestID = clientRequestID
  }
}
