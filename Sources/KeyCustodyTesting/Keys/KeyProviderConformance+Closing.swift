import KeyCustody

extension KeyProviderConformance {
  /// The end of a provider.
  static let closing: [KeyBehavior] = [
    .init("After close every method is unavailable (closed)", "KeyProvider", closedIsUnavailable),
    .init("Closing twice does no harm", "KeyProvider", closingTwiceIsHarmless),
    .init("Event streams end at close", "KeyProvider", eventsEndAtClose),
    .init("Closing while calls run lets none of them go wrong", "KeyProvider", closingUnderLoad),
  ]

  @Sendable private static func closedIsUnavailable(_ trial: KeyTrial) async throws {
    let key = try await trial.generateAny()
    await trial.provider.close()
    for (what, call) in calls(trial, key) {
      try await refused(.unavailable, .closed, "\(what) after close", call)
    }
  }

  @Sendable private static func closingTwiceIsHarmless(_ trial: KeyTrial) async throws {
    let key = try await trial.generateAny()
    await trial.provider.close()
    await trial.provider.close()
    try await refused(.unavailable, .closed, "Describing after closing twice") { () async throws(KeyCustodyError) in
      _ = try await trial.provider.describe(key.version, context: trial.context)
    }
  }

  @Sendable private static func eventsEndAtClose(_ trial: KeyTrial) async throws {
    let streams = [trial.provider.events(), trial.provider.events()]
    await trial.provider.close()
    for stream in streams {
      try await expectEnd(stream, patience: trial.subject.patience, "a stream of events taken before close")
    }
    try await expectEnd(
      trial.provider.events(), patience: trial.subject.patience, "a stream of events taken after close")
  }

  @Sendable private static func closingUnderLoad(_ trial: KeyTrial) async throws {
    let (key, algorithm) = try await trial.wrappingKey()
    let wrapped = try await trial.wrap(key.version, algorithm).bytes
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<16 {
        group.addTask {
          for _ in 0..<4 {
            do throws(KeyCustodyError) {
              let secret = try await trial.provider.unwrap(wrapped, with: trial.request(key.version, algorithm))
                .testBytes
              guard secret == KeyTrial.secret else { throw KeyCustodyError(.fault, .internalFault, "wrong secret") }
            } catch {
              try expect(
                error == KeyCustodyError(.unavailable, .closed, ""),
                "A call during close threw '\(error.debugDescription)'; unavailable (closed) is due.")
            }
          }
        }
      }
      group.addTask { await trial.provider.close() }
      try await group.waitForAll()
    }
  }

  private typealias Call = (String, () async throws(KeyCustodyError) -> Void)

  private static func calls(_ trial: KeyTrial, _ key: KeyDescription) -> [Call] {
    let (provider, context, version) = (trial.provider, trial.context, key.version)
    var calls: [Call] = [
      (
        "Generating",
        { () async throws(KeyCustodyError) in
          _ = try await provider.generate(
            GenerateKeyRequest(version: KeyVersionID(random: SystemRandom()), type: key.type, role: key.role),
            context: context)
        }
      ),
      (
        "Describing", { () async throws(KeyCustodyError) in _ = try await provider.describe(version, context: context) }
      ),
      ("Probing", { () async throws(KeyCustodyError) in try await provider.probe(nil, context: context) }),
      ("Probing a key", { () async throws(KeyCustodyError) in try await provider.probe(version, context: context) }),
    ]
    for (algorithm, _) in trial.wrapping {
      let request = trial.request(version, algorithm)
      calls.append(
        (
          "Wrapping",
          { () async throws(KeyCustodyError) in
            _ = try await provider.wrap(SecretBytes(copying: KeyTrial.secret), with: request)
          }
        ))
      calls.append(
        (
          "Unwrapping",
          { () async throws(KeyCustodyError) in
            _ = try await provider.unwrap([UInt8](repeating: 1, count: 40), with: request)
          }
        ))
    }
    for (algorithm, _) in trial.signing {
      calls.append(
        (
          "Signing",
          { () async throws(KeyCustodyError) in
            _ = try await provider.sign(trial.digest(for: algorithm), with: trial.request(version, algorithm))
          }
        ))
    }
    for (type, role, material) in trial.importable {
      calls.append(
        (
          "Importing",
          { () async throws(KeyCustodyError) in
            let request = GenerateKeyRequest(version: try KeyVersionID(random: SystemRandom()), type: type, role: role)
            _ = try await provider.importKey(SecretBytes(copying: material), as: request, context: context)
          }
        ))
    }
    if let inventory = provider.inventory {
      calls.append(
        (
          "Listing",
          { () async throws(KeyCustodyError) in
            _ = try await inventory.versions(after: nil, limit: 10)
          }
        ))
    }
    if let backup = provider.backup {
      calls.append(
        (
          "Backing up",
          { () async throws(KeyCustodyError) in
            _ = try await backup.backUp(version, context: context)
          }
        ))
      calls.append(
        (
          "Restoring",
          { () async throws(KeyCustodyError) in
            _ = try await backup.restore([1, 2, 3], context: context)
          }
        ))
    }
    calls.append(
      (
        "Destroying",
        { () async throws(KeyCustodyError) in
          try await provider.destroy(version, context: context)
        }
      ))
    return calls
  }
}
