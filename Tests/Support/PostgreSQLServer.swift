import Foundation
public import KeyCustody
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A PostgreSQL server of a test's own, in a temporary folder and on a Unix socket alone.
///
/// It is stopped, and the folder removed, when the last reference to it goes, or the test's process ends in whatever way: a
/// shell waits for the end of a pipe from this process.
public final class PostgreSQLServer: Sendable {
  /// Where its socket and its data are.
  public let folder: String
  private let programs: String
  /// Whose server it is, where this process is root's: PostgreSQL refuses to run as root.
  private let user: String?
  private let guardian: Mutex<(process: Process, pipe: Pipe)?>
  private static let one = Mutex<PostgreSQLServer?>(nil)

  /// The one that the tests of a process share, each with a schema of its own.
  public static func shared() throws -> PostgreSQLServer {
    try one.withLock { one in
      if let one { return one }
      let made = try PostgreSQLServer()
      one = made
      return made
    }
  }

  /// Makes a cluster and starts its server.
  ///
  /// - Throws: `unavailable`, saying how to install PostgreSQL where it is not. Tests fail then; they don't skip.
  public init() throws {
    programs = try Self.findPrograms()
    user = geteuid() != 0 ? nil : unsafe getpwnam("postgres") == nil ? "nobody" : "postgres"
    folder = "/tmp/key-custody-postgresql-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
    guard unsafe mkdir(folder, 0o755) == 0 else { throw CocoaError(.fileWriteUnknown) }
    guardian = Mutex(nil)
    try watch()
    if let user, let entry = unsafe getpwnam(user) {
      guard unsafe chown(folder, entry.pointee.pw_uid, entry.pointee.pw_gid) == 0 else {
        throw CocoaError(.fileWriteNoPermission)
      }
    }
    try run("initdb", ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
    let settings = """

      listen_addresses = ''
      unix_socket_directories = '\(folder)'
      max_connections = 1000
      shared_buffers = 32MB
      log_min_messages = fatal
      restart_after_crash = off
      """
    // Whoever is named 'secured' shows a password; whoever is another, or asks on another server, does not.
    let users = "local all secured scram-sha-256\nlocal all all trust\n"
    try write(settings, appending: true, to: "\(data)/postgresql.conf")
    try write(users, appending: false, to: "\(data)/pg_hba.conf")
    try start()
  }

  deinit { stop() }

  private var data: String { "\(folder)/data" }

  private static func findPrograms() throws -> String {
    let versions = (try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib/postgresql")) ?? []
    let newest = versions.compactMap(Int.init).sorted(by: >).map { "/usr/lib/postgresql/\($0)/bin" }
    for folder in newest + ["/usr/local/bin", "/usr/bin"]
    where ["initdb", "pg_ctl", "postgres", "psql"].allSatisfy({ unsafe access("\(folder)/\($0)", X_OK) == 0 }) {
      return folder
    }
    throw KeyCustodyError(
      .unavailable, .unreachable, "PostgreSQL is not installed, and these tests run on it.",
      remedy: "apt-get install postgresql")
  }

  // MARK: Running

  /// Starts the server and waits until it takes connections.
  public func start() throws {
    try run("pg_ctl", ["-D", data, "-w", "-t", "60", "-s", "-l", "\(folder)/log", "start"])
  }

  /// Stops it as an administrator would who is in a hurry: sessions are ended.
  public func shutDown() throws { try run("pg_ctl", ["-D", data, "-w", "-t", "60", "-s", "-m", "fast", "stop"]) }

  /// Kills all its processes (kill -9), and returns when they are gone.
  public func crash() {
    // The main one is stopped first, so that it starts no other in between.
    if let main = processes().first { kill(main, SIGSTOP) }
    let all = processes()
    for process in all { kill(process, SIGKILL) }
    // Not children of this process, so that nobody tells when they are gone.
    while all.contains(where: { kill($0, 0) == 0 && !Self.isZombie($0) }) { usleep(1000) }
    // A dead process that nobody has taken note of yet would pass for a server at work.
    for name in ["data/postmaster.pid", ".s.PGSQL.5432.lock", ".s.PGSQL.5432"] { unsafe unlink("\(folder)/\(name)") }
  }

  /// Stops all its processes where they are (SIGSTOP), or lets them go on.
  public func suspend(_ isSuspended: Bool) {
    for process in processes() { kill(process, isSuspended ? SIGSTOP : SIGCONT) }
  }

  /// The server's main process, and those that it started.
  private func processes() -> [pid_t] {
    guard let text = try? String(contentsOfFile: "\(data)/postmaster.pid", encoding: .utf8),
      let main = text.split(separator: "\n").first.flatMap({ pid_t($0) })
    else { return [] }
    let others = (try? FileManager.default.contentsOfDirectory(atPath: "/proc"))?.compactMap { pid_t($0) } ?? []
    return [main] + others.filter { Self.status($0)?.parent == main }
  }

  private static func isZombie(_ process: pid_t) -> Bool { status(process).map { $0.letter == "Z" } ?? true }

  private static func status(_ process: pid_t) -> (letter: Substring, parent: pid_t)? {
    // `PID (NAME) STATE PARENT …`; a name may hold anything.
    guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
      let end = text.lastIndex(of: ")")
    else { return nil }
    let words = text[text.index(after: end)...].split(separator: " ")
    guard words.count > 1, let parent = pid_t(words[1]) else { return nil }
    return (words[0], parent)
  }

  /// Starts the shell that cleans up.
  private func watch() throws {
    let process = Process()
    process.executableURL = URL(filePath: "/bin/sh")
    process.arguments = [
      "-c",
      """
      trap '' INT TERM HUP
      while read -r line; do :; done
      pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) && kill -CONT "$pid" && kill -QUIT "$pid"
      while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
      rm -rf "$1"
      """, "sh", folder,
    ]
    let pipe = Pipe()
    process.standardInput = pipe
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    // Nobody else may keep it open.
    _ = fcntl(pipe.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
    try process.run()
    guardian.withLock { $0 = (process, pipe) }
  }

  private func stop() {
    guardian.withLock { guardian in
      try? guardian?.pipe.fileHandleForWriting.close()
      guardian = nil
    }
  }

  /// Runs a program of PostgreSQL's to its end.
  ///
  /// Not by Foundation's Process: that takes a program for running as long as a server it started does.
  private func run(_ program: String, _ arguments: [String]) throws {
    var words = ["\(programs)/\(program)"] + arguments
    // From a folder that the server's user may enter.
    if let user { words = ["/usr/bin/setpriv", "--reuid=\(user)", "--regid=\(user)", "--init-groups", "--"] + words }
    words = ["/usr/bin/env", "-C", folder] + words
    let log = "\(folder)/\(program).log"
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    unsafe posix_spawn_file_actions_adddup2(&actions, 1, 2)
    var texts: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe strdup($0) } + [nil]
    defer { unsafe texts.forEach { unsafe free($0) } }
    var process = pid_t()
    guard unsafe posix_spawn(&process, words[0], &actions, nil, &texts, environ) == 0 else {
      throw CocoaError(.executableLoad)
    }
    var status: Int32 = 0
    while unsafe waitpid(process, &status, 0) < 0, errno == EINTR {}
    guard status == 0 else {
      let said = [log, "\(folder)/log"].compactMap { try? String(contentsOfFile: $0, encoding: .utf8).suffix(2000) }
      throw KeyCustodyError(
        .unavailable, .unreachable, "\(program) ended with \(status >> 8).",
        diagnostic: said.joined(separator: "\n"))
    }
  }

  private func write(_ text: String, appending: Bool, to path: String) throws {
    let file = unsafe open(path, O_WRONLY | (appending ? O_APPEND : O_TRUNC))
    guard file >= 0 else { throw CocoaError(.fileWriteUnknown) }
    defer { close(file) }
    let bytes = Array(text.utf8)
    guard unsafe Glibc.write(file, bytes, bytes.count) == bytes.count else { throw CocoaError(.fileWriteUnknown) }
  }

  // MARK: Using

  /// The address of its database.
  public func url(user: String = "postgres", database: String = "postgres") -> String {
    "postgresql://\(user)@/\(database)?host=\(folder)"
  }

  /// The settings of a store, for a section of a configuration.
  public func settings(schema: String) -> [String: ConfigurationValue] {
    // Tests share two cores with each other. By its name a test finds the sessions of its own stores.
    [
      "plugin": "postgresql", "url": .string("\(url())&application_name=\(schema)"), "schema": .string(schema),
      "timeout": 30, "connections": 2,
    ]
  }

  /// A name that no other schema has.
  public static func schemaName() -> String { "test_\(UInt64.random(in: 0...UInt64.max))" }

  /// Runs statements as another program would, and gives what they answer.
  @discardableResult
  public func ask(_ statements: String) throws -> String {
    let answer = try Executable(at: "\(programs)/psql").run(
      ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", folder, "-U", "postgres", "-c", statements, "postgres"])
    guard answer.status == 0 else {
      throw KeyCustodyError(.fault, .internalFault, "psql ended with \(answer.status): \(answer.output)")
    }
    return answer.output.trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
