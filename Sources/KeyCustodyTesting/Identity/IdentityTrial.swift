import KeyCustody

/// An open identity provider in the hands of a behaviour, and the steps that many behaviours take.
struct IdentityTrial: Sendable {
  let subject: IdentityProviderSubject
  let bench: Bench<any IdentityProvider>
  let provider: any IdentityProvider
  let administration: any IdentityAdministration

  var clock: ManualClock { bench.clock }
  var audience: String { subject.audience }

  /// The same directory through another opening of it.
  func with(_ provider: any IdentityProvider) throws -> IdentityTrial {
    let administration = try unwrapped(provider.administration, "After reopening there is no administration.")
    return IdentityTrial(subject: subject, bench: bench, provider: provider, administration: administration)
  }

  /// The same directory, closed and opened again.
  func reopened() async throws -> IdentityTrial {
    try with(try await bench.reopen())
  }

  func id(_ name: String) throws -> PrincipalID {
    PrincipalID(tenant: subject.tenant, subject: try SubjectID(name))
  }
  func foreignID(_ name: String) throws -> PrincipalID {
    PrincipalID(tenant: subject.otherTenant, subject: try SubjectID(name))
  }

  // MARK: Steps that must work

  @discardableResult
  func create(_ name: String, kind: Principal.Kind = .servicePrincipal) async throws -> PrincipalID {
    try await create(id(name), kind: kind)
  }

  @discardableResult
  func create(_ id: PrincipalID, kind: Principal.Kind = .servicePrincipal) async throws -> PrincipalID {
    try await working("Creating '\(id)'") { () async throws(KeyCustodyError) in
      try await administration.create(id, kind: kind)
    }
    return id
  }

  func lookup(_ id: PrincipalID) async throws -> PrincipalRecord? {
    try await working("Looking up '\(id)'") { () async throws(KeyCustodyError) in
      try await administration.lookup(id)
    }
  }

  func setEnabled(_ isEnabled: Bool, _ id: PrincipalID) async throws {
    try await working("Switching '\(id)' \(isEnabled ? "on" : "off")") { () async throws(KeyCustodyError) in
      try await administration.setEnabled(isEnabled, id)
    }
  }

  func delete(_ id: PrincipalID) async throws {
    try await working("Deleting '\(id)'") { () async throws(KeyCustodyError) in try await administration.delete(id) }
  }

  func clientSecret(_ id: PrincipalID, expires: Timestamp? = nil) async throws -> String {
    try await working("Issuing a client secret") { () async throws(KeyCustodyError) in
      try await administration.issueClientSecret(for: id, expires: expires)
    }
  }

  func apiKey(_ slot: APIKeySlot, _ id: PrincipalID) async throws -> String {
    try await working("Regenerating the \(slot.rawValue) API key") { () async throws(KeyCustodyError) in
      try await administration.regenerateAPIKey(slot, for: id)
    }
  }

  func token(_ id: PrincipalID, lifetime: Duration = .seconds(3600)) async throws -> String {
    try await working("Issuing a token") { () async throws(KeyCustodyError) in
      try await administration.issueToken(for: id, audience: audience, lifetime: lifetime)
    }
  }

  // MARK: Authenticating

  /// What a caller shows, as text: a `Credential` can be used only once.
  enum Proof: Sendable {
    case token(String)
    case secret(PrincipalID, String)
    case apiKey(String)
  }

  func authenticate(
    _ proof: Proof, audience: String? = nil
  ) async throws(KeyCustodyError) -> Principal {
    let audience = audience ?? self.audience
    switch proof {
    case .token(let text): return try await provider.authenticate(.token(text), audience: audience)
    case .secret(let id, let text):
      return try await provider.authenticate(
        .clientSecret(id, SecretBytes(copying: Array(text.utf8))), audience: audience)
    case .apiKey(let text):
      return try await provider.authenticate(.apiKey(SecretBytes(copying: Array(text.utf8))), audience: audience)
    }
  }

  /// A proof must authenticate, and as this principal.
  @discardableResult
  func accepted(_ proof: Proof, as id: PrincipalID, _ what: String) async throws -> Principal {
    let principal = try await working("Authenticating with \(what)") { () async throws(KeyCustodyError) in
      try await authenticate(proof)
    }
    try expect(principal.id == id, "\(what) authenticated '\(principal.id)' instead of '\(id)'.")
    return principal
  }

  /// A proof must be rejected; the error is returned for comparison.
  @discardableResult
  func rejected(_ proof: Proof, audience: String? = nil, _ what: String) async throws -> KeyCustodyError {
    try await refused(.credentialRejected, .wrongSecret, "Authenticating with \(what)") {
      () async throws(KeyCustodyError) in
      _ = try await authenticate(proof, audience: audience)
    }
  }

  /// Rejections that a stranger must not tell apart: code, reason, message and remedy are the same.
  func rejectedAlike(_ proofs: [(what: String, proof: Proof)]) async throws {
    var first: (what: String, seen: String)?
    for (what, proof) in proofs {
      let seen = visible(try await rejected(proof, what))
      try expect(
        first.map { $0.seen == seen } ?? true,
        "\(what) is rejected with '\(seen)', but \(first?.what ?? "") with '\(first?.seen ?? "")'.")
      first = first ?? (what, seen)
    }
  }
}
