public import KeyCustody
import KeyCustodyCrypto

/// Principals whom an outside OpenID Connect issuer knows: a verifier of its tokens, with a tenant to put them in.
///
/// Give each issuer a tenant of its own. Within one tenant, what two issuers call by one name would be one principal.
///
/// ## Names
/// A subject that is 1 to 127 of `0`–`9`, `a`–`z` and `-`, and does not begin with `sha256-`, keeps its name. Any other
/// becomes `sha256-` and the SHA-256 of its UTF-8 bytes in hexadecimal. An upper-case letter is among the others, since
/// names here are compared without regard to case and those of an issuer are not. So two subjects never share a name.
public final class OIDCIdentityProvider: IdentityProvider {
  /// The issuer, and what its tokens mean here.
  public struct Settings: Sendable {
    /// The issuer.
    public var issuer: OIDCIssuer
    /// The tenant of its principals.
    public var tenant: TenantID
    /// The names under which the issuer knows this deployment; where empty, the audience that is asked for.
    public var audiences: [String]
    /// The claim that names a principal, and never another one: `sub`, or `oid` where the issuer is Microsoft Entra.
    public var subjectClaim: String
    /// What kind its principals are.
    public var kind: Principal.Kind

    /// The settings of a provider.
    public init(
      issuer: OIDCIssuer, tenant: TenantID, audiences: [String] = [], subjectClaim: String = "sub",
      kind: Principal.Kind = .servicePrincipal
    ) {
      self.issuer = issuer
      self.tenant = tenant
      self.audiences = audiences
      self.subjectClaim = subjectClaim
      self.kind = kind
    }
  }

  private let settings: Settings
  private let verifier: OIDCTokenVerifier
  private let broadcaster = EventBroadcaster<IdentityEvent>()

  /// A provider of an issuer's principals.
  ///
  /// - Throws: what ``OIDCTokenVerifier/init(_:environment:)`` throws.
  public init(_ settings: Settings, environment: RuntimeEnvironment) async throws(KeyCustodyError) {
    self.settings = settings
    verifier = try await OIDCTokenVerifier([settings.issuer], environment: environment)
  }

  /// `oidc` and the issuer.
  public var identity: ProviderIdentity { ProviderIdentity(kind: OIDCPlugin.name, instance: settings.issuer.issuer) }

  /// Authenticates a token; nothing else is a credential here.
  public func authenticate(
    _ credential: borrowing Credential, audience: String
  ) async throws(KeyCustodyError) -> Principal {
    guard case .token(let token) = credential.form else { throw OIDCTokenVerifier.rejected }
    let audiences = settings.audiences.isEmpty ? [audience] : settings.audiences
    let claims = try await verifier.claims(of: token, issuer: settings.issuer.issuer, audiences: audiences)
    guard let name = claims.members[settings.subjectClaim]?.string, !name.isEmpty else {
      throw OIDCTokenVerifier.rejected
    }
    let id = PrincipalID(tenant: settings.tenant, subject: try Self.subject(named: name))
    return Principal(id: id, kind: settings.kind, method: .token, expires: claims.expires)
  }

  /// The name here of what an issuer calls by a name.
  static func subject(named name: String) throws(KeyCustodyError) -> SubjectID {
    let isPlain = name.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"): true
      default: false
      }
    }
    if isPlain, (1...127).contains(name.utf8.count), !name.hasPrefix(hashedPrefix) { return try SubjectID(name) }
    return try SubjectID(hashedPrefix + Hashing.sha256(Array(name.utf8)).hexadecimal)
  }

  private static let hashedPrefix = "sha256-"

  /// What happens to principals: nothing that an issuer would tell.
  public func events() -> AsyncStream<IdentityEvent> { broadcaster.stream() }

  /// Ends all use; calls after it throw `unavailable` (`closed`).
  public func close() async {
    verifier.close()
    broadcaster.finish()
  }
}
