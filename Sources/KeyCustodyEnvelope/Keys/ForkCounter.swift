import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Tells a process from the copies that `fork` makes of it, so that two never count on from the same nonce.
enum ForkCounter {
  private static let forks = Atomic<Int>(0)
  /// Without the handler (the system had no memory for it) the process id takes its place: slower, and as good.
  private static let isRegistered = pthread_atfork(nil, nil, { ForkCounter.forks.add(1, ordering: .relaxed) }) == 0

  /// A number that is another one after a fork.
  static var current: Int { isRegistered ? forks.load(ordering: .relaxed) : Int(getpid()) }
}
