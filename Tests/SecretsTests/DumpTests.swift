import Foundation
import KeyCustody
import KeyCustodyTestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// RELIABILITY 25: what the executable asks of the operating system.
@Suite(.serialized)
struct DumpTests {
  /// Starts a program as its user's shell might have been set up, and ends it by a signal that dumps core, once it opens
  /// a pipe to read.
  private static func dumpsCore(
    _ words: [String], opening pipe: String, in folder: TemporaryFolder
  ) throws -> (Bool, limits: String) {
    // The shell raises what it may, in a folder where a core may lie.
    let script = "cd '\(folder.path)' && ulimit -c $(ulimit -H -c); exec \"$@\""
    var pointers = unsafe (["/bin/sh", "-c", script, "sh"] + words).map { unsafe strdup($0) } + [nil]
    defer { unsafe pointers.forEach { unsafe free($0) } }
    // What the threads of the tests block must reach it.
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var all = sigset_t()
    var none = sigset_t()
    unsafe sigfillset(&all)
    unsafe sigemptyset(&none)
    unsafe posix_spawnattr_setsigdefault(&attributes, &all)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
    var child: pid_t = 0
    try #require(unsafe posix_spawn(&child, "/bin/sh", nil, &attributes, &pointers, environ) == 0)
    // One that ends before it opens the pipe lets go of who waits for that.
    let (watcher, isWatched) = (try DedicatedThread(), DispatchSemaphore(value: 0))
    watcher.perform { [child] in
      var end = unsafe siginfo_t()
      unsafe waitid(P_PID, id_t(child), &end, WEXITED | WNOWAIT)
      close(unsafe open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC))
      isWatched.signal()
    }
    // Waits until somebody reads.
    let writer = unsafe open(pipe, O_WRONLY | O_CLOEXEC)
    defer { close(writer) }
    let limits = (try? String(contentsOfFile: "/proc/\(child)/limits", encoding: .utf8)) ?? ""
    kill(child, SIGABRT)
    var status: Int32 = 0
    unsafe waitpid(child, &status, 0)
    isWatched.wait()
    #expect(status & 0x7f == SIGABRT, "it ended otherwise: \(status)")
    return (status & 0x80 != 0, limits)
  }

  /// Whether neither the soft nor the hard limit allows a core.
  private static func allowsNone(_ limits: String) -> Bool {
    let line = limits.split(separator: "\n").first { $0.hasPrefix("Max core file size") } ?? ""
    return line.split(separator: " ").filter { $0 == "0" }.count == 2
  }

  @Test("RELIABILITY 25: a killed keycustody leaves no core, whatever the shell allows; another program does")
  func noCore() throws {
    let folder = try TemporaryFolder()
    let pipe = folder.appending("pipe")
    #expect(unsafe mkfifo(pipe, 0o600) == 0)
    let (dumped, limits) = try Self.dumpsCore(
      [try Executable("keycustody").path, "doctor", "--config", pipe], opening: pipe, in: folder)
    #expect(!dumped)
    #expect(Self.allowsNone(limits), "\(limits)")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    #expect(names == ["pipe"], "\(names)")
    // It ends by the signal: no handler of a language runtime prints registers and what they point to before.

    // The check must be one that can fail: where cores are possible here at all, another program leaves one.
    var limit = rlimit()
    unsafe getrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit)
    let (otherDumped, _) = try Self.dumpsCore(["/bin/cat", pipe], opening: pipe, in: folder)
    if limit.rlim_max == 0 { #expect(!otherDumped) } else { #expect(otherDumped) }
  }

  @Test("doctor says how much memory is locked for secrets, and when none can be")
  func locking() throws {
    let folder = try TemporaryFolder()
    let text = """
      { "keyProviders": { "keys": { "plugin": "memory" } }, "policyStores": { "records": { "plugin": "memory" } },
        "service": { "keyProvider": "keys", "policyStore": "records" } }
      """
    let path = try folder.write(Array(text.utf8), to: "keycustody.json")
    let program = try Executable("keycustody")
    #expect(try program.run(["doctor", "--config", path]).output.contains("locked"))
    // Root may lock without a limit unless it gives that up.
    let shell = try Executable(at: "/bin/sh")
    let script = """
      ulimit -l 0
      if [ "$(id -u)" = 0 ]; then exec setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock -- "$@"; fi
      exec "$@"
      """
    let (status, output) = try shell.run(["-c", script, "sh", program.path, "doctor", "--config", path])
    #expect(status == 0, "\(output)")
    for word in ["memory (not locked)", "RLIMIT_MEMLOCK", "LimitMEMLOCK"] {
      #expect(output.contains(word), "\(output)")
    }
  }
}
