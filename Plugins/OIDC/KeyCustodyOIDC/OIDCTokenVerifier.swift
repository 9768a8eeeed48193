public import KeyCustody
import KeyCustodyCrypto

/// Verifies tokens of outside OpenID Connect issuers (JWT, RFC 7519, by the rules of RFC 8725).
///
/// Only the issuers given are believed, each with its own keys. The keys come from the issuer's discovery document, or
/// from a file; no address that a token names is ever asked. Keys are kept through an outage of the issuer, and renewed
/// in the background.
public final class OIDCTokenVerifier: FederatedTokenVerifier {
  private struct Believed: Sendable {
    let settings: OIDCIssuer
    let keys: IssuerKeys
  }
  private let believed: [Believed]
  private let environment: RuntimeEnvironment

  /// A verifier of the tokens of some issuers.
  ///
  /// No issuer is asked before the first token comes, so that one that is down stops nobody's start.
  ///
  /// - Throws: `invalidInput` for a file of certificates that can't be read; `unavailable` for a file of keys that
  ///   can't be.
  public init(_ issuers: [OIDCIssuer], environment: RuntimeEnvironment) async throws(KeyCustodyError) {
    var believed: [Believed] = []
    for settings in issuers {
      guard !believed.contains(where: { $0.settings.issuer == settings.issuer }) else {
        throw KeyCustodyError(
          .invalidInput, .badConfigurationValue, "The issuer '\(settings.issuer)' is given twice.",
          remedy: "Name each issuer once.")
      }
      let keys = try IssuerKeys(settings, environment: environment)
      try await keys.prepare()
      believed.append(Believed(settings: settings, keys: keys))
    }
    self.believed = believed
    self.environment = environment
  }

  /// Checks a token of one issuer, known by its name, meant for one audience, and tells what it says.
  public func verify(
    _ token: String, from issuer: FederatedIssuer, audience: String
  ) async throws(KeyCustodyError) -> FederatedClaims {
    try await verify(token, issuer: issuer.name, audience: audience)
  }

  /// Checks a token of one issuer, meant for one audience, and tells what it says.
  public func verify(
    _ token: String, issuer: String, audience: String
  ) async throws(KeyCustodyError) -> FederatedClaims {
    let claims = try await claims(of: token, issuer: issuer, audiences: [audience])
    return FederatedClaims(issuer: issuer, subject: claims.subject, audience: audience, expires: claims.expires)
  }

  /// The claims of a token that is good.
  func claims(
    of token: String, issuer: String, audiences: [String]
  ) async throws(KeyCustodyError) -> TokenClaims {
    guard let believed = believed.first(where: { $0.settings.issuer.utf8.elementsEqual(issuer.utf8) }) else {
      throw KeyCustodyError(
        .denied, Self.unknownIssuer, "Tokens of that issuer are not accepted here.",
        remedy: "Whoever keeps the configuration can name the issuer.")
    }
    // Claims first: what would be refused anyhow makes nobody fetch keys. They are believed after the signature only.
    guard let (signed, claims) = Self.read(token, of: believed.settings, audiences, at: environment.time.now()),
      let key = try await believed.keys.key(for: signed), try signed.verify(with: key.key)
    else { throw Self.rejected }
    return claims
  }

  /// Whether a token says of itself that it is of an issuer and for an audience, and living: anybody can say so.
  package static func isWorthALook(
    _ token: String, of issuer: OIDCIssuer, audience: String, at now: Timestamp
  ) -> Bool { read(token, of: issuer, [audience], at: now) != nil }

  /// What a token says, before its signature is looked at; `nil` for one that is not good whatever signed it.
  private static func read(
    _ token: String, of issuer: OIDCIssuer, _ audiences: [String], at now: Timestamp
  ) -> (JSONWebSignature, TokenClaims)? {
    guard let signed = try? JSONWebSignature(compact: token, allowing: issuer.algorithms),
      isAccessOrIdentityToken(signed.header["typ"]), let claims = TokenClaims(signed.payload),
      claims.hold(issuer: issuer.issuer, audiences: audiences, at: now)
    else { return nil }
    return (signed, claims)
  }

  /// Ends all use; calls after it throw `unavailable` (`closed`).
  public func close() { for issuer in believed { issuer.keys.close() } }

  /// An issuer signs other things with the same keys, which name their kind (RFC 8725, section 3.11).
  private static func isAccessOrIdentityToken(_ type: JSON?) -> Bool {
    guard let type else { return true }
    guard let name = type.string?.lowercased() else { return false }
    return ["jwt", "at+jwt", "application/at+jwt", "application/jwt"].contains(name)
  }

  /// One error for every token that is not good: a finer one tells a stranger what to change.
  package static let rejected = KeyCustodyError(
    .credentialRejected, .wrongSecret, "The credential was not accepted.",
    remedy: "Ask the issuer for a token meant for this service; repeating this one does not help.")

  private static let unknownIssuer = KeyCustodyError.Reason("issuer-unknown")
}
