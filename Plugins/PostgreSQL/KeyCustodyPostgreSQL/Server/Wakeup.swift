import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Wakes a thread that waits in `poll`.
final class Wakeup: Sendable {
  /// What to wait for: readable once it was posted.
  let file: Int32
  private let sender: Int32

  init() throws(KeyCustodyError) {
    var files: [Int32] = [-1, -1]
    guard unsafe pipe(&files) == 0 else {
      throw KeyCustodyError(
        .unavailable, .unreachable, "The system has no file to give.",
        remedy: "Raise the limit on open files (ulimit -n).",
        diagnostic: "pipe errno \(errno)")
    }
    for file in files {
      _ = fcntl(file, F_SETFD, FD_CLOEXEC)
      _ = fcntl(file, F_SETFL, O_NONBLOCK)
    }
    (file, sender) = (files[0], files[1])
  }

  deinit {
    close(file)
    close(sender)
  }

  /// Wakes; one that is full has been posted often enough.
  func post() { _ = unsafe write(sender, [1], 1) }

  /// Forgets what was posted.
  func clear() {
    var bytes = [UInt8](repeating: 0, count: 256)
    while unsafe read(file, &bytes, bytes.count) > 0 {}
  }

  /// Waits until it is posted, or for so long; without a duration for ever.
  func wait(for duration: Duration?) {
    var entry = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
    // Whoever waits looks again anyway, so an interrupted wait is no harm.
    _ = unsafe poll(&entry, 1, duration.map { Int32(clamping: $0.milliseconds + 1) } ?? -1)
  }
}
