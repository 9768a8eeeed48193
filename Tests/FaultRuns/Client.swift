import KeyCustody

/// A caller that repeats exactly what an error's retry class allows, and counts what it met.
struct Client: Sendable {
  /// How long one step may be repeated.
  var patience: Duration = .seconds(30)
  let time = SystemTime()

  /// Why a step failed for good.
  struct Failure: Error, CustomStringConvertible {
    let step: String
    let why: String
    var description: String { "\(step): \(why)" }
  }

  /// Runs what changes nothing: it may be repeated whatever became of it.
  func read<Result>(_ step: String, _ operation: () async throws -> Result) async throws -> Result {
    let end = time.running() + patience
    while true {
      do { return try await operation() } catch let error as KeyCustodyError {
        guard Self.mayRepeat(error) else { throw Failure(step: step, why: error.debugDescription) }
        try await pause(after: error, until: end, step)
      }
    }
  }

  /// Runs what changes the token.
  ///
  /// After an unknown outcome `look` tells what became of it, `nil` for nothing; `settled` is how the provider refuses a
  /// repetition of what was done already.
  func change<Result>(
    _ step: String, settled: KeyCustodyError.Reason, _ operation: () async throws -> Result,
    look: () async throws -> Result?
  ) async throws -> Result {
    let end = time.running() + patience
    var isUnknown = false
    while true {
      do { return try await operation() } catch let error as KeyCustodyError {
        let isSettled = isUnknown && error.reason == settled
        guard isSettled || Self.mayRepeat(error) else { throw Failure(step: step, why: error.debugDescription) }
        if error.retryClass == .afterChecking { isUnknown = true }
        if isUnknown, let result = try await look() { return result }
        try await pause(after: error, until: end, step)
      }
    }
  }

  static func mayRepeat(_ error: KeyCustodyError) -> Bool {
    error.reason != .closed && (error.retryClass == .later || error.retryClass == .afterChecking)
  }

  private func pause(after error: KeyCustodyError, until end: Duration, _ step: String) async throws {
    let now = time.running()
    guard now < end else { throw Failure(step: step, why: "not done within \(patience): \(error.debugDescription)") }
    try await time.wait(until: now + (error.retryAfter ?? .milliseconds(50)))
  }
}
