#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The memory that secrets lie in: pages locked against swap where the system allows it, ordinary memory beyond that.
///
/// Every secret is cleared when its owner lets go, wherever it lies. Locks are not inherited: in a copy that `fork` makes
/// of the process, secrets from before the fork lie in ordinary memory, and later ones in pages that the copy locks.
public enum SecretMemory {
  /// How this process's secrets are kept just now.
  public struct Report: Sendable, Hashable {
    /// The bytes of memory that are locked for secrets; it grows with use and is kept.
    public let lockedBytes: Int
    /// The secrets that lie in locked memory.
    public let lockedSecrets: Int
    /// The secrets that lie in ordinary memory, which may be written to swap, because no more could be locked, or because
    /// they come from before a fork.
    public let ordinarySecrets: Int
    /// The most bytes that this process may lock (RLIMIT_MEMLOCK); `nil` for any number.
    public let limit: Int?
    /// Whether the system refused to lock more when it was last asked.
    public let isAtLimit: Bool
  }

  /// How this process's secrets are kept just now.
  public static var report: Report {
    var limit = rlimit()
    #if canImport(Glibc)
      let isKnown = unsafe getrlimit(__rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue), &limit) == 0
    #else
      let isKnown = unsafe getrlimit(RLIMIT_MEMLOCK, &limit) == 0
    #endif
    let isBounded = isKnown && limit.rlim_cur != rlim_t.max
    return unsafe SecretPool.current.pointee.report(limit: isBounded ? Int(clamping: limit.rlim_cur) : nil)
  }

  /// Tries to lock memory for a secret, where none is locked yet, and reports.
  public static func examine() -> Report {
    let probe = SecretBytes(count: 1) { _ in }
    defer { _ = probe.count }
    return report
  }
}
