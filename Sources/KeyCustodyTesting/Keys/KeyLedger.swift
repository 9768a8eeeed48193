import KeyCustody

/// What a provider under faults has acknowledged, and the checks that it keeps to it.
struct KeyLedger {
  private(set) var trial: KeyTrial
  let sweep: FaultSweep
  private let hasInventory: Bool
  /// The keys there must be, and what was wrapped under each before any fault.
  private var living: [KeyVersionID: (key: KeyDescription, wrapping: (algorithm: WrapAlgorithm, bytes: [UInt8])?)] = [:]
  /// One of them, to work with.
  private var standing: KeyTarget?
  private var signer: KeyTarget?

  init(_ trial: KeyTrial, _ sweep: FaultSweep) {
    self.trial = trial
    self.sweep = sweep
    hasInventory = trial.provider.inventory != nil
  }

  private var patience: Duration { sweep.patience }

  /// What is done to which key; makes the key that will be destroyed.
  mutating func target(of operation: KeyOperation) async throws -> KeyTarget {
    if standing == nil { standing = try await keep(try await make()) }
    switch operation {
    case .generate: return KeyTarget(request: try request())
    case .importKey:
      guard let (type, role, material) = trial.importable.last else { throw NotApplicable("import is not offered") }
      return KeyTarget(
        request: GenerateKeyRequest(version: try trial.freshVersion(), type: type, role: role), material: material)
    case .destroy: return try await keep(try await make())
    case .sign:
      if let signer { return signer }
      let (algorithm, type) = try trial.someSigning()[0]
      let key = try await trial.generate(type, .signing)
      living[key.version] = (key, nil)
      let target = KeyTarget(
        request: GenerateKeyRequest(version: key.version, type: type, role: .signing), signing: algorithm)
      signer = target
      return target
    case .wrap, .unwrap:
      _ = try trial.someWrapping()
      fallthrough
    case .describe, .probe:
      guard let standing else { throw NotApplicable("no key can be made here") }
      return standing
    case .inventory:
      guard hasInventory, let standing else { throw NotApplicable("this provider does not list its keys") }
      return standing
    }
  }

  private func request() throws -> GenerateKeyRequest {
    guard let type = trial.wrapping.first?.type ?? trial.generableType() else {
      throw NotApplicable("no key type can be generated here")
    }
    return GenerateKeyRequest(
      version: try trial.freshVersion(), type: type, role: WrapAlgorithm.fitting(type).isEmpty ? .signing : .wrapping)
  }

  private func make() async throws -> KeyDescription {
    let request = try request()
    return try await trial.generate(request.type, request.role, version: request.version)
  }

  /// Takes a key among those that must be there.
  private mutating func keep(_ key: KeyDescription) async throws -> KeyTarget {
    var target = KeyTarget(request: GenerateKeyRequest(version: key.version, type: key.type, role: key.role))
    if let algorithm = trial.wrapping.first(where: { WrapAlgorithm.fitting(key.type).contains($0.algorithm) })?
      .algorithm, key.role == .wrapping
    {
      let (trial, version) = (trial, key.version)
      let asked = KeyTarget(request: target.request, wrapping: (algorithm, []))
      let bytes = try await trial.bench.recovering("Wrapping under a key just made", patience: patience) {
        try await trial.perform(.wrap, asked)
      }
      guard case .wrapped(let wrapped) = bytes else { return target }
      try expect(wrapped.version == version, "Wrapped under \(version), the answer names \(wrapped.version).")
      target.wrapping = (algorithm, wrapped.bytes)
    }
    living[key.version] = (key, target.wrapping)
    return target
  }

  // MARK: After a fault

  /// The same backend, dropped without closing and opened again.
  mutating func reopenAfterCrash() async throws {
    trial.bench.drop()
    try await sweep.heal()
    try await open("Opening after a crash")
  }

  /// Opens what was closed, or never came to be open.
  mutating func open(_ doing: String) async throws {
    let bench = trial.bench
    trial = trial.with(
      try await bench.recovering(doing, patience: patience) { try await bench.reopenUnderFaults() })
  }

  /// Takes over what was opened under a fault.
  mutating func use(_ provider: any KeyProvider) { trial = trial.with(provider) }

  /// Checks what an operation answered, and that everything is as it was answered; does it again where it failed.
  mutating func settle(
    _ operation: KeyOperation, _ target: KeyTarget, _ outcome: Result<KeyAnswer, KeyCustodyError>
  ) async throws {
    switch outcome {
    case .success(let answer): try await accept(answer, operation, target)
    case .failure(let error):
      if operation.isChange, error.retryClass == .later, sweep.kind != .hung, sweep.kind != .crash {
        try await expectNothingHappened(operation, target, error)
      }
      try await retry(operation, target)
    }
    try await expectStanding()
  }

  /// `later` promises that nothing happened.
  private func expectNothingHappened(
    _ operation: KeyOperation, _ target: KeyTarget, _ error: KeyCustodyError
  ) async throws {
    let isThere = try await find(target.version) != nil
    try expect(
      isThere == (operation == .destroy),
      "\(operation.rawValue) threw '\(error.description)', which says that nothing happened, but it had happened.")
  }

  private func find(_ version: KeyVersionID) async throws -> KeyDescription? {
    let trial = trial
    return try await trial.bench.recovering("Describing a key", patience: patience) {
      do throws(KeyCustodyError) {
        return try await trial.provider.describe(version, context: trial.context)
      } catch {
        if error.code == .notFound { return nil }
        throw error
      }
    }
  }

  private mutating func retry(_ operation: KeyOperation, _ target: KeyTarget) async throws {
    let trial = trial
    let answer = try await trial.bench.recovering(
      "\(operation.rawValue), done again under the same name,", patience: patience
    ) { () async throws -> KeyAnswer? in
      do throws(KeyCustodyError) {
        return try await trial.perform(operation, target)
      } catch {
        if operation.makesKey, error.reason == .alreadyExists { return nil }
        if operation == .destroy, error.code == .notFound { return nil }
        throw error
      }
    }
    if let answer {
      try await accept(answer, operation, target)
    } else if operation == .destroy {
      try await accept(.done, operation, target)
    } else {
      let key = try unwrapped(
        try await find(target.version), "A key is said to exist already and is then not found.")
      try await accept(.key(key), operation, target)
    }
  }

  private mutating func accept(_ answer: KeyAnswer, _ operation: KeyOperation, _ target: KeyTarget) async throws {
    switch answer {
    case .key(let key) where operation.makesKey:
      try expect(key.version == target.version, "Asked for \(target.version), got \(key.version).")
      try expect(
        key.type == target.request.type && key.role == target.request.role, "Another key was made than was asked for.")
      _ = try await keep(key)
      try await expectWhole(target.version)
    case .key(let key):
      try expect(key == living[target.version]?.key, "A key is described as \(key), but was made as another one.")
    case .wrapped(let wrapped):
      try expect(wrapped.version == target.version, "The answer names another key version than was asked for.")
      try await expectUnwraps(wrapped.bytes, target, "what was wrapped under a fault")
    case .secret(let secret): try expect(secret == KeyTrial.secret, "Another secret was unwrapped than was wrapped.")
    case .signature(let signature): try expectSigned(signature, target)
    case .versions(let versions):
      try expect(
        versions == living.keys.sorted(), "The inventory lists \(versions); there are \(living.keys.sorted()).")
    case .done:
      guard operation == .destroy else { return }
      living[target.version] = nil
      try expect(try await find(target.version) == nil, "A key that was destroyed is still there.")
    }
  }

  private func expectSigned(_ signature: [UInt8], _ target: KeyTarget) throws {
    guard let verify = trial.subject.verify, let algorithm = target.signing,
      let publicKey = living[target.version]?.key.publicKey
    else { return }
    let isRight = try verify(signature, trial.digest(for: algorithm), publicKey, algorithm)
    try expect(isRight, "A signature given under a fault does not verify.")
  }

  private func expectUnwraps(_ bytes: [UInt8], _ target: KeyTarget, _ what: String) async throws {
    let trial = trial
    var target = target
    target.wrapping = target.wrapping.map { ($0.algorithm, bytes) }
    let asked = target
    let answer = try await trial.bench.recovering("Unwrapping \(what)", patience: patience) {
      try await trial.perform(.unwrap, asked)
    }
    guard case .secret(let secret) = answer, secret == KeyTrial.secret else {
      throw ConformanceViolation("Unwrapping \(what) gave something else.")
    }
  }

  /// A key that must be there is described as it was made and unwraps what it wrapped.
  private func expectWhole(_ version: KeyVersionID) async throws {
    guard let entry = living[version] else { return }
    let found = try await find(version)
    try expect(found == entry.key, found == nil ? "A key that was acknowledged is gone." : "A key changed.")
    if let wrapping = entry.wrapping {
      let request = GenerateKeyRequest(version: version, type: entry.key.type, role: entry.key.role)
      try await expectUnwraps(
        wrapping.bytes, KeyTarget(request: request, wrapping: wrapping), "what a key wrapped before the fault")
    }
  }

  /// The standing key is whole, and the list is what was acknowledged.
  func expectStanding() async throws {
    if let standing { try await expectWhole(standing.version) }
    try await expectInventory()
  }

  private func expectInventory() async throws {
    guard hasInventory, let standing else { return }
    let trial = trial
    let answer = try await trial.bench.recovering("Listing keys", patience: patience) {
      try await trial.perform(.inventory, standing)
    }
    guard case .versions(let versions) = answer else { return }
    try expect(
      versions == living.keys.sorted(),
      "After the fault \(versions) are listed; \(living.keys.sorted()) were acknowledged.")
  }

  /// Everything that was acknowledged is whole, after opening again too where the backend persists.
  mutating func expectAllWhole() async throws {
    for version in living.keys.sorted() { try await expectWhole(version) }
    guard trial.bench.persists else { return }
    trial = try await trial.reopened()
    for version in living.keys.sorted() { try await expectWhole(version) }
    try await expectInventory()
  }
}
