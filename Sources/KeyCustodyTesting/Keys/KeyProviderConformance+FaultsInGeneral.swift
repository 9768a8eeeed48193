import KeyCustody

extension KeyProviderConformance {
  /// What is not about one operation.
  static let faultsInGeneral: [KeyBehavior] = [
    fault(.outage, "An outage and its end are told to whoever reads the events", outageIsTold),
    fault(.outage, "Many callers in an outage are all answered, and all served after it", manyInAnOutage),
    fault(.hung, "Many callers meet their deadlines while the backend hangs", manyInAHang),
    fault(.credentialRefused, "A refused credential is shown once, and not again", credentialIsShownOnce),
    ConformanceBehavior("What is not offered is refused before the backend is touched", "DESIGN 3") { subject in
      let bench = try await Bench(subject.make) { await $0.close() }
      let faults = try bench.faults(of: nil)
      do {
        try await refusesUntouched(try await KeyTrial(subject, bench: bench), faults)
      } catch {
        await bench.finish()
        throw error
      }
      await bench.finish()
      return .passed
    },
  ]

  private static func fault(
    _ kind: FaultKind, _ name: String, _ body: @escaping @Sendable (KeyTrial, FaultSweep) async throws -> Void
  ) -> KeyBehavior {
    ConformanceBehavior(name, "KeyProvider") { subject in
      try await underFaults(subject, kind) { trial, sweep in
        try await body(trial, sweep)
        return 1
      }
    }
  }

  // MARK: Outages

  @Sendable private static func outageIsTold(_ trial: KeyTrial, _ sweep: FaultSweep) async throws {
    var ledger = KeyLedger(trial, sweep)
    let target = try await ledger.target(of: .probe)
    let before = await sweep.faults.calls()
    _ = try await trial.performWorking(.probe, target)
    guard await sweep.faults.calls() > before else { throw NotApplicable("a probe makes no call beneath") }
    let events = trial.provider.events()
    let later = trial.provider.events()
    try await sweep.faults.inject(.outage, call: 1)
    for _ in 0..<3 {
      do {
        _ = try await answered(within: sweep.patience, "A probe in an outage") {
          try await trial.perform(.probe, target)
        }
        throw ConformanceViolation("A probe says in an outage that all is well.")
      } catch let error as KeyCustodyError { try sweep.expectHonest(error, "A probe in an outage") }
    }
    _ = try await collect(events, patience: sweep.patience, "The event that the backend is unavailable") { event in
      if case .unavailable = event { true } else { false }
    }
    try await sweep.heal()
    _ = try await trial.bench.recovering("A probe", patience: sweep.patience) {
      try await trial.perform(.probe, target)
    }
    let told = try await collect(later, patience: sweep.patience, "The event that the backend is available again") {
      $0 == .available
    }.elements
    let gone = told.contains { if case .keyGone = $0 { true } else { false } }
    try expect(!gone, "In an outage a key was told to be gone: \(told).")
    try expect(told.last == .available, "The last event after an outage is \(told).")
    try await ledger.expectStanding()
  }

  @Sendable private static func manyInAnOutage(_ trial: KeyTrial, _ sweep: FaultSweep) async throws {
    var ledger = KeyLedger(trial, sweep)
    let target = try await ledger.target(of: .unwrap)
    try await sweep.faults.inject(.outage, call: 1)
    try await many(32, trial, sweep, target, nil)
    try await sweep.heal()
    _ = try await trial.bench.recovering("Unwrapping", patience: sweep.patience) {
      try await trial.perform(.unwrap, target)
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<32 {
        group.addTask {
          guard case .secret(KeyTrial.secret) = try await trial.performWorking(.unwrap, target) else {
            throw ConformanceViolation("After an outage another secret was unwrapped than was wrapped.")
          }
        }
      }
      try await group.waitForAll()
    }
    try await ledger.expectStanding()
  }

  @Sendable private static func manyInAHang(_ trial: KeyTrial, _ sweep: FaultSweep) async throws {
    var ledger = KeyLedger(trial, sweep)
    let target = try await ledger.target(of: .unwrap)
    try await sweep.faults.inject(.hung, call: 1)
    try await many(32, trial, sweep, target, SystemTime().running() + .milliseconds(200))
    try await sweep.heal()
    _ = try await trial.bench.recovering("Unwrapping", patience: sweep.patience) {
      try await trial.perform(.unwrap, target)
    }
    try await ledger.expectStanding()
  }

  /// Each of many callers gets the right secret or an honest error, in time.
  private static func many(
    _ count: Int, _ trial: KeyTrial, _ sweep: FaultSweep, _ target: KeyTarget, _ deadline: Duration?
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<count {
        group.addTask {
          do {
            let answer = try await answered(within: sweep.patience, "Unwrapping") {
              try await trial.perform(.unwrap, target, deadline: deadline)
            }
            guard case .secret(KeyTrial.secret) = answer else {
              throw ConformanceViolation("Under \(sweep.kind.phrase) another secret was unwrapped than was wrapped.")
            }
          } catch let error as KeyCustodyError { try sweep.expectHonest(error, "Unwrapping") }
        }
      }
      try await group.waitForAll()
    }
  }

  // MARK: Credentials and capabilities

  @Sendable private static func credentialIsShownOnce(_ trial: KeyTrial, _ sweep: FaultSweep) async throws {
    var ledger = KeyLedger(trial, sweep)
    let target = try await ledger.target(of: .unwrap)
    let before = try unwrapped(
      await sweep.faults.credentialAttempts(), "The injector refuses credentials and does not count them.")
    try await sweep.faults.inject(.credentialRefused, call: 1)
    for operation in [KeyOperation.unwrap, .unwrap, .describe, .probe, .wrap, .unwrap] {
      do {
        _ = try await answered(within: sweep.patience, operation.rawValue) {
          try await trial.perform(operation, target)
        }
      } catch let error as KeyCustodyError { try sweep.expectHonest(error, operation.rawValue) }
    }
    let attempts = try unwrapped(await sweep.faults.credentialAttempts(), "The count of attempts is gone.") - before
    try expect(attempts <= 1, "A credential that was refused was shown \(attempts) times: PINs lock.")
    try await sweep.heal()
    guard trial.bench.persists else { return }
    await trial.bench.finish()
    try await ledger.open("Opening with a credential that is taken again")
    try await ledger.expectStanding()
  }

  private static func refusesUntouched(_ trial: KeyTrial, _ faults: any FaultInjector) async throws {
    var refusals: [(String, KeyProviderCapabilities.Ability, KeyOperation, KeyTarget)] = []
    let version = try trial.freshVersion()
    for type in KeyType.offered {
      let role: KeyRole = WrapAlgorithm.fitting(type).isEmpty ? .signing : .wrapping
      let request = GenerateKeyRequest(version: version, type: type, role: role)
      refusals.append(("Generating \(type)", .generate(type), .generate, KeyTarget(request: request)))
      refusals.append(
        ("Importing \(type)", .importing(type), .importKey, KeyTarget(request: request, material: [1, 2, 3])))
    }
    let request = GenerateKeyRequest(version: version, type: .aes(bits: 256), role: .wrapping)
    for algorithm in [WrapAlgorithm.aes256KW, .rsaOAEP, .rsaOAEP256, WrapAlgorithm(rawValue: "none-such")] {
      let target = KeyTarget(request: request, wrapping: (algorithm, [1, 2, 3]))
      refusals.append(("Wrapping with \(algorithm)", .wrap(algorithm), .wrap, target))
      refusals.append(("Unwrapping with \(algorithm)", .unwrap(algorithm), .unwrap, target))
    }
    for algorithm in SignatureAlgorithm.allCases {
      let target = KeyTarget(request: request, signing: algorithm)
      refusals.append(("Signing with \(algorithm.rawValue)", .sign(algorithm), .sign, target))
    }
    let before = await faults.calls()
    for (doing, ability, operation, target) in refusals where !trial.capabilities.offers(ability) {
      try await refused(.unsupported, .notOffered, "\(doing), which is not offered,") {
        () async throws(KeyCustodyError) in _ = try await trial.perform(operation, target)
      }
    }
    let calls = await faults.calls() - before
    try expect(calls == 0, "Refusing what is not offered made \(calls) calls to the backend.")
  }
}
