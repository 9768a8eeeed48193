import KeyCustody

/// What a directory under faults has acknowledged, and the checks that it keeps to it.
struct IdentityLedger {
  private(set) var trial: IdentityTrial
  let sweep: FaultSweep
  private var standing: IdentityTarget
  private var count = 0

  init(_ trial: IdentityTrial, _ sweep: FaultSweep) async throws {
    self.trial = trial
    self.sweep = sweep
    standing = try await Self.make("standing", trial)
  }

  private var patience: Duration { sweep.patience }

  private static func make(_ name: String, _ trial: IdentityTrial) async throws -> IdentityTarget {
    let id = try await trial.create(name)
    return IdentityTarget(
      id: id, secret: try await trial.clientSecret(id), firstKey: try await trial.apiKey(.first, id),
      secondKey: try await trial.apiKey(.second, id), token: try await trial.token(id))
  }

  /// Whom an operation is done to; makes whoever will be changed or removed.
  mutating func target(of operation: IdentityOperation) async throws -> IdentityTarget {
    count += 1
    switch operation {
    case .create: return IdentityTarget(id: try trial.id("new-\(count)"))
    case .managedIdentity:
      return IdentityTarget(id: try trial.id("any"), resource: try ResourceID("resource-\(count)"))
    case .delete, .switchOff, .clientSecret, .apiKey: return try await Self.make("tried-\(count)", trial)
    default: return standing
    }
  }

  // MARK: After a fault

  /// The same directory, dropped without closing and opened again.
  mutating func reopenAfterCrash() async throws {
    trial.bench.drop()
    try await sweep.heal()
    let bench = trial.bench
    trial = try trial.with(
      try await bench.recovering("Opening after a crash", patience: patience) { try await bench.reopenUnderFaults() })
  }

  /// Checks what an operation answered, and that everything is as it was answered; does it again where it failed.
  mutating func settle(
    _ operation: IdentityOperation, _ target: IdentityTarget, _ outcome: Result<IdentityAnswer, KeyCustodyError>
  ) async throws {
    switch outcome {
    case .success(let answer): try await accept(answer, operation, target)
    case .failure(let error):
      if operation.isChange, error.retryClass == .later, sweep.kind != .crash {
        try await expectNothingHappened(operation, target, error)
      }
      // Whatever became of the first key, the others go on working.
      if operation == .apiKey || operation == .clientSecret {
        try await expectAccepted(.apiKey(target.secondKey), target.id, "the second API key")
        try await expectAccepted(.secret(target.id, target.secret), target.id, "an earlier client secret")
      }
      try await retry(operation, target)
    }
    try await expectStanding()
  }

  private func retry(_ operation: IdentityOperation, _ target: IdentityTarget) async throws {
    let trial = trial
    let answer = try await trial.bench.recovering("\(operation.rawValue), done again,", patience: patience) {
      () async throws -> IdentityAnswer? in
      do throws(KeyCustodyError) { return try await trial.perform(operation, target) } catch {
        guard operation == .create || operation == .managedIdentity, error.reason == .alreadyExists else { throw error }
        return nil
      }
    }
    // Who exists already was made by the call that failed.
    if let answer { try await accept(answer, operation, target) }
    if operation == .create { try await accept(.done, operation, target) }
  }

  private func lookup(_ id: PrincipalID) async throws -> PrincipalRecord? {
    let trial = trial
    return try await trial.bench.recovering("Looking up a principal", patience: patience) {
      try await trial.administration.lookup(id)
    }
  }

  /// `later` promises that nothing happened.
  private func expectNothingHappened(
    _ operation: IdentityOperation, _ target: IdentityTarget, _ error: KeyCustodyError
  ) async throws {
    let message = "\(operation.rawValue) threw '\(error.description)', which says that nothing happened, but it had."
    switch operation {
    case .create: try expect(try await lookup(target.id) == nil, message)
    case .delete: try expect(try await lookup(target.id) != nil, message)
    case .switchOff: try expect(try await lookup(target.id)?.isEnabled == true, message)
    case .apiKey: try await expectAccepted(.apiKey(target.firstKey), target.id, "an API key that stays (\(message))")
    default: break
    }
  }

  private func accept(
    _ answer: IdentityAnswer, _ operation: IdentityOperation, _ target: IdentityTarget
  ) async throws {
    switch (answer, operation) {
    case (.record(let record), _):
      let due = PrincipalRecord(id: target.id, kind: .servicePrincipal, resource: nil, isEnabled: true)
      try expect(record == due, "A principal is looked up as \(record.map { "\($0)" } ?? "nobody").")
    case (.principal(let principal), _):
      try expect(principal.id == target.id, "'\(principal.id)' was authenticated instead of '\(target.id)'.")
    case (.text(let text), .clientSecret):
      try await expectAccepted(.secret(target.id, text), target.id, "a client secret just issued")
      try await expectAccepted(.secret(target.id, target.secret), target.id, "an earlier client secret")
    case (.text(let text), .apiKey):
      try await expectAccepted(.apiKey(text), target.id, "an API key just issued")
      try await expectRejected(.apiKey(target.firstKey), "an API key that was replaced")
      try await expectAccepted(.apiKey(target.secondKey), target.id, "the second API key")
    case (.text(let text), _): try await expectAccepted(.token(text), target.id, "a token just issued")
    case (.id(let id), _):
      let found = try await lookup(id)
      try expect(found?.resource == target.resource, "A managed identity is bound to another resource.")
    case (.done, .create):
      let found = try await lookup(target.id)
      try expect(
        found?.id == target.id && found?.kind == .servicePrincipal && found?.isEnabled == true,
        "A principal that was made is looked up as \(found.map { "\($0)" } ?? "nobody").")
    case (.done, .delete):
      try expect(try await lookup(target.id) == nil, "A principal that was deleted is still there.")
      try await expectRejected(.secret(target.id, target.secret), "a deleted principal's secret")
    case (.done, _):
      try expect(try await lookup(target.id)?.isEnabled == false, "Who was switched off is looked up as on.")
      try await expectRejected(.secret(target.id, target.secret), "a secret of who was switched off")
    }
  }

  private func expectAccepted(_ proof: IdentityTrial.Proof, _ id: PrincipalID, _ what: String) async throws {
    let trial = trial
    let principal = try await trial.bench.recovering("Authenticating with \(what)", patience: patience) {
      try await trial.authenticate(proof)
    }
    try expect(principal.id == id, "\(what) authenticated '\(principal.id)' instead of '\(id)'.")
  }

  private func expectRejected(_ proof: IdentityTrial.Proof, _ what: String) async throws {
    try await trial.rejected(proof, what)
  }

  /// Whoever nothing was done to still gets in with everything.
  func expectStanding() async throws {
    try await expectAccepted(.secret(standing.id, standing.secret), standing.id, "a client secret")
    try await expectAccepted(.apiKey(standing.firstKey), standing.id, "the first API key")
    try await expectAccepted(.apiKey(standing.secondKey), standing.id, "the second API key")
    try await expectAccepted(.token(standing.token), standing.id, "a token")
  }

  /// The same after opening again.
  mutating func expectAllWhole() async throws {
    guard trial.bench.persists else { return }
    trial = try await trial.reopened()
    try await expectStanding()
  }
}
