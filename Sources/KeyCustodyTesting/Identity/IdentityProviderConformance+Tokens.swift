import KeyCustody

extension IdentityProviderConformance {
  /// Tokens.
  static let tokens: [IdentityBehavior] = [
    .init("A token authenticates for its audience", "I4", tokenAuthenticates),
    .init("A token for another audience is rejected", "I4", otherAudienceIsRejected),
    .init("A token ends when it expires", "I4", tokenExpires),
    .init("A token from the future is rejected", "I4", tokenFromTheFutureIsRejected),
    .init("A token's lifetime is 1 second to 24 hours", "IdentityAdministration", lifetimeIsLimited),
    .init("No token is issued for whoever is switched off", "IdentityAdministration", noTokenWhenOff),
    .init("Another directory's token is rejected", "I5", otherDirectorysTokenIsRejected),
  ]

  @Sendable private static func tokenAuthenticates(_ trial: IdentityTrial) async throws {
    for kind in [Principal.Kind.user, .servicePrincipal] {
      let id = try await trial.create("one-\(kind.rawValue)", kind: kind)
      let issued = trial.clock.now()
      let token = try await trial.token(id, lifetime: .seconds(600))
      try expect(token.split(separator: ".", omittingEmptySubsequences: false).count == 3, "A token is not a JWT.")
      let principal = try await trial.accepted(.token(token), as: id, "a token")
      try expect(
        principal.kind == kind && principal.method == .token, "A \(kind) with a token is taken for \(principal).")
      try expect(
        principal.expires > issued && principal.expires <= issued + .seconds(600),
        "A token of 600 s issued at \(issued) ends at \(principal.expires).")
    }
  }

  @Sendable private static func otherAudienceIsRejected(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let token = try await trial.token(id)
    for audience in ["", "other", trial.audience + "x", String(trial.audience.dropLast()), trial.audience + "/", "*"] {
      try await trial.rejected(.token(token), audience: audience, "a token for '\(trial.audience)' at '\(audience)'")
    }
    let foreign = try await working("Issuing a token for another audience") { () async throws(KeyCustodyError) in
      try await trial.administration.issueToken(for: id, audience: "https://other.example", lifetime: .seconds(60))
    }
    try await trial.rejected(.token(foreign), "a token for another audience")
    try await trial.accepted(.token(token), as: id, "a token for the right audience")
  }

  @Sendable private static func tokenExpires(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let token = try await trial.token(id, lifetime: .seconds(3600))
    trial.clock.advance(by: .seconds(3590))
    try await trial.accepted(.token(token), as: id, "a token 10 s before it expires")
    // Five minutes of tolerance for clocks that disagree are usual; more is not.
    trial.clock.advance(by: .seconds(10 + 301))
    try await trial.rejected(.token(token), "a token five minutes after it expired")
    let fresh = try await trial.token(id, lifetime: .seconds(1))
    try await trial.accepted(.token(fresh), as: id, "a fresh token of one second")
  }

  @Sendable private static func tokenFromTheFutureIsRejected(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let now = trial.clock.now()
    trial.clock.setWallTime(now + .seconds(7200))
    let token = try await trial.token(id)
    trial.clock.setWallTime(now)
    try await trial.rejected(.token(token), "a token issued two hours from now")
    trial.clock.setWallTime(now + .seconds(7201))
    try await trial.accepted(.token(token), as: id, "the same token when its time has come")
  }

  @Sendable private static func lifetimeIsLimited(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    for lifetime in [Duration.zero, .seconds(-1), .milliseconds(999), .seconds(86_401), .seconds(1_000_000_000)] {
      try await refused(.invalidInput, nil, "Issuing a token for \(lifetime)") { () async throws(KeyCustodyError) in
        _ = try await trial.administration.issueToken(for: id, audience: trial.audience, lifetime: lifetime)
      }
    }
    for lifetime in [Duration.seconds(1), .seconds(86_400)] {
      try await trial.accepted(.token(trial.token(id, lifetime: lifetime)), as: id, "a token of \(lifetime)")
    }
  }

  @Sendable private static func noTokenWhenOff(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    try await trial.setEnabled(false, id)
    try await refused(.disabled, nil, "Issuing a token for a switched-off principal") {
      () async throws(KeyCustodyError) in
      _ = try await trial.administration.issueToken(for: id, audience: trial.audience, lifetime: .seconds(60))
    }
  }

  @Sendable private static func otherDirectorysTokenIsRejected(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let other = try await Bench(trial.subject.make) { await $0.close() }
    let provider = try await other.open()
    let administration = try unwrapped(provider.administration, "Another directory has no administration.")
    let token = try await working("Issuing another directory's token") { () async throws(KeyCustodyError) in
      try await administration.create(id, kind: .servicePrincipal)
      return try await administration.issueToken(for: id, audience: trial.audience, lifetime: .seconds(60))
    }
    await other.finish()
    try await trial.rejected(.token(token), "another directory's token for the same name")
  }
}
