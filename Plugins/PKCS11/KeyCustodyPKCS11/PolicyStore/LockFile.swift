import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A file that one holder at a time has locked (flock): let go at the latest when the process ends.
final class LockFile: Sendable {
  private let descriptor: Int32
  private let process = ForkCounter.current

  /// Locks a file, making it where it is missing.
  ///
  /// Blocks, but does not wait.
  ///
  /// - Throws: `busy` when somebody else holds it; `unavailable` when it can't be made.
  init(_ path: String) throws(KeyCustodyError) {
    descriptor = unsafe open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else {
      throw KeyCustodyError(
        .unavailable, .unreachable, "The lock file '\(path)' can't be opened.",
        remedy: "Set 'lockFile' to a path in an existing folder that the service may write to.",
        diagnostic: "open errno \(errno)")
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      // What was opened is closed by `deinit`, which runs for whatever was initialized.
      let code = errno
      throw KeyCustodyError(
        .busy, .init("store-in-use"), "Another user of the policy store holds the lock file '\(path)'.",
        remedy:
          "A store on a token serves one process at a time: wait until the other one is done, then do this again; "
          + "nothing has to be stopped for it. 'fuser -v \(path)' names it. Where a service keeps the store open all "
          + "the time, let the service do it.",
        retryAfter: .seconds(5),
        diagnostic: "flock errno \(code)")
    }
  }

  deinit {
    guard descriptor >= 0 else { return }
    // A copy of this process that fork made shares the lock, and would hold it on; the copy itself leaves it alone.
    if process == ForkCounter.current { _ = flock(descriptor, LOCK_UN) }
    Glibc.close(descriptor)
  }
}
