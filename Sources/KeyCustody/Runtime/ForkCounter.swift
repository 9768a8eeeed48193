import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Tells a process from the copies that `fork` makes of it: a copy must not count on from the same nonce, nor use a C
/// library's sessions, which are its parent's.
package enum ForkCounter {
  private static let forks = Atomic<Int>(0)
  /// Without the handler (the system had no memory for it) the process id takes its place: slower, and as good.
  private static let isRegistered = pthread_atfork(nil, nil, { ForkCounter.forks.add(1, ordering: .relaxed) }) == 0

  /// A number that is another one after a fork.
  package static var current: Int { isRegistered ? forks.load(ordering: .relaxed) : Int(getpid()) }
}
