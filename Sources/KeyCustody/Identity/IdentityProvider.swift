/// Says who is calling.
///
/// It knows no roles and no keys.
///
/// ## Implementing an identity provider
/// Turn a ``Credential`` into a ``Principal``, or throw `credentialRejected`, always the same error for an unknown
/// principal, a wrong secret and a switched-off principal (a finer answer tells strangers who exists).
/// Whoever issues credentials and keeps principals offers ``administration``; a verifier of somebody else's tokens
/// does not.
public protocol IdentityProvider: Sendable {
  /// What kind of backend this is, and which one of its kind.
  var identity: ProviderIdentity { get }

  /// Authenticates a credential meant for `audience`.
  ///
  /// - Throws: `credentialRejected` (`wrong-secret`) for anything that does not authenticate; `unavailable`.
  func authenticate(_ credential: borrowing Credential, audience: String) async throws(KeyCustodyError) -> Principal

  /// What happens to principals from now on.
  func events() -> AsyncStream<IdentityEvent>

  /// Ends all use; calls after it throw `unavailable` (`closed`).
  func close() async

  /// Issuing credentials and keeping principals, where this provider does.
  var administration: (any IdentityAdministration)? { get }
}

extension IdentityProvider {
  /// Absent unless a provider says otherwise.
  public var administration: (any IdentityAdministration)? { nil }
}

/// Keeps principals and issues their credentials.
public protocol IdentityAdministration: Sendable {
  /// Adds a principal.
  ///
  /// - Throws: `invalidInput` (`already-exists`).
  func create(_ id: PrincipalID, kind: Principal.Kind) async throws(KeyCustodyError)

  /// Tells what is recorded of a principal; `nil` when there is none.
  func lookup(_ id: PrincipalID) async throws(KeyCustodyError) -> PrincipalRecord?

  /// Switches a principal on or off. Off, none of its credentials authenticates, tokens already issued included.
  ///
  /// - Throws: `notFound`.
  func setEnabled(_ isEnabled: Bool, _ id: PrincipalID) async throws(KeyCustodyError)

  /// Removes a principal and all its credentials. Removing one that is not there does nothing.
  func delete(_ id: PrincipalID) async throws(KeyCustodyError)

  /// Gives a principal a client secret and returns it: shown once, stored only as a salted hash.
  ///
  /// - Throws: `notFound`.
  func issueClientSecret(for id: PrincipalID, expires: Timestamp?) async throws(KeyCustodyError) -> String

  /// Replaces one of a principal's two API keys and returns it; the other goes on working.
  ///
  /// - Throws: `notFound`.
  func regenerateAPIKey(_ slot: APIKeySlot, for id: PrincipalID) async throws(KeyCustodyError) -> String

  /// Issues a short signed token (a JWT) for a principal.
  ///
  /// - Throws: `notFound`; `disabled` for a principal that is switched off; `invalidInput` for a lifetime outside
  ///   1 second to 24 hours.
  func issueToken(for id: PrincipalID, audience: String, lifetime: Duration) async throws(KeyCustodyError) -> String

  /// Makes the managed identity of a resource. It has no secret of its own; only the host that runs the resource can
  /// ask for its tokens.
  ///
  /// - Throws: `invalidInput` (`already-exists`).
  func createManagedIdentity(
    for resource: ResourceID, tenant: TenantID
  ) async throws(KeyCustodyError) -> PrincipalID
}

/// Which of a principal's two API keys.
public enum APIKeySlot: String, Sendable, Hashable, Codable, CaseIterable {
  /// The first.
  case first
  /// The second.
  case second
}

/// What a caller shows to prove who it is.
public struct Credential: ~Copyable, Sendable {
  /// The form of a credential, without its secret.
  public enum Form: Sendable {
    /// A signed token (JWT).
    case token(String)
    /// A principal's client secret.
    case clientSecret(PrincipalID)
    /// An API key; it names its principal itself.
    case apiKey
  }
  /// The form.
  public let form: Form
  /// The client secret or API key; empty for a token.
  public let secret: SecretBytes

  /// A signed token (JWT).
  public static func token(_ token: String) -> Credential {
    Credential(form: .token(token), secret: SecretBytes(count: 0) { _ in })
  }
  /// A principal's client secret.
  public static func clientSecret(_ id: PrincipalID, _ secret: consuming SecretBytes) -> Credential {
    Credential(form: .clientSecret(id), secret: secret)
  }
  /// An API key.
  public static func apiKey(_ key: consuming SecretBytes) -> Credential { Credential(form: .apiKey, secret: key) }

  private init(form: Form, secret: consuming SecretBytes) {
    self.form = form
    self.secret = secret
  }
}

/// An authenticated caller.
public struct Principal: Sendable, Hashable {
  /// What kind of caller.
  public enum Kind: String, Sendable, Hashable, Codable, CaseIterable {
    /// A person.
    case user
    /// A program with credentials of its own.
    case servicePrincipal
    /// The identity of a resource; lives and dies with it.
    case managedIdentity
  }
  /// How it proved who it is.
  public enum Method: String, Sendable, Hashable, Codable {
    /// By a signed token.
    case token
    /// By a client secret.
    case clientSecret
    /// By an API key, the weaker way in.
    case apiKey
  }
  /// Who.
  public var id: PrincipalID
  /// What kind of caller.
  public var kind: Kind
  /// The resource that a managed identity belongs to.
  public var resource: ResourceID?
  /// How it proved who it is.
  public var method: Method
  /// When the proof ends.
  public var expires: Timestamp
  /// Where not `nil`, the only permissions that may be used, whatever policies grant.
  public var restrictedTo: Set<KeyPermission>?

  /// A caller as an identity provider found it.
  public init(
    id: PrincipalID, kind: Kind, resource: ResourceID? = nil, method: Method, expires: Timestamp,
    restrictedTo: Set<KeyPermission>? = nil
  ) {
    self.id = id
    self.kind = kind
    self.resource = resource
    self.method = method
    self.expires = expires
    self.restrictedTo = restrictedTo
  }
}

/// What a directory holds of a principal, without its credentials.
public struct PrincipalRecord: Sendable, Hashable {
  /// Who.
  public var id: PrincipalID
  /// What kind of caller.
  public var kind: Principal.Kind
  /// The resource that a managed identity belongs to.
  public var resource: ResourceID?
  /// Whether it is switched on.
  public var isEnabled: Bool
  /// A record.
  public init(id: PrincipalID, kind: Principal.Kind, resource: ResourceID?, isEnabled: Bool) {
    self.id = id
    self.kind = kind
    self.resource = resource
    self.isEnabled = isEnabled
  }
}

/// Something that happened to a principal.
public enum IdentityEvent: Sendable, Hashable {
  /// Switched off.
  case disabled(PrincipalID)
  /// Switched on.
  case enabled(PrincipalID)
  /// Removed.
  case deleted(PrincipalID)
}
