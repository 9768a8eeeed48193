import KeyCustody

extension KeyProviderConformance {
  /// Many callers at once.
  static let concurrency: [KeyBehavior] = [
    .init("64 concurrent unwraps each give their own secret", "KeyProvider", concurrentUnwraps),
    .init("Concurrent users of different keys don't mix them up", "KeyProvider", concurrentKeysStayApart),
    .init("Of concurrent makers of one name exactly one wins", "KeyProvider", concurrentTwins),
    .init("Cancelled callers harm nobody", "KeyProvider", cancelledCallersHarmNobody),
    .init("Calls with a far deadline and with none are taken", "CallContext", deadlinesAreTaken),
    .init("A call whose deadline has passed times out or works", "CallContext", passedDeadlineTimesOut),
  ]

  @Sendable private static func concurrentUnwraps(_ trial: KeyTrial) async throws {
    let (key, algorithm) = try await trial.wrappingKey()
    var wrapped: [(secret: [UInt8], bytes: [UInt8])] = []
    for number in UInt8(0)..<64 {
      let secret = [UInt8](repeating: number, count: 32)
      wrapped.append((secret, try await trial.wrap(secret, key.version, algorithm).bytes))
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (secret, bytes) in wrapped {
        group.addTask { try await trial.expectUnwraps(bytes, to: secret, key.version, algorithm, "among 64 at once") }
      }
      try await group.waitForAll()
    }
  }

  @Sendable private static func concurrentKeysStayApart(_ trial: KeyTrial) async throws {
    let (algorithm, type) = try trial.someWrapping()[0]
    var keys: [KeyVersionID] = []
    for _ in 0..<4 { keys.append(try await trial.generate(type, .wrapping).version) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (number, key) in keys.enumerated() {
        for round in 0..<4 {
          group.addTask {
            let secret = [UInt8](repeating: UInt8(16 * number + round), count: 32)
            let wrapped = try await trial.wrap(secret, key, algorithm)
            try expect(wrapped.version == key, "Wrapped under \(key), the answer names \(wrapped.version).")
            try await trial.expectUnwraps(wrapped.bytes, to: secret, key, algorithm, "beside users of other keys")
          }
        }
      }
      try await group.waitForAll()
    }
  }

  @Sendable private static func concurrentTwins(_ trial: KeyTrial) async throws {
    let (algorithm, type) = try trial.someWrapping()[0]
    let request = GenerateKeyRequest(version: try trial.freshVersion(), type: type, role: .wrapping)
    let outcomes = await withTaskGroup(of: Result<KeyDescription, KeyCustodyError>.self) { group in
      for _ in 0..<8 {
        group.addTask {
          do throws(KeyCustodyError) {
            return .success(try await trial.provider.generate(request, context: trial.context))
          } catch {
            return .failure(error)
          }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    let winners = outcomes.compactMap { try? $0.get() }
    try expect(winners.count == 1, "\(winners.count) of 8 concurrent makers of one name were told that they made it.")
    for case .failure(let error) in outcomes {
      try expect(
        error == KeyCustodyError(.invalidInput, .alreadyExists, ""),
        "A concurrent maker of a taken name got '\(error.debugDescription)'; invalidInput (already-exists) is due.")
    }
    let found = try await trial.describe(request.version)
    try expect(found == winners[0], "The key is not the one that the winner was told.")
    let wrapped = try await trial.wrap(request.version, algorithm)
    try await trial.expectUnwraps(wrapped.bytes, request.version, algorithm, "after eight makers of one name")
  }

  @Sendable private static func cancelledCallersHarmNobody(_ trial: KeyTrial) async throws {
    let (key, algorithm) = try await trial.wrappingKey()
    let wrapped = try await trial.wrap(key.version, algorithm).bytes
    let request = trial.request(key.version, algorithm)
    let tasks = (0..<32).map { _ in
      Task { () async -> Bool in
        do throws(KeyCustodyError) {
          return try await trial.provider.unwrap(wrapped, with: request).testBytes == KeyTrial.secret
        } catch {
          // Giving up is allowed; saying that the data is bad or gone is not.
          return ![.integrityFailure, .notFound, .invalidInput].contains(error.code)
        }
      }
    }
    for task in tasks { task.cancel() }
    for task in tasks {
      let good = await task.value
      try expect(good, "A cancelled unwrap gave a wrong secret, or blamed the data.")
    }
    try await trial.expectUnwraps(wrapped, key.version, algorithm, "after 32 callers were cancelled")
  }

  @Sendable private static func deadlinesAreTaken(_ trial: KeyTrial) async throws {
    let (key, algorithm) = try await trial.wrappingKey()
    for deadline in [nil, .seconds(60), .seconds(1_000_000_000)] as [Duration?] {
      var request = trial.request(key.version, algorithm)
      request.context.deadline = deadline.map { trial.bench.clock.running() + $0 }
      let wrapped = try await working("Wrapping by a deadline of \(String(describing: deadline))") {
        () async throws(KeyCustodyError) in
        try await trial.provider.wrap(SecretBytes(copying: KeyTrial.secret), with: request)
      }
      let secret = try await working("Unwrapping by a deadline of \(String(describing: deadline))") {
        () async throws(KeyCustodyError) in
        try await trial.provider.unwrap(wrapped.bytes, with: request)
      }
      try expect(secret.testBytes == KeyTrial.secret, "A secret changed on its way.")
    }
  }

  @Sendable private static func passedDeadlineTimesOut(_ trial: KeyTrial) async throws {
    let (key, algorithm) = try await trial.wrappingKey()
    let wrapped = try await trial.wrap(key.version, algorithm).bytes
    trial.bench.clock.advance(by: .seconds(60))
    var request = trial.request(key.version, algorithm)
    request.context.deadline = trial.bench.clock.running() - .seconds(30)
    do throws(KeyCustodyError) {
      let secret = try await trial.provider.unwrap(wrapped, with: request)
      try throwingExpect(secret.testBytes == KeyTrial.secret)
    } catch {
      try expect(
        error == KeyCustodyError(.timeout, .deadline, ""),
        "A call whose deadline had passed threw '\(error.debugDescription)'; timeout (deadline) is due.")
    }
    try await trial.expectUnwraps(wrapped, key.version, algorithm, "after a call whose deadline had passed")
  }

  private static func throwingExpect(_ condition: Bool) throws(KeyCustodyError) {
    guard condition else { throw KeyCustodyError(.fault, .internalFault, "A wrong secret came back.") }
  }
}
