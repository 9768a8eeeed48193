import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A file that one holder at a time has locked (flock): let go at the latest when the process ends.
final class LockFile: Sendable {
  private let descriptor: Int32

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
      let code = errno
      Glibc.close(descriptor)
      throw KeyCustodyError(
        .busy, .init("store-in-use"), "Another user of the policy store holds the lock file '\(path)'.",
        remedy: "A store on a token serves one process at a time: end the other one.", retryAfter: .seconds(5),
        diagnostic: "flock errno \(code)")
    }
  }

  deinit { Glibc.close(descriptor) }
}
