#if CommandLine && OIDC
  import KeyCustody
  import KeyCustodyOIDC

  /// Verifies tokens of the outside issuers that principals of the directory trust, and of no others.
  actor Federation: FederatedTokenVerifier {
    private let environment: RuntimeEnvironment
    private var verifiers: [FederatedIssuer: OIDCTokenVerifier] = [:]
    private static let most = 256

    init(environment: RuntimeEnvironment) { self.environment = environment }

    /// Checks a token of one issuer; the caller knows it from its own records.
    func verify(
      _ token: String, from issuer: FederatedIssuer, audience: String
    ) async throws(KeyCustodyError) -> FederatedClaims {
      try await verifier(issuer).verify(token, issuer: issuer.name, audience: audience)
    }

    private func verifier(_ issuer: FederatedIssuer) async throws(KeyCustodyError) -> OIDCTokenVerifier {
      if let known = verifiers[issuer] { return known }
      let made = try await OIDCTokenVerifier(
        [try OIDCIssuer(issuer.name, caFile: issuer.caFile, keySetFile: issuer.keySetFile)], environment: environment)
      // Made by somebody else meanwhile.
      if let known = verifiers[issuer] { return known }
      if verifiers.count >= Self.most { verifiers.removeAll() }
      verifiers[issuer] = made
      return made
    }
  }
#endif
