import KeyCustody

extension PolicyStoreConformance {
  /// What faults beneath a store may and may not do: one behaviour for each kind of fault and operation.
  ///
  /// They need a ``FaultInjector`` in the subject's backends, and say so where there is none. They are a list of their
  /// own, since they take longer: `all + faults` is the whole contract.
  public static let faults: [ConformanceBehavior<PolicyStoreSubject>] =
    FaultKind.allCases.flatMap { kind in
      StoreOperation.allCases.filter { $0.isConcerned(by: kind) }.map { survives(kind, $0) }
    } + faultsAtOpening + faultsInGeneral

  private static func survives(_ kind: FaultKind, _ operation: StoreOperation) -> StoreBehavior {
    ConformanceBehavior("\(operation.rawValue) survives \(kind.phrase)", "PolicyStore") { subject in
      try await underFaults(subject, kind) { trial, sweep in
        if kind == .crash { try trial.bench.requirePersistence() }
        var ledger = try await StoreLedger(trial, sweep)
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
    _ operation: StoreOperation, _ target: StoreTarget, _ call: Int, _ ledger: inout StoreLedger
  ) async throws {
    let (sweep, trial) = (ledger.sweep, ledger.trial)
    if sweep.kind == .hung { return try await hangOnce(operation, target, call, &ledger) }
    let (outcome, isMet) = try await sweep.attempt(operation.rawValue, call: call) {
      try await trial.perform(operation, target)
    }
    switch outcome {
    case .success(.outcome(.stored)):
      try expect(
        !sweep.mustFail(call: call, isMet: isMet),
        "\(operation.rawValue) says that it worked, but nothing beneath did.")
    case .success: break
    case .failure(let error): if sweep.kind != .crash { try sweep.expectHonest(error, operation.rawValue) }
    }
    if sweep.kind == .crash { try await ledger.reopenAfterCrash() }
    try await ledger.settle(operation, target, outcome)
  }

  /// A store's calls have no deadline: whoever waits in a hang is answered when it ends.
  private static func hangOnce(
    _ operation: StoreOperation, _ target: StoreTarget, _ call: Int, _ ledger: inout StoreLedger
  ) async throws {
    let (sweep, trial) = (ledger.sweep, ledger.trial)
    let outcome = try await sweep.hang(operation.rawValue, call: call) { try await trial.perform(operation, target) }
    if case .failure(let error) = outcome { try sweep.expectHonest(error, operation.rawValue) }
    try await ledger.settle(operation, target, outcome)
  }

  /// Opens a backend with faults, tries it, heals it, and closes it.
  private static func underFaults(
    _ subject: PolicyStoreSubject, _ kind: FaultKind, _ body: (StoreTrial, FaultSweep) async throws -> Int
  ) async throws -> ConformanceResult {
    let bench = try await Bench(subject.make, time: kind == .hung ? SystemTime() : nil) { await $0.close() }
    return try await bench.underFaults(of: kind, patience: subject.patience) { sweep in
      try await body(try await StoreTrial(subject, bench: bench), sweep)
    }
  }

  // MARK: Opening

  static let faultsAtOpening: [StoreBehavior] =
    [FaultKind.refused, .answerLost, .outage, .absent, .corrupted, .crash].map { kind in
      ConformanceBehavior("opening survives \(kind.phrase)", "PolicyStore") { subject in
        try await underFaults(subject, kind) { trial, sweep in
          try trial.bench.requirePersistence()
          let identity = trial.store.identity
          var ledger = try await StoreLedger(trial, sweep)
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

  private static func openOnce(_ call: Int, _ identity: ProviderIdentity, _ ledger: inout StoreLedger) async throws {
    let (bench, sweep) = (ledger.trial.bench, ledger.sweep)
    await bench.finish()
    let (outcome, isMet) = try await sweep.attempt("opening", call: call) { try await bench.reopenUnderFaults() }
    if sweep.kind == .crash { return try await ledger.reopenAfterCrash() }
    switch outcome {
    case .success(let store):
      try expect(!sweep.mustFail(call: call, isMet: isMet), "Opening says that it worked, but nothing beneath did.")
      try expect(store.identity == identity, "Under a fault '\(store.identity)' was opened instead of '\(identity)'.")
      // What was damaged while it was read is told by name; opening again reads it anew.
      if sweep.kind != .corrupted { try await ledger.use(store) }
    case .failure(let error): try sweep.expectHonest(error, "opening")
    }
    if sweep.kind == .corrupted { await bench.finish() }
    if sweep.kind == .corrupted || bench.isIdle { try await ledger.open("Opening again") }
    try expect(
      ledger.trial.store.identity == identity,
      "After a fault at opening '\(ledger.trial.store.identity)' was opened instead of '\(identity)'.")
    try await ledger.expectList()
  }

  // MARK: Many at once

  static let faultsInGeneral: [StoreBehavior] = [
    ConformanceBehavior("Many writers in an outage are all answered, and all served after it", "PolicyStore") {
      subject in
      try await underFaults(subject, .outage) { trial, sweep in
        let ledger = try await StoreLedger(trial, sweep)
        let before = await sweep.faults.calls()
        try await trial.remove(try await trial.put("probe"))
        guard await sweep.faults.calls() > before else { throw NotApplicable("writing makes no call beneath") }
        try await sweep.faults.inject(.outage, call: 1)
        try await withThrowingTaskGroup(of: Void.self) { group in
          for number in 0..<32 {
            let key = try trial.key("many/\(number)")
            group.addTask {
              do {
                _ = try await answered(within: sweep.patience, "A write in an outage") {
                  try await trial.store.compareAndSet(key, expecting: nil, value: [1])
                }
                throw ConformanceViolation("A write says in an outage that it worked.")
              } catch let error as KeyCustodyError { try sweep.expectHonest(error, "A write in an outage") }
            }
          }
          try await group.waitForAll()
        }
        try await sweep.heal()
        try await ledger.expectList()
        let first = try trial.key("many/first")
        try await trial.bench.recovering("Writing after an outage", patience: sweep.patience) {
          guard case .stored(let revision) = try await trial.store.compareAndSet(first, expecting: nil, value: [1])
          else { return }
          _ = try await trial.store.delete(first, expecting: revision)
        }
        for number in 0..<32 { try await trial.remove(try await trial.put("many/\(number)")) }
        try await ledger.expectList()
        return 1
      }
    }
  ]
}
