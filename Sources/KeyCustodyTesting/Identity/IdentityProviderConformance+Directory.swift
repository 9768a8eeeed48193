import KeyCustody

extension IdentityProviderConformance {
  /// Principals: making, finding, switching off, deleting.
  static let directory: [IdentityBehavior] = [
    .init("The identity names a kind and an instance", "DESIGN 3", identityIsNamed),
    .init("A principal made can be looked up", "I1", madeIsFound),
    .init("Looking up who is not there gives nothing", "I1", absentIsNil),
    .init("A principal that exists is not made again", "IdentityAdministration", duplicateIsRefused),
    .init("Names are compared without case", "Identifier", caseDoesNotMatter),
    .init("Tenants keep principals of the same name apart", "I5", tenantsAreApart),
    .init("Switching off and on is recorded", "IdentityAdministration", switchingIsRecorded),
    .init("Deleting removes, and removing again does nothing", "IdentityAdministration", deletingRemoves),
    .init("Nothing is issued for who is not there", "IdentityAdministration", nothingForAbsent),
    .init("Of concurrent makers of one principal exactly one wins", "IdentityAdministration", oneMakerWins),
    .init("Events tell of switching off, switching on and deleting", "DESIGN 7", eventsTell),
  ]

  @Sendable private static func identityIsNamed(_ trial: IdentityTrial) async throws {
    let identity = trial.provider.identity
    try expect(!identity.kind.isEmpty && !identity.instance.isEmpty, "The identity '\(identity)' has an empty part.")
  }

  @Sendable private static func madeIsFound(_ trial: IdentityTrial) async throws {
    for kind in [Principal.Kind.user, .servicePrincipal] {
      let id = try await trial.create("made-\(kind.rawValue)", kind: kind)
      let due = PrincipalRecord(id: id, kind: kind, resource: nil, isEnabled: true)
      let found = try await trial.lookup(id)
      try expect(found == due, "A new \(kind) is looked up as \(String(describing: found)).")
    }
  }

  @Sendable private static func absentIsNil(_ trial: IdentityTrial) async throws {
    let found = try await trial.lookup(trial.id("nobody"))
    try expect(found == nil, "Nobody is looked up as \(String(describing: found)).")
  }

  @Sendable private static func duplicateIsRefused(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one", kind: .user)
    let secret = try await trial.clientSecret(id)
    for kind in [Principal.Kind.user, .servicePrincipal] {
      try await refused(.invalidInput, .alreadyExists, "Creating a principal again") {
        () async throws(KeyCustodyError) in
        try await trial.administration.create(id, kind: kind)
      }
    }
    let found = try await trial.lookup(id)
    try expect(found?.kind == .user, "A refused creation changed the principal to \(String(describing: found)).")
    try await trial.accepted(.secret(id, secret), as: id, "a secret from before a refused creation")
  }

  @Sendable private static func caseDoesNotMatter(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("Mixed-Case")
    let other = try trial.id("mIXED-cASE")
    let found = try await trial.lookup(other)
    try expect(found?.id == id, "'\(id)' is not found as '\(other)'.")
    try await refused(.invalidInput, .alreadyExists, "Creating '\(other)' beside '\(id)'") {
      () async throws(KeyCustodyError) in
      try await trial.administration.create(other, kind: .user)
    }
    let secret = try await trial.clientSecret(id)
    try await trial.accepted(.secret(other, secret), as: id, "a name in other case")
  }

  @Sendable private static func tenantsAreApart(_ trial: IdentityTrial) async throws {
    let (here, there) = (try await trial.create("same"), try await trial.create(trial.foreignID("same"), kind: .user))
    let (ours, theirs) = (try await trial.clientSecret(here), try await trial.clientSecret(there))
    try await trial.accepted(.secret(here, ours), as: here, "its own secret")
    try await trial.accepted(.secret(there, theirs), as: there, "its own secret")
    try await trial.rejected(.secret(here, theirs), "the other tenant's secret")
    try await trial.rejected(.secret(there, ours), "the other tenant's secret")
    try await trial.accepted(.token(trial.token(here)), as: here, "a token")
    try await trial.accepted(.token(trial.token(there)), as: there, "the other tenant's token")
    try await trial.delete(here)
    try expect(try await trial.lookup(there) != nil, "Deleting a principal deleted the other tenant's.")
    try await trial.accepted(.secret(there, theirs), as: there, "its secret, after the other tenant's was deleted")
  }

  @Sendable private static func switchingIsRecorded(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    for isEnabled in [false, false, true, true] {
      try await trial.setEnabled(isEnabled, id)
      let found = try await trial.lookup(id)
      try expect(found?.isEnabled == isEnabled, "Switched \(isEnabled ? "on" : "off"): \(String(describing: found)).")
    }
  }

  @Sendable private static func deletingRemoves(_ trial: IdentityTrial) async throws {
    let (id, other) = (try await trial.create("one"), try await trial.create("two"))
    try await trial.delete(id)
    try expect(try await trial.lookup(id) == nil, "A deleted principal is still looked up.")
    try await trial.delete(id)
    try await trial.delete(trial.id("nobody"))
    try expect(try await trial.lookup(other) != nil, "Deleting a principal deleted another.")
  }

  @Sendable private static func nothingForAbsent(_ trial: IdentityTrial) async throws {
    let id = try trial.id("nobody")
    let administration = trial.administration
    try await refused(.notFound, nil, "Switching nobody off") { () async throws(KeyCustodyError) in
      try await administration.setEnabled(false, id)
    }
    try await refused(.notFound, nil, "Issuing nobody a client secret") { () async throws(KeyCustodyError) in
      _ = try await administration.issueClientSecret(for: id, expires: nil)
    }
    try await refused(.notFound, nil, "Issuing nobody a token") { () async throws(KeyCustodyError) in
      _ = try await administration.issueToken(for: id, audience: trial.audience, lifetime: .seconds(60))
    }
    for slot in APIKeySlot.allCases {
      try await refused(.notFound, nil, "Regenerating nobody's API key") { () async throws(KeyCustodyError) in
        _ = try await administration.regenerateAPIKey(slot, for: id)
      }
    }
    try expect(try await trial.lookup(id) == nil, "Refused operations made a principal.")
  }

  @Sendable private static func oneMakerWins(_ trial: IdentityTrial) async throws {
    let id = try trial.id("raced")
    let errors = await withTaskGroup(of: KeyCustodyError?.self) { group in
      for _ in 0..<8 {
        group.addTask {
          do throws(KeyCustodyError) {
            try await trial.administration.create(id, kind: .user)
            return nil
          } catch {
            return error
          }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    let winners = errors.filter { $0 == nil }.count
    try expect(winners == 1, "\(winners) of 8 concurrent makers of one principal were told that they made it.")
    for case let error? in errors {
      try expect(
        error == KeyCustodyError(.invalidInput, .alreadyExists, ""),
        "A concurrent maker got '\(error.debugDescription)'; invalidInput (already-exists) is due.")
    }
  }

  @Sendable private static func eventsTell(_ trial: IdentityTrial) async throws {
    let id = try await trial.create("one")
    let streams = [trial.provider.events(), trial.provider.events()]
    try await trial.setEnabled(false, id)
    try await trial.setEnabled(true, id)
    try await trial.delete(id)
    for stream in streams {
      let (events, _) = try await collect(
        stream, patience: trial.subject.patience, "The event of a deleted principal"
      ) { $0 == .deleted(id) }
      try expect(events == [.disabled(id), .enabled(id), .deleted(id)], "The events were \(events).")
    }
  }
}
