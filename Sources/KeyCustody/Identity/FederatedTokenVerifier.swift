/// Verifies tokens that issuers outside this deployment signed.
public protocol FederatedTokenVerifier: Sendable {
  /// Checks a token of one issuer, meant for one audience, and tells what it says.
  ///
  /// Issuer and audience are what the caller expects, from its own records; nothing of the token chooses them.
  ///
  /// - Throws: `credentialRejected` (`wrong-secret`), the same for every token that is not good; `denied` for an issuer
  ///   that is not allowed here; `unavailable` when the issuer's keys can't be had.
  func verify(
    _ token: String, from issuer: FederatedIssuer, audience: String
  ) async throws(KeyCustodyError) -> FederatedClaims
}

/// An issuer outside this deployment, and how its keys are come by.
public struct FederatedIssuer: Sendable, Hashable, Codable {
  /// Its name, an https URL, as its tokens' `iss` has it.
  public var name: String
  /// A PEM file of the authorities to trust for it; the system's where `nil`.
  public var caFile: String?
  /// A file with its key set (JWKS); where given, nothing is asked over a network.
  public var keySetFile: String?

  /// An issuer.
  public init(_ name: String, caFile: String? = nil, keySetFile: String? = nil) {
    self.name = name
    self.caFile = caFile
    self.keySetFile = keySetFile
  }
}

/// What a verified token of an outside issuer says.
public struct FederatedClaims: Sendable, Hashable {
  /// Who issued it.
  public var issuer: String
  /// Of whom it speaks, in the issuer's words.
  public var subject: String
  /// Whom it is meant for: the audience that was asked for.
  public var audience: String
  /// When it ends.
  public var expires: Timestamp

  /// The claims of a token.
  public init(issuer: String, subject: String, audience: String, expires: Timestamp) {
    self.issuer = issuer
    self.subject = subject
    self.audience = audience
    self.expires = expires
  }
}
