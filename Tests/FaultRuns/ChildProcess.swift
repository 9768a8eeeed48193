import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A process of our own, in a process group of its own.
struct ChildProcess: Sendable {
  /// Its number, which is its group's too.
  let id: pid_t

  /// How a process ended.
  enum End: Hashable { case exited(Int32), killed(Int32) }

  /// Starts a program; what it prints goes to `output`, or where ours goes.
  init(_ words: [String], output: String? = nil) throws {
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
    unsafe posix_spawnattr_setpgroup(&attributes, 0)
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    if let output {
      unsafe posix_spawn_file_actions_addopen(&actions, 1, output, O_CREAT | O_WRONLY | O_APPEND, 0o600)
      unsafe posix_spawn_file_actions_adddup2(&actions, 1, 2)
    }
    var pointers = unsafe words.map { unsafe strdup($0) } + [nil]
    defer { unsafe pointers.forEach { unsafe free($0) } }
    var child: pid_t = 0
    let code = unsafe posix_spawnp(&child, words[0], &actions, &attributes, &pointers, environ)
    guard code == 0 else { throw Stop("'\(words[0])' does not start: errno \(code).") }
    id = child
  }

  /// This program, for another run of it.
  static func ourselves() throws -> String {
    var buffer = [CChar](repeating: 0, count: 4096)
    let length = unsafe readlink("/proc/self/exe", &buffer, buffer.count - 1)
    guard length > 0 else { throw Stop("/proc/self/exe can't be read.") }
    return String(decoding: buffer.prefix(length).map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// Waits for its end, on a thread that may block; `nil` when it does not end in time and had to be killed.
  func wait(atMost patience: Duration) async throws -> End? {
    let id = id
    return try await BlockingWorker().run { () throws(KeyCustodyError) in
      let time = SystemTime()
      let end = time.running() + patience
      var status: Int32 = 0
      while unsafe waitpid(id, &status, WNOHANG) == 0 {
        if time.running() > end {
          kill(-id, SIGKILL)
          unsafe waitpid(id, &status, 0)
          return nil
        }
        // waitpid knows no patience: so it is asked anew, on this thread that may block, until the bound above.
        usleep(2000)
      }
      let signal = status & 0x7f
      return signal == 0 ? .exited((status >> 8) & 0xff) : .killed(signal)
    }
  }

  /// Ends it and what it started.
  func killAll() async throws {
    kill(-id, SIGKILL)
    _ = try await wait(atMost: .seconds(10))
  }
}
