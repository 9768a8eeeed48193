import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Runs everything that Swift's global executor would run, one job at a time on this thread, in an order that a seed
/// decides: the same seed gives the same run.
enum Scheduler {
  private struct State {
    var jobs: [UnownedJob] = []
    var random: UInt64 = 0
    var count = 0
    /// What was run, in brief: two runs of one seed must agree.
    var trace: UInt64 = 0xcbf2_9ce4_8422_2325
  }
  private static let state = Mutex(State())
  private static let executor = Executor()

  /// Takes the place of the global executor from now on.
  ///
  /// - Returns: whether the runtime has the hook that this needs.
  static func install() -> Bool {
    guard let symbol = unsafe dlsym(dlopen(nil, RTLD_NOW), "swift_task_enqueueGlobal_hook") else { return false }
    // The runtime's own type for the variable behind this symbol (swift/Runtime/Concurrency.h).
    unsafe symbol.assumingMemoryBound(to: Hook?.self).pointee = { job, _ in Scheduler.enqueue(job) }
    return true
  }

  private typealias Original = @convention(thin) (UnownedJob) -> Void
  private typealias Hook = @convention(thin) (UnownedJob, Original) -> Void

  private static func enqueue(_ job: UnownedJob) { state.withLock { $0.jobs.append(job) } }

  /// Begins anew with a seed.
  static func reset(seed: UInt64) {
    state.withLock { $0 = State(random: seed &* 2 &+ 1) }
  }

  /// Runs jobs until `isDone`; where there is none to run, `idle` must make one.
  ///
  /// - Returns: `false` when nothing is left to run though it is not done, or it takes too many jobs.
  static func run(limit: Int, until isDone: () -> Bool, idle: () -> Bool) -> Bool {
    while !isDone() {
      guard let job = next() else {
        if idle() { continue }
        return false
      }
      unsafe job.runSynchronously(on: executor.asUnownedTaskExecutor())
      guard state.withLock({ $0.count }) < limit else { return false }
    }
    return true
  }

  private static func next() -> UnownedJob? {
    state.withLock { state in
      guard !state.jobs.isEmpty else { return nil }
      state.random ^= state.random << 13
      state.random ^= state.random >> 7
      state.random ^= state.random << 17
      let index = Int(state.random % UInt64(state.jobs.count))
      state.count += 1
      note(&state, UInt64(state.jobs.count) << 32 | UInt64(index))
      return state.jobs.remove(at: index)
    }
  }

  /// Adds something to the run's digest.
  static func note(_ word: UInt64) { state.withLock { note(&$0, word) } }

  private static func note(_ state: inout State, _ word: UInt64) {
    state.trace = (state.trace ^ word) &* 0x0000_0100_0000_01b3
  }

  /// A digest of the order in which jobs were run.
  static var trace: UInt64 { state.withLock { $0.trace } }

  /// Jobs that were run since the beginning.
  static var count: Int { state.withLock { $0.count } }

  private final class Executor: TaskExecutor {
    func enqueue(_ job: consuming ExecutorJob) { Scheduler.enqueue(UnownedJob(job)) }
  }
}
