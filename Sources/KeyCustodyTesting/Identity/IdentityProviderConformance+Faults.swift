import KeyCustody

extension IdentityProviderConformance {
  /// What faults beneath a directory may and may not do: one behaviour for each kind of fault and operation.
  ///
  /// They need a ``FaultInjector`` in the subject's backends, and say so where there is none. They are a list of their
  /// own, since they take longer: `all + faults` is the whole contract.
  public static let faults: [ConformanceBehavior<IdentityProviderSubject>] = FaultKind.allCases.flatMap { kind in
    IdentityOperation.allCases.filter { $0.isConcerned(by: kind) }.map { survives(kind, $0) }
  }

  private static func survives(_ kind: FaultKind, _ operation: IdentityOperation) -> IdentityBehavior {
    ConformanceBehavior("\(operation.rawValue) survives \(kind.phrase)", "IdentityProvider") { subject in
      try await underFaults(subject, kind) { trial, sweep in
        if kind == .crash { try trial.bench.requirePersistence() }
        var ledger = try await IdentityLedger(trial, sweep)
        let first = try await ledger.target(of: operation)
        let runs = try await sweep.run(operation.rawValue) {
          try await working("\(operation.rawValue) without a fault") { () async throws(KeyCustodyError) in
            try await trial.perform(operation, first)
          }
        } check: { answer in
          try await ledger.settle(operation, first, .success(answer))
        } body: { call in
          let target = try await ledger.target(of: operation)
          try await tryOnce(operation, target, call, &ledger)
        }
        try await ledger.expectAllWhole()
        return runs
      }
    }
  }

  private static func tryOnce(
    _ operation: IdentityOperation, _ target: IdentityTarget, _ call: Int, _ ledger: inout IdentityLedger
  ) async throws {
    let (sweep, trial) = (ledger.sweep, ledger.trial)
    let outcome: Result<IdentityAnswer, KeyCustodyError>
    if sweep.kind == .hung {
      // A directory's calls have no deadline: whoever waits in a hang is answered when it ends.
      outcome = try await sweep.hang(operation.rawValue, call: call) { try await trial.perform(operation, target) }
      if case .failure(let error) = outcome { try sweep.expectHonest(error, operation.rawValue) }
    } else {
      let (tried, isMet) = try await sweep.attempt(operation.rawValue, call: call) {
        try await trial.perform(operation, target)
      }
      outcome = tried
      switch outcome {
      case .success:
        try expect(
          !(sweep.mustFail(call: call, isMet: isMet) && operation.isChange),
          "\(operation.rawValue) says that it worked, but nothing beneath did.")
      case .failure(let error): if sweep.kind != .crash { try sweep.expectHonest(error, operation.rawValue) }
      }
    }
    if sweep.kind == .crash { try await ledger.reopenAfterCrash() }
    try await ledger.settle(operation, target, outcome)
  }

  /// Opens a directory with faults, tries it, heals it, and closes it.
  private static func underFaults(
    _ subject: IdentityProviderSubject, _ kind: FaultKind, _ body: (IdentityTrial, FaultSweep) async throws -> Int
  ) async throws -> ConformanceResult {
    let bench = try await Bench(subject.make) { await $0.close() }
    return try await bench.underFaults(of: kind, patience: subject.patience) { sweep in
      let provider = try await bench.open()
      guard let administration = provider.administration else {
        throw NotApplicable("this identity provider issues no credentials")
      }
      let trial = IdentityTrial(subject: subject, bench: bench, provider: provider, administration: administration)
      return try await body(trial, sweep)
    }
  }
}
