#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Lets any number of threads into a module, or one alone: C_Finalize under a running call ends the process on many.
///
/// Threads block here, so it is for threads of our own.
@safe
final class ModuleGate: @unchecked Sendable {
  // Unchecked: the counters are touched under the mutex only; the pointers never change.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let changed: UnsafeMutablePointer<pthread_cond_t>
  private var inside = 0
  private var isShut = false

  init() {
    unsafe mutex = .allocate(capacity: 1)
    unsafe mutex.initialize(to: pthread_mutex_t())
    unsafe pthread_mutex_init(mutex, nil)
    unsafe changed = .allocate(capacity: 1)
    unsafe changed.initialize(to: pthread_cond_t())
    var attributes = pthread_condattr_t()
    unsafe pthread_condattr_init(&attributes)
    unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    unsafe pthread_cond_init(changed, &attributes)
    unsafe pthread_condattr_destroy(&attributes)
  }

  deinit {
    unsafe pthread_cond_destroy(changed)
    unsafe changed.deallocate()
    unsafe pthread_mutex_destroy(mutex)
    unsafe mutex.deallocate()
  }

  /// Runs work beside others'; waits while somebody is alone.
  func pass<Result: ~Copyable, Failure: Error>(
    _ work: () throws(Failure) -> sending Result
  ) throws(Failure) -> sending Result {
    unsafe pthread_mutex_lock(mutex)
    while isShut { unsafe pthread_cond_wait(changed, mutex) }
    inside += 1
    unsafe pthread_mutex_unlock(mutex)
    defer { leave() }
    return try work()
  }

  private func leave() {
    unsafe pthread_mutex_lock(mutex)
    inside -= 1
    if inside == 0 && isShut { unsafe pthread_cond_broadcast(changed) }
    unsafe pthread_mutex_unlock(mutex)
  }

  /// Runs work while nobody else is inside; `nil` when those inside don't come out within `patience`.
  func alone<Result, Failure: Error>(
    patience: Duration, _ work: () throws(Failure) -> Result
  ) throws(Failure) -> Result? {
    unsafe pthread_mutex_lock(mutex)
    while isShut { unsafe pthread_cond_wait(changed, mutex) }
    isShut = true
    let limit = Self.moment(after: patience)
    var isLate = false
    while inside > 0 && !isLate {
      unsafe isLate = withUnsafePointer(to: limit) { unsafe pthread_cond_timedwait(changed, mutex, $0) } != 0
    }
    let isEmpty = inside == 0
    unsafe pthread_mutex_unlock(mutex)
    defer {
      unsafe pthread_mutex_lock(mutex)
      isShut = false
      unsafe pthread_cond_broadcast(changed)
      unsafe pthread_mutex_unlock(mutex)
    }
    return isEmpty ? try work() : nil
  }

  /// Real time: threads that block can't wait on a clock of tests.
  private static func moment(after wait: Duration) -> timespec {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    let nanoseconds = Int64(time.tv_nsec) + wait.components.attoseconds / 1_000_000_000
    time.tv_sec += Int(wait.components.seconds + nanoseconds / 1_000_000_000)
    time.tv_nsec = Int(nanoseconds % 1_000_000_000)
    return time
  }
}
