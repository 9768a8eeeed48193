import KeyCustody

/// Does work and tells beside its result how late tasks of this process were run meanwhile, at most: what a bound on time
/// leaves room for, so that it stays near on a quiet machine and holds on a busy one.
public func withSchedulingDelay<Result: Sendable>(
  _ work: @Sendable () async throws -> Result
) async throws -> (result: Result, delay: Duration) {
  let pause = Duration.milliseconds(20)
  return try await withThrowingTaskGroup(of: Duration.self) { group in
    group.addTask {
      var most = Duration.zero
      let clock = ContinuousClock()
      while !Task.isCancelled {
        let start = clock.now
        try? await clock.sleep(for: pause)
        if !Task.isCancelled { most = max(most, clock.now - start - pause) }
      }
      return most
    }
    let result = try await work()
    group.cancelAll()
    return (result, try await group.next() ?? .zero)
  }
}
