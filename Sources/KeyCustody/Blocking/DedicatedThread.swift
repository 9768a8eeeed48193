import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// An operating-system thread of its own for an actor whose work blocks: C libraries, file system, databases.
///
/// Give it to an actor as `unownedExecutor`, or hand it work with ``perform(_:)``. Jobs run one at a time, in order. The
/// thread ends with its owner. The system shows it as `key-custody` (top -H, gdb). SIGPIPE is blocked on it: a C library whose daemon has gone gets an error from its
/// `write`, and the process lives.
public final class DedicatedThread: SerialExecutor {
  private let queue: JobQueue

  /// Starts a thread.
  ///
  /// - Throws: `unavailable` when the system has no thread to give.
  public init() throws(KeyCustodyError) {
    queue = JobQueue()
    var attributes = pthread_attr_t()
    unsafe pthread_attr_init(&attributes)
    defer { unsafe pthread_attr_destroy(&attributes) }
    // Vendor PKCS#11 modules are generous with stack.
    unsafe pthread_attr_setstacksize(&attributes, 2 << 20)
    unsafe pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    var thread = pthread_t()
    let code = unsafe pthread_create(
      &thread, &attributes,
      { argument in
        guard let argument = unsafe argument else { return nil }
        unsafe Unmanaged<JobQueue>.fromOpaque(argument).takeRetainedValue().work()
        return nil
      }, Unmanaged.passRetained(queue).toOpaque())
    guard code == 0 else {
      unsafe Unmanaged.passUnretained(queue).release()
      throw KeyCustodyError(
        .unavailable, .unreachable, "The system could not start a thread.",
        remedy: "Raise the limit on threads (ulimit -u) or lower the number of sessions.", diagnostic: "errno \(code)")
    }
  }

  /// Runs work on the thread, after what was handed to it before.
  public func perform(_ work: @escaping @Sendable () -> Void) { queue.add(work) }

  /// Takes a job of the actor.
  public func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    let executor = unsafe asUnownedSerialExecutor()
    queue.add { unsafe job.runSynchronously(on: executor) }
  }

  deinit { queue.stop() }
}

/// The jobs of one thread.
///
/// The thread holds the queue, not the executor, so that the executor's end can end it.
private final class JobQueue: Sendable {
  private struct State {
    var jobs: [@Sendable () -> Void] = []
    var isStopped = false
  }
  private let state = Mutex(State())
  private let signal = Semaphore()

  func add(_ job: @escaping @Sendable () -> Void) {
    state.withLock { $0.jobs.append(job) }
    signal.post()
  }

  func stop() {
    state.withLock { $0.isStopped = true }
    signal.post()
  }

  func work() {
    var pipe = sigset_t()
    unsafe sigemptyset(&pipe)
    unsafe sigaddset(&pipe, SIGPIPE)
    unsafe pthread_sigmask(SIG_BLOCK, &pipe, nil)
    Self.name()
    while true {
      signal.wait()
      let (jobs, isStopped) = state.withLock { state in
        defer { state.jobs = [] }
        return (state.jobs, state.isStopped)
      }
      for job in jobs { job() }
      if isStopped { return }
    }
  }
}

extension JobQueue {
  /// Names this thread; where that can't be done it has its process's name.
  private static func name() {
    // pthread_setname_np is hidden from Swift.
    let file = unsafe open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return }
    let name: StaticString = "key-custody"
    _ = unsafe write(file, name.utf8Start, name.utf8CodeUnitCount)
    close(file)
  }
}

/// A POSIX semaphore in memory of its own.
@safe
private final class Semaphore: @unchecked Sendable {
  // Unchecked: sem_t is made for use by several threads; the pointer never changes.
  private let semaphore: UnsafeMutablePointer<sem_t>
  init() {
    unsafe semaphore = .allocate(capacity: 1)
    unsafe semaphore.initialize(to: sem_t())
    unsafe sem_init(semaphore, 0, 0)
  }
  func post() { unsafe sem_post(semaphore) }
  func wait() { while unsafe sem_wait(semaphore) != 0 && errno == EINTR {} }
  deinit {
    unsafe sem_destroy(semaphore)
    unsafe semaphore.deallocate()
  }
}

/// Runs blocking work, one piece at a time, on a thread of its own.
public actor BlockingWorker {
  private let thread: DedicatedThread
  /// The worker's own thread.
  public nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe thread.asUnownedSerialExecutor() }

  /// Starts a worker.
  ///
  /// - Throws: `unavailable` when the system has no thread to give.
  public init() throws(KeyCustodyError) { thread = try DedicatedThread() }

  /// Has `work` run on the worker's thread, and waits for nothing.
  package nonisolated func perform(_ work: @escaping @Sendable () -> Void) { thread.perform(work) }

  /// Runs `work` on the worker's thread.
  public func run<Result: ~Copyable, Failure: Error>(
    _ work: @Sendable () throws(Failure) -> sending Result
  ) throws(Failure) -> sending Result { try work() }
}
