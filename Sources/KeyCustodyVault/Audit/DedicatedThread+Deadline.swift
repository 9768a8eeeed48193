import KeyCustody

extension DedicatedThread {
  /// Does blocking work on this thread, and answers by `deadline` whatever becomes of it.
  func run<Value: Sendable>(
    by deadline: Duration, _ time: any TimeSource, late: KeyCustodyError,
    _ work: @escaping @Sendable () throws(KeyCustodyError) -> Value
  ) async throws(KeyCustodyError) -> Value {
    let answer = FirstAnswer<Value>()
    perform {
      do throws(KeyCustodyError) { answer.give(try work()) } catch { answer.give(error) }
    }
    return try await answer.take(by: deadline, time, late: late)
  }
}
