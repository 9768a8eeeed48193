import KeyCustody

extension KeyProviderConformance {
  /// Faults while a backend is opened that was there before.
  static let faultsAtOpening: [KeyBehavior] =
    [FaultKind.refused, .answerLost, .outage, .absent, .corrupted, .crash].map { kind in
      ConformanceBehavior("opening survives \(kind.phrase)", "KeyProvider") { subject in
        try await underFaults(subject, kind) { trial, sweep in
          try trial.bench.requirePersistence()
          let identity = trial.provider.identity
          var ledger = KeyLedger(trial, sweep)
          _ = try await ledger.target(of: .describe)
          let runs = try await sweep.run("opening", limit: FaultSweep.openingLimit) {
            await trial.bench.finish()
            try await ledger.open("Opening again")
          } body: { call in
            try await openOnce(call, identity, &ledger)
          }
          try await ledger.expectAllWhole()
          return runs
        }
      }
    }

  private static func openOnce(
    _ call: Int, _ identity: ProviderIdentity, _ ledger: inout KeyLedger
  ) async throws {
    let (bench, sweep) = (ledger.trial.bench, ledger.sweep)
    await bench.finish()
    let (outcome, isMet) = try await sweep.attempt("opening", call: call) { try await bench.reopenUnderFaults() }
    if sweep.kind == .crash {
      bench.drop()
      try await sweep.heal()
    }
    switch outcome {
    case .success(let provider) where sweep.kind != .crash:
      try expect(
        !sweep.mustFail(call: call, isMet: isMet), "Opening says that it worked, but nothing beneath did.")
      try expect(
        provider.identity == identity, "Under a fault '\(provider.identity)' was opened instead of '\(identity)'.")
      ledger.use(provider)
    case .failure(let error) where sweep.kind != .crash:
      try sweep.expectHonest(error, "opening")
      try await ledger.open("Opening again")
    default: try await ledger.open("Opening again")
    }
    try expect(
      ledger.trial.provider.identity == identity,
      "After a fault at opening '\(ledger.trial.provider.identity)' was opened instead of '\(identity)'.")
    try await ledger.expectStanding()
  }
}
