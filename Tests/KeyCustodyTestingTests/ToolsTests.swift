import KeyCustody
import KeyCustodyTesting
import Testing

@Suite("Manual clock", .timeLimit(.minutes(5)))
struct ManualClockTests {
  @Test("It stands still, and advancing moves wall time and running time together")
  func movesTogether() {
    let clock = ManualClock(wall: Timestamp(seconds: 100), running: .seconds(5))
    #expect(clock.now() == Timestamp(seconds: 100))
    #expect(clock.running() == .seconds(5))
    clock.advance(by: .milliseconds(1500))
    #expect(clock.now() == Timestamp(milliseconds: 101_500))
    #expect(clock.running() == .milliseconds(6500))
  }

  @Test("Setting the wall time leaves running time alone")
  func wallTimeJumps() {
    let clock = ManualClock(wall: Timestamp(seconds: 100), running: .seconds(5))
    clock.setWallTime(Timestamp(seconds: 10))
    #expect(clock.now() == Timestamp(seconds: 10))
    #expect(clock.running() == .seconds(5))
  }

  @Test("Whoever waits is resumed when the deadline is reached, and not before")
  func waitersResume() async throws {
    let clock = ManualClock(running: .zero)
    let tasks = [3, 1, 2].map { number in
      Task {
        try await clock.wait(until: .seconds(number))
        return number
      }
    }
    await clock.waiters(atLeast: 3)
    clock.advance(by: .milliseconds(999))
    #expect(clock.waiterCount == 3)
    for (task, left) in [(tasks[1], 2), (tasks[2], 1), (tasks[0], 0)] {
      clock.advance(by: .seconds(1))
      #expect(clock.waiterCount == left)
      #expect(try await task.value == 3 - left)
    }
  }

  @Test("A deadline that has passed is no wait")
  func pastDeadline() async throws {
    let clock = ManualClock(running: .seconds(10))
    try await clock.wait(until: .seconds(10))
    try await clock.wait(until: .seconds(1))
  }

  @Test("A cancelled wait ends at once, cancelled before or after it began")
  func cancelledWait() async {
    let clock = ManualClock(running: .zero)
    let waiting = Task { try await clock.wait(until: .seconds(1)) }
    await clock.waiters(atLeast: 1)
    waiting.cancel()
    await #expect(throws: CancellationError.self) { try await waiting.value }
    #expect(clock.waiterCount == 0)

    let late = Task {
      unsafe withUnsafeCurrentTask { unsafe $0?.cancel() }
      try await clock.wait(until: .seconds(1))
    }
    await #expect(throws: CancellationError.self) { try await late.value }
    #expect(clock.waiterCount == 0)
  }
}

@Suite("Random sources for tests")
struct RandomTests {
  @Test("A seed decides the bytes, another seed other bytes")
  func seedDecides() throws {
    let bytes = try SeededRandom(seed: 7).bytes(100)
    #expect(try SeededRandom(seed: 7).bytes(100) == bytes)
    #expect(try SeededRandom(seed: 8).bytes(100) != bytes)
    #expect(Set(bytes).count > 50)
    let random = SeededRandom(seed: 7)
    #expect(try random.bytes(16) != random.bytes(16))
  }

  @Test("The sequence is SplitMix64's")
  func knownSequence() {
    // The first numbers of the reference implementation (Steele, Lea, Flood 2014) for seed 1234567.
    let random = SeededRandom(seed: 1_234_567)
    #expect(random.next() == 6_457_827_717_110_365_317)
    #expect(random.next() == 3_203_168_211_198_807_973)
  }

  @Test("Fixed bytes come once, or over and over")
  func fixedBytes() throws {
    let once = FixedRandom([1, 2, 3])
    #expect(try once.bytes(2) == [1, 2])
    #expect(throws: KeyCustodyError(.fault, .internalFault, "")) { try once.bytes(2) }
    #expect(try once.bytes(1) == [3])
    let again = FixedRandom([1, 2, 3], repeating: true)
    #expect(try again.bytes(5) == [1, 2, 3, 1, 2])
    #expect(try again.bytes(2) == [3, 1])
    #expect(throws: KeyCustodyError.self) { try FixedRandom([], repeating: true).bytes(1) }
  }
}

@Suite("Recording audit sink")
struct RecordingAuditSinkTests {
  @Test("V11: it keeps events in order, and none while it fails")
  func recordsAndFails() async throws {
    let sink = RecordingAuditSink()
    try await sink.record(event("one"))
    sink.fail(with: KeyCustodyError(.unavailable, .unreachable, "The disk is full."))
    await #expect(throws: KeyCustodyError(.unavailable, .unreachable, "")) { try await sink.record(event("two")) }
    sink.fail(with: nil)
    try await sink.record(event("three"))
    #expect(sink.events.map(\.action) == ["one", "three"])
    sink.removeAll()
    #expect(sink.events.isEmpty)
  }

  private func event(_ action: String) -> AuditEvent {
    AuditEvent(
      time: Timestamp(seconds: 1), principal: "t/s", method: "token", action: action, target: "k", resource: nil,
      rule: "r", outcome: .allowed, error: nil, requestID: "1")
  }
}

@Suite("Fault plans")
struct FaultPlanTests {
  private let error = KeyCustodyError(.unavailable, .unreachable, "The line is cut.")

  private func store() -> (FaultingPolicyStore, FaultPlan<FaultingPolicyStore.Operation>) {
    let plan = FaultPlan<FaultingPolicyStore.Operation>()
    return (FaultingPolicyStore(ToyPolicyStore(disk: ToyStoreDisk(), flaw: nil), plan: plan), plan)
  }

  @Test("The call named fails, the others work")
  func nthCallFails() async throws {
    let (store, plan) = store()
    let key = try RecordKey("a")
    plan.fail(.read, call: 2, with: error)
    _ = try await store.read(key)
    await #expect(throws: error) { try await store.read(key) }
    _ = try await store.read(key)
    #expect(plan.calls(of: .read) == 3)
    #expect(plan.calls(of: .list) == 0)
  }

  @Test("A fault before leaves nothing done, a fault after loses the answer")
  func beforeAndAfter() async throws {
    let (store, plan) = store()
    let key = try RecordKey("a")
    plan.failNext(.compareAndSet, .before, with: error)
    await #expect(throws: error) { try await store.compareAndSet(key, expecting: nil, value: [1]) }
    #expect(try await store.read(key) == nil)
    plan.failNext(.compareAndSet, .after, with: error)
    await #expect(throws: error) { try await store.compareAndSet(key, expecting: nil, value: [1]) }
    #expect(try await store.read(key)?.value == [1])
  }

  @Test("A plan fails several calls, all calls, and none after a reset")
  func countsAndReset() async throws {
    let (store, plan) = store()
    let key = try RecordKey("a")
    plan.failNext(.read, count: 2, with: error)
    for _ in 0..<2 { await #expect(throws: error) { try await store.read(key) } }
    _ = try await store.read(key)
    plan.failAlways(with: error)
    await #expect(throws: error) { try await store.read(key) }
    await #expect(throws: error) { try await store.currentRevision() }
    await #expect(throws: error) { try await store.list(prefix: "", after: nil, limit: 1) }
    await #expect(throws: error) { try await store.watch(since: .zero) }
    await #expect(throws: error) { try await store.delete(key, expecting: .zero) }
    plan.reset()
    _ = try await store.read(key)
    #expect(plan.calls(of: .read) == 1)
  }

  @Test("Every operation of a key provider can be made to fail", arguments: FaultingKeyProvider.Operation.allCases)
  func everyKeyOperationFails(_ operation: FaultingKeyProvider.Operation) async throws {
    let plan = FaultPlan<FaultingKeyProvider.Operation>()
    let inner = ToyKeyProvider(disk: ToyKeyDisk(), flaw: .importsAnything, environment: RuntimeEnvironment())
    let provider = FaultingKeyProvider(inner, plan: plan)
    let context = CallContext(purpose: .probe)
    let key = try await provider.generate(
      GenerateKeyRequest(
        version: KeyVersionID(random: SystemRandom()), type: .aes(bits: 256), role: .wrapping, backupable: true),
      context: context)
    for moment in [FaultPlan<FaultingKeyProvider.Operation>.Moment.before, .after] {
      plan.reset()
      plan.fail(operation, call: 1, moment, with: error)
      await #expect(throws: error) { try await call(operation, provider, key, context) }
      #expect(plan.calls(of: operation) == 1)
    }
  }

  private func call(
    _ operation: FaultingKeyProvider.Operation, _ provider: FaultingKeyProvider, _ key: KeyDescription,
    _ context: CallContext
  ) async throws(KeyCustodyError) {
    let wrap = WrapRequest(version: key.version, algorithm: .aes256KW, context: context)
    let fresh = GenerateKeyRequest(
      version: try KeyVersionID(random: SystemRandom()), type: .aes(bits: 256), role: .wrapping)
    let secret = SecretBytes(copying: [UInt8](repeating: 1, count: 32))
    switch operation {
    case .generate: _ = try await provider.generate(fresh, context: context)
    case .importKey: _ = try await provider.importKey(secret, as: fresh, context: context)
    case .describe: _ = try await provider.describe(key.version, context: context)
    case .destroy:
      let doomed = try await provider.generate(fresh, context: context)
      try await provider.destroy(doomed.version, context: context)
    case .wrap: _ = try await provider.wrap(secret, with: wrap)
    case .unwrap:
      _ = try await provider.unwrap(try await provider.wrap(secret, with: wrap).bytes, with: wrap)
    case .sign:
      let signer = GenerateKeyRequest(version: fresh.version, type: .ec(.p256), role: .signing)
      let made = try await provider.generate(signer, context: context)
      _ = try await provider.sign(
        [UInt8](repeating: 1, count: 32),
        with: SignRequest(version: made.version, algorithm: .es256, context: context))
    case .probe: try await provider.probe(nil, context: context)
    case .inventory: _ = try await provider.inventory?.versions(after: nil, limit: 1)
    case .backUp: _ = try await provider.backup?.backUp(key.version, context: context)
    case .restore:
      let made = GenerateKeyRequest(
        version: fresh.version, type: .aes(bits: 256), role: .wrapping, backupable: true)
      _ = try await provider.generate(made, context: context)
      let blob = try await provider.backup?.backUp(made.version, context: context) ?? []
      try await provider.destroy(made.version, context: context)
      _ = try await provider.backup?.restore(blob, context: context)
    }
  }

  @Test("Wrappers without faults conform", arguments: KeyProviderConformance.all)
  func faultingProviderConforms(_ behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
    let inner: KeyProviderSubject = toySubject()
    let subject = KeyProviderSubject(verify: inner.verify) { environment in
      let backend = try await inner.make(environment)
      return .persistent { FaultingKeyProvider(try await backend.open(), plan: FaultPlan()) }
    }
    try await behavior.run(subject)
  }

  @Test("Store wrappers without faults conform", arguments: PolicyStoreConformance.all)
  func faultingStoreConforms(_ behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    let inner: PolicyStoreSubject = toySubject()
    let subject = PolicyStoreSubject { environment in
      let backend = try await inner.make(environment)
      return .persistent { FaultingPolicyStore(try await backend.open(), plan: FaultPlan()) }
    }
    try await behavior.run(subject)
  }
}

@Suite("Conformance report")
struct ConformanceReportTests {
  @Test("The table names what passed, what does not apply and what is violated")
  func tableTells() async throws {
    let behaviors: [ConformanceBehavior<Int>] = [
      ConformanceBehavior("One is positive", "A1") { number in
        guard number > 0 else { throw ConformanceViolation("It was \(number).") }
        return .passed
      },
      ConformanceBehavior("Two applies", "A2") { _ in .notApplicable("there is one only") },
      ConformanceBehavior("Three throws", "A3") { _ in throw KeyCustodyError(.fault, .internalFault, "Oh.") },
      ConformanceBehavior("Four throws something foreign", "A4") { _ in throw Foreign() },
    ]
    let report = try await ConformanceReport.run(behaviors, on: 0)
    #expect(!report.isConforming)
    #expect(report.violations.map(\.name) == ["One is positive", "Three throws", "Four throws something foreign"])
    let lines = report.description.split(separator: "\n").map(String.init)
    #expect(lines.count == 5)
    #expect(lines[0] == "VIOLATED         A1: One is positive: It was 0.")
    #expect(lines[1] == "not applicable   A2: Two applies: there is one only")
    #expect(lines[2].contains("fault (internal-fault)"))
    #expect(lines[3].contains("not a KeyCustodyError"))
    #expect(lines[4] == "0 passed, 1 not applicable, 3 violated")
    let good = try await ConformanceReport.run([behaviors[0], behaviors[1]], on: 1)
    #expect(good.isConforming)
    #expect(good.lines.map(\.verdict) == [.passed, .notApplicable("there is one only")])
  }

  private struct Foreign: Error {}

  @Test("A setup that fails is no verdict")
  func setupFails() async {
    let behaviors = [
      ConformanceBehavior<Int>("One", "A1") { _ in throw ConformanceSetupFailure("No device.") }
    ]
    await #expect(throws: ConformanceSetupFailure.self) { try await ConformanceReport.run(behaviors, on: 1) }
  }

  @Test("A behaviour is shown with its requirement")
  func behaviorDescription() {
    let behavior = ConformanceBehavior<Int>("Something holds", "V7") { _ in .passed }
    #expect(behavior.description == "V7: Something holds")
  }
}
