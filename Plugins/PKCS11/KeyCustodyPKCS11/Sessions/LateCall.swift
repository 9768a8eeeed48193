import KeyCustody

/// One blocking call on a thread of its own that its caller waits for no longer than to a deadline.
enum LateCall {
  /// Runs `work` on a new thread; what it makes after the deadline is handed to `abandoned`, on that thread.
  ///
  /// - Throws: `timeout` at the deadline; what `work` throws.
  static func run<Result: Sendable>(
    deadline: Duration, _ time: any TimeSource, abandoned: @escaping @Sendable (Result) -> Void,
    _ work: @escaping @Sendable () throws(KeyCustodyError) -> Result
  ) async throws(KeyCustodyError) -> Result {
    try await run(on: try DedicatedThread(), deadline: deadline, time, abandoned: abandoned, work)
  }

  /// Runs `work` on a thread; what it makes after the deadline is handed to `abandoned`, there.
  ///
  /// - Throws: `timeout` at the deadline; what `work` throws.
  static func run<Result: Sendable>(
    on thread: DedicatedThread, deadline: Duration, _ time: any TimeSource,
    abandoned: @escaping @Sendable (Result) -> Void, _ work: @escaping @Sendable () throws(KeyCustodyError) -> Result
  ) async throws(KeyCustodyError) -> Result {
    let answer = FirstAnswer<Result>()
    thread.perform {
      do throws(KeyCustodyError) {
        if let unwanted = answer.give(try work()) { abandoned(unwanted) }
      } catch {
        answer.give(error)
      }
    }
    return try await answer.take(by: deadline, time, late: late)
  }

  private static let late = KeyCustodyError(
    .timeout, .deadline, "The PKCS#11 module did not answer while the backend was opened or closed.",
    remedy: "Check the token and its connection, or raise 'timeout'.")
}
