import KeyCustody
import Synchronization

/// One operation tried once for each call that it makes beneath, with that call at fault.
struct FaultSweep: Sendable {
  let kind: FaultKind
  let faults: any FaultInjector
  /// How long a backend may take to answer under a fault, and to come back after it.
  let patience: Duration

  /// The most runs of one behaviour.
  static let limit = 400
  /// Each run of a hang lasts as long as its deadline.
  static let hangLimit = 24
  /// Opening makes many calls, as it tries what the backend can do; the faults are spread over them.
  static let openingLimit = 24

  /// Runs `body` with each of the calls at fault; how many runs that were.
  ///
  /// - Parameters:
  ///   - most: the most runs; where there are more calls, the faults are spread over them.
  ///   - clean: the operation without a fault, to count its calls.
  ///   - check: what is then to be checked, which does not count.
  ///   - body: injects at the call given, works, heals, and checks.
  func run<Answer>(
    _ operation: String, limit most: Int = Self.limit, clean: () async throws -> Answer,
    check: (Answer) async throws -> Void = { _ in },
    body: (Int) async throws -> Void
  ) async throws -> Int {
    let before = await faults.calls()
    let answer = try await clean()
    let count = await faults.calls() - before
    try await check(answer)
    guard count > 0 else { throw NotApplicable("\(operation) makes no call beneath") }
    let limit = kind == .hung ? Self.hangLimit : most
    let step = (count + limit - 1) / limit
    var runs = 0
    for call in stride(from: 1, through: count, by: step) {
      do {
        try await body(call)
      } catch let violation as ConformanceViolation {
        throw ConformanceViolation("With \(kind.phrase) at call \(call) of \(count): \(violation.message)")
      }
      runs += 1
    }
    return runs
  }

  /// Sets the fault, runs `body` under it, and heals; what came of it, and whether the fault was met.
  ///
  /// - Throws: ``ConformanceViolation`` when no answer comes, or an error that is no `KeyCustodyError`.
  func attempt<Value: Sendable>(
    _ doing: String, call: Int, _ body: @escaping @Sendable () async throws -> Value
  ) async throws -> (outcome: Result<Value, KeyCustodyError>, isMet: Bool) {
    let before = await faults.calls()
    do { try await faults.inject(kind, call: call) } catch {
      throw ConformanceSetupFailure("\(kind.phrase) was not injected: \(error)")
    }
    let outcome: Result<Value, KeyCustodyError>
    do {
      outcome = .success(try await answered(within: patience, doing, body))
    } catch let error as KeyCustodyError {
      outcome = .failure(error)
    } catch {
      try? await faults.heal()
      throw error
    }
    let isMet = await faults.calls() - before >= call
    if kind != .crash { try await heal() }
    return (outcome, isMet)
  }

  /// Runs `body` until it meets a call that hangs, heals, and gives what came of it then.
  ///
  /// - Throws: ``ConformanceViolation`` when no answer comes after healing, or an error that is no `KeyCustodyError`.
  func hang<Value: Sendable>(
    _ doing: String, call: Int, _ body: @escaping @Sendable () async throws -> Value
  ) async throws -> Result<Value, KeyCustodyError> {
    let before = await faults.calls()
    do { try await faults.inject(.hung, call: call) } catch {
      throw ConformanceSetupFailure("\(kind.phrase) was not injected: \(error)")
    }
    let work = Task { try await body() }
    let start = ContinuousClock.now
    while await faults.calls() - before < call, ContinuousClock.now - start < .milliseconds(200) {
      // Until the call that hangs is met; an operation that never meets it is done by then.
      try await Task.sleep(for: .milliseconds(1))
    }
    try await heal()
    do {
      return .success(try await answered(within: patience, "\(doing) after a hang") { try await work.value })
    } catch let error as KeyCustodyError { return .failure(error) }
  }

  func heal() async throws {
    do { try await faults.heal() } catch { throw ConformanceSetupFailure("The fault did not heal: \(error)") }
  }

  /// Refuses an error that misleads: one that says of what exists that it is not there, of what is whole that it is
  /// damaged, or that keeps a caller from trying again.
  func expectHonest(_ error: KeyCustodyError, _ doing: String) throws {
    var honest: Set<KeyCustodyError.Code> = [.unavailable, .busy, .timeout]
    if kind == .corrupted { honest.formUnion([.integrityFailure, .fault]) }
    if kind == .credentialRefused { honest.insert(.credentialRejected) }
    let codes = honest.map(\.rawValue).sorted().joined(separator: ", ")
    try expect(
      honest.contains(error.code) && error.reason != .closed,
      "\(doing) threw '\(error.debugDescription)'; one of \(codes) is honest.")
  }

  /// Whether the first call at fault is one that no change can be made without.
  func mustFail(call: Int, isMet: Bool) -> Bool { call == 1 && isMet && [.outage, .hung].contains(kind) }
}

/// Runs `body`; one that does not answer in time is left behind, since it may never come back.
func answered<Value: Sendable>(
  within limit: Duration, _ doing: String, _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
  let (results, sender) = AsyncStream.makeStream(of: Result<Value, any Error>.self)
  let work = Task {
    do { sender.yield(.success(try await body())) } catch { sender.yield(.failure(error)) }
  }
  let timer = Task {
    // A bound on a backend that never answers; a sound one is not waited for.
    try await Task.sleep(for: limit)
    sender.finish()
  }
  defer {
    timer.cancel()
    work.cancel()
  }
  for await result in results { return try result.get() }
  try Task.checkCancellation()
  throw ConformanceViolation("\(doing) gave no answer within \(limit).")
}

extension Bench {
  /// Runs `body` with what makes faults of a kind beneath the backend; closes what it opened, and heals where it failed.
  ///
  /// - Parameter body: gives how many runs it made.
  func underFaults(
    of kind: FaultKind, patience: Duration, _ body: (FaultSweep) async throws -> Int
  ) async throws -> ConformanceResult {
    let sweep = FaultSweep(kind: kind, faults: try faults(of: kind), patience: patience)
    do {
      let runs = try await body(sweep)
      await finish()
      return .passedUnderFaults(runs: runs)
    } catch {
      try? await sweep.faults.heal()
      await finish()
      throw error
    }
  }

  /// Runs what must work again after a fault was healed.
  ///
  /// A backend may need a moment for it, which passes on the bench's clock too.
  func recovering<Value: Sendable>(
    _ doing: String, patience: Duration, _ body: @escaping @Sendable () async throws -> Value
  ) async throws -> Value {
    let start = ContinuousClock.now
    while true {
      do { return try await answered(within: patience, doing, body) } catch let error as KeyCustodyError {
        let mayRetry = [.unavailable, .busy, .timeout].contains(error.code) && error.reason != .closed
        guard mayRetry, ContinuousClock.now - start < patience else {
          throw ConformanceViolation(
            "\(doing) should work after the fault was healed, but threw '\(error.debugDescription)'.")
        }
      }
      clock.advance(by: .seconds(1))
      // A moment for a backend that comes back by itself; one that is back is not waited for.
      try await Task.sleep(for: .milliseconds(5))
    }
  }
}
