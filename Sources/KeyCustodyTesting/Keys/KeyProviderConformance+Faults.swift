import KeyCustody

extension KeyProviderConformance {
  /// What faults beneath a provider may and may not do: one behaviour for each kind of fault and operation.
  ///
  /// They need a ``FaultInjector`` in the subject's backends, and say so where there is none. They are a list of their
  /// own, since they take longer: `all + faults` is the whole contract.
  public static let faults: [ConformanceBehavior<KeyProviderSubject>] =
    FaultKind.allCases.flatMap { kind in
      KeyOperation.allCases.filter { $0.isConcerned(by: kind) }.map { survives(kind, $0) }
    } + faultsAtOpening + faultsInGeneral

  private static func survives(_ kind: FaultKind, _ operation: KeyOperation) -> ConformanceBehavior<KeyProviderSubject>
  {
    ConformanceBehavior("\(operation.rawValue) survives \(kind.phrase)", "KeyProvider") { subject in
      try await underFaults(subject, kind) { trial, sweep in
        if kind == .crash { try trial.bench.requirePersistence() }
        var ledger = KeyLedger(trial, sweep)
        let first = try await ledger.target(of: operation)
        let runs = try await sweep.run(operation.rawValue) {
          try await trial.performWorking(operation, first)
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
    _ operation: KeyOperation, _ target: KeyTarget, _ call: Int, _ ledger: inout KeyLedger
  ) async throws {
    let (sweep, trial) = (ledger.sweep, ledger.trial)
    if sweep.kind == .hung, operation == .inventory {
      // Listing has no deadline: whoever waits in a hang is answered when it ends.
      let outcome = try await sweep.hang(operation.rawValue, call: call) { try await trial.perform(operation, target) }
      if case .failure(let error) = outcome { try sweep.expectHonest(error, operation.rawValue) }
      return try await ledger.settle(operation, target, outcome)
    }
    // Real time: what hangs does not look at a clock that a test moves.
    let deadline = sweep.kind == .hung ? SystemTime().running() + .milliseconds(100) : nil
    let (outcome, isMet) = try await sweep.attempt(operation.rawValue, call: call) {
      try await trial.perform(operation, target, deadline: deadline)
    }
    switch outcome {
    case .success:
      try expect(
        !(sweep.mustFail(call: call, isMet: isMet) && (operation.isChange || operation == .probe)),
        "\(operation.rawValue) says that it worked, but nothing beneath did.")
    case .failure(let error): if sweep.kind != .crash { try sweep.expectHonest(error, operation.rawValue) }
    }
    if sweep.kind == .crash { try await ledger.reopenAfterCrash() }
    try await ledger.settle(operation, target, outcome)
  }

  /// Opens a backend with faults, tries it, heals it, and closes it.
  static func underFaults(
    _ subject: KeyProviderSubject, _ kind: FaultKind, _ body: (KeyTrial, FaultSweep) async throws -> Int
  ) async throws -> ConformanceResult {
    let bench = try await Bench(subject.make, time: kind == .hung ? SystemTime() : nil) { await $0.close() }
    return try await bench.underFaults(of: kind, patience: subject.patience) { sweep in
      try await body(try await KeyTrial(subject, bench: bench), sweep)
    }
  }
}

extension KeyTrial {
  /// Does an operation that must work.
  func performWorking(_ operation: KeyOperation, _ target: KeyTarget) async throws -> KeyAnswer {
    try await working("\(operation.rawValue) without a fault") { () async throws(KeyCustodyError) in
      try await perform(operation, target)
    }
  }
}
