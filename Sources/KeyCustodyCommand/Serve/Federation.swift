#if CommandLine && OIDC
  import KeyCustody
  import KeyCustodyOIDC

  /// Verifies tokens of the outside issuers that principals of the directory trust, and of no others.
  actor Federation: FederatedTokenVerifier {
    private struct Known {
      let verifier: OIDCTokenVerifier
      var lastUse: UInt64
    }
    private let environment: RuntimeEnvironment
    private var known: [FederatedIssuer: Known] = [:]
    private var uses: UInt64 = 0
    private static let most = 256

    init(environment: RuntimeEnvironment) { self.environment = environment }

    /// Checks a token of one issuer; the caller knows it from its own records.
    func verify(
      _ token: String, from issuer: FederatedIssuer, audience: String
    ) async throws(KeyCustodyError) -> FederatedClaims {
      let settings = try OIDCIssuer(issuer.name, caFile: issuer.caFile, keySetFile: issuer.keySetFile)
      // What is not even meant for it makes nobody remember an issuer, and forget another.
      guard OIDCTokenVerifier.isWorthALook(token, of: settings, audience: audience, at: environment.time.now()) else {
        throw OIDCTokenVerifier.rejected
      }
      return try await verifier(issuer, settings).verify(token, issuer: issuer.name, audience: audience)
    }

    private func verifier(
      _ issuer: FederatedIssuer, _ settings: OIDCIssuer
    ) async throws(KeyCustodyError) -> OIDCTokenVerifier {
      if let found = used(issuer) { return found }
      let made = try await OIDCTokenVerifier([settings], environment: environment)
      // Made by somebody else meanwhile.
      if let found = used(issuer) { return found }
      if known.count >= Self.most, let oldest = known.min(by: { $0.value.lastUse < $1.value.lastUse })?.key {
        known[oldest] = nil
      }
      uses += 1
      known[issuer] = Known(verifier: made, lastUse: uses)
      return made
    }

    private func used(_ issuer: FederatedIssuer) -> OIDCTokenVerifier? {
      guard let found = known[issuer] else { return nil }
      uses += 1
      known[issuer]?.lastUse = uses
      return found.verifier
    }
  }
#endif
