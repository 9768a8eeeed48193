import KeyCustody

extension IdentityProviderConformance {
  /// Reopening and closing.
  static let lifetime: [IdentityBehavior] = [
    .init("Principals and credentials survive reopening", "IdentityProvider", credentialsSurvive),
    .init("What was switched off, deleted or regenerated stays so after reopening", "I3", revocationsSurvive),
    .init("After close every method is unavailable (closed)", "IdentityProvider", closedIsUnavailable),
    .init("Event streams end at close, and closing twice does no harm", "IdentityProvider", streamsEndAtClose),
  ]

  @Sendable private static func credentialsSurvive(_ trial: IdentityTrial) async throws {
    try trial.bench.requirePersistence()
    let id = try await trial.create("one", kind: .user)
    let record = try await trial.lookup(id)
    let proofs: [(String, IdentityTrial.Proof)] = [
      ("a client secret", .secret(id, try await trial.clientSecret(id))),
      ("an API key", .apiKey(try await trial.apiKey(.first, id))), ("a token", .token(try await trial.token(id))),
    ]
    let identity = trial.provider.identity
    let again = try await trial.reopened()
    try expect(again.provider.identity == identity, "The identity changed from '\(identity)' by reopening.")
    try expect(try await again.lookup(id) == record, "A principal is looked up differently after reopening.")
    for (what, proof) in proofs { try await again.accepted(proof, as: id, "\(what) after reopening") }
  }

  @Sendable private static func revocationsSurvive(_ trial: IdentityTrial) async throws {
    try trial.bench.requirePersistence()
    let (off, gone, kept) = (
      try await trial.create("off"), try await trial.create("gone"), try await trial.create("kept")
    )
    let proofs: [(String, IdentityTrial.Proof)] = [
      ("a switched-off principal's secret", .secret(off, try await trial.clientSecret(off))),
      ("a switched-off principal's token", .token(try await trial.token(off))),
      ("a deleted principal's secret", .secret(gone, try await trial.clientSecret(gone))),
      ("a deleted principal's token", .token(try await trial.token(gone))),
      ("an API key that was regenerated", .apiKey(try await trial.apiKey(.first, kept))),
    ]
    try await trial.setEnabled(false, off)
    try await trial.delete(gone)
    _ = try await trial.apiKey(.first, kept)
    let again = try await trial.reopened()
    for (what, proof) in proofs { try await again.rejected(proof, "\(what), after reopening,") }
  }

  @Sendable private static func closedIsUnavailable(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let proofs: [IdentityTrial.Proof] = [
      .secret(id, try await trial.clientSecret(id)), .apiKey(try await trial.apiKey(.first, id)),
      .token(try await trial.token(id)), .secret(id, "wrong"),
    ]
    await trial.provider.close()
    for proof in proofs {
      try await refused(.unavailable, .closed, "Authenticating after close") { () async throws(KeyCustodyError) in
        _ = try await trial.authenticate(proof)
      }
    }
    let administration = trial.administration
    try await refused(.unavailable, .closed, "Creating after close") { () async throws(KeyCustodyError) in
      try await administration.create(PrincipalID(tenant: id.tenant, subject: SubjectID("two")), kind: .user)
    }
    try await refused(.unavailable, .closed, "Looking up after close") { () async throws(KeyCustodyError) in
      _ = try await administration.lookup(id)
    }
    try await refused(.unavailable, .closed, "Switching off after close") { () async throws(KeyCustodyError) in
      try await administration.setEnabled(false, id)
    }
    try await refused(.unavailable, .closed, "Issuing a client secret after close") {
      () async throws(KeyCustodyError) in
      _ = try await administration.issueClientSecret(for: id, expires: nil)
    }
    try await refused(.unavailable, .closed, "Regenerating an API key after close") {
      () async throws(KeyCustodyError) in
      _ = try await administration.regenerateAPIKey(.first, for: id)
    }
    try await refused(.unavailable, .closed, "Issuing a token after close") { () async throws(KeyCustodyError) in
      _ = try await administration.issueToken(for: id, audience: trial.audience, lifetime: .seconds(60))
    }
    try await refused(.unavailable, .closed, "Creating a managed identity after close") {
      () async throws(KeyCustodyError) in
      _ = try await administration.createManagedIdentity(for: ResourceID("bot"), tenant: id.tenant)
    }
    try await refused(.unavailable, .closed, "Deleting after close") { () async throws(KeyCustodyError) in
      try await administration.delete(id)
    }
  }

  @Sendable private static func streamsEndAtClose(_ trial: IdentityTrial) async throws {
    let streams = [trial.provider.events(), trial.provider.events()]
    await trial.provider.close()
    await trial.provider.close()
    for stream in streams {
      try await expectEnd(stream, patience: trial.subject.patience, "a stream of events taken before close")
    }
  }
}
