import KeyCustody
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

@testable import KeyCustodyPKCS11

/// A key provider on a token of SoftHSM behind a fault module of its own.
struct FaultyBackend {
  let module: FaultModule
  let token: SoftHSMToken
  let provider: PKCS11KeyProvider

  init(
    sessions: Int = 2, changing: [String: ConfigurationValue] = [:], time: any TimeSource = SystemTime()
  ) async throws {
    token = try await SoftHSM.makeToken()
    module = try FaultModule()
    provider = try await Self.open(token, module, sessions: sessions, changing: changing, time: time)
  }

  static func open(
    _ token: SoftHSMToken, _ module: FaultModule, sessions: Int = 2, changing: [String: ConfigurationValue] = [:],
    time: any TimeSource = SystemTime()
  ) async throws -> PKCS11KeyProvider {
    let changes = changing.merging(["module": .string(module.path)]) { old, _ in old }
    return try await Backends.keys(
      token, sessions: sessions, environment: RuntimeEnvironment(time: time), changing: changes)
  }

  /// Opens one, closes it after `body`, and looks for misuse of the module.
  static func with(
    sessions: Int = 2, changing: [String: ConfigurationValue] = [:], time: any TimeSource = SystemTime(),
    _ body: (FaultyBackend) async throws -> Void
  ) async throws -> FaultModule.Report {
    let backend = try await FaultyBackend(sessions: sessions, changing: changing, time: time)
    do { try await body(backend) } catch {
      try backend.module.command("clear")
      try backend.module.command("release")
      await backend.provider.close()
      throw error
    }
    try backend.module.command("clear")
    await backend.provider.close()
    return try backend.module.report()
  }

  /// Runs a call; its deadline passes when so many calls have come to hang in the module, or else to wait on the clock.
  func expectLate(
    _ clock: ManualClock, hangs: Int? = nil, _ call: @escaping @Sendable (CallContext) async throws -> Void
  ) async throws {
    let context = CallContext(purpose: .administration, deadline: clock.running() + .seconds(5))
    let task = Task { try await call(context) }
    if let hangs {
      while try module.report().injected["hang"] ?? 0 < hangs { await Task.yield() }
    } else {
      await clock.waiters(atLeast: 1)
    }
    clock.advance(by: .seconds(6))
    await #expect(throws: KeyCustodyError(.timeout, .deadline, "")) { try await task.value }
  }

  /// Unwraps until it works; the errors on the way must all say that trying again later is right.
  func unwrapAtLast(
    _ wrapped: [UInt8], _ key: KeyDescription, _ algorithm: WrapAlgorithm
  ) async throws -> (secret: SecretBox, errors: [KeyCustodyError]) {
    var errors: [KeyCustodyError] = []
    let clock = ContinuousClock()
    let end = clock.now + .seconds(60)
    while true {
      do throws(KeyCustodyError) {
        return (SecretBox(copying: try await provider.unwrap(wrapped, key, algorithm)), errors)
      } catch {
        guard error.retryClass == .later, clock.now < end else { throw error }
        errors.append(error)
        try await clock.sleep(for: error.retryAfter ?? .milliseconds(10))
      }
    }
  }
}

extension FaultModule.Report {
  /// What no caller of a module may do.
  var misuse: [Int] { [concurrentSessionUse, usedAfterFork, leakedAtFinalize, unknownSessionHandle] }
  /// None of it.
  static let clean = [0, 0, 0, 0]
}
