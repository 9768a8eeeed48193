import Foundation
import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// `keycustody serve` in a process of its own.
struct ServerProcess: Sendable {
  /// Its number.
  let id: pid_t
  private let output: Int32

  /// Starts it; what it says of errors goes to a file.
  init(_ words: [String], errors: String) throws {
    var ends: [Int32] = [0, 0]
    guard unsafe pipe(&ends) == 0 else { throw Stop("There is no pipe to be had.") }
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    for end in ends {
      // Into no other process either.
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
      unsafe posix_spawn_file_actions_addclose(&actions, end)
    }
    unsafe posix_spawn_file_actions_addopen(&actions, 2, errors, O_CREAT | O_WRONLY | O_APPEND, 0o600)
    let variables = ProcessInfo.processInfo.environment.filter { name, _ in
      !name.hasPrefix("KEYCUSTODY_") && !name.hasPrefix("OPENSSL_")
    }
    var arguments = unsafe words.map { unsafe strdup($0) } + [nil]
    var environment = unsafe variables.map { unsafe strdup("\($0)=\($1)") } + [nil]
    defer { unsafe (arguments + environment).forEach { unsafe free($0) } }
    var child = pid_t()
    let code = unsafe posix_spawn(&child, words[0], &actions, nil, &arguments, &environment)
    close(ends[1])
    guard code == 0 else {
      close(ends[0])
      throw Stop("'\(words[0])' does not start: errno \(code).")
    }
    (id, output) = (child, ends[0])
  }

  /// Waits for the line that says that it is ready, on a thread that may block; `false` when it ended without.
  func isReady() -> Bool {
    var line: [UInt8] = []
    var byte: UInt8 = 0
    while unsafe read(output, &byte, 1) == 1 {
      if byte == UInt8(ascii: "\n") { return (try? JSON(line))?["ready"]?.bool ?? false }
      line.append(byte)
    }
    return false
  }

  /// Kills it at once; ``reap()`` must follow.
  func strike() { kill(id, SIGKILL) }

  /// Waits until it is gone, on a thread that may block.
  ///
  /// - Returns: whether it ended by itself and well.
  @discardableResult
  func reap() -> Bool {
    var status: Int32 = 0
    while unsafe waitpid(id, &status, 0) < 0, errno == EINTR {}
    close(output)
    return status == 0
  }

  /// Asks it to end.
  func stop() { kill(id, SIGTERM) }
}
