import KeyCustody
import KeyCustodyTestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A load on a token behind a daemon (`p11-kit server`), while the daemon is killed and started again.
struct DaemonRun {
  let options: Options

  private static let limit: Duration = .seconds(10)

  private static let clients = [
    "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so", "/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so",
    "/usr/lib/pkcs11/p11-kit-client.so",
  ]

  func run() async throws -> Verdict {
    guard let client = Self.clients.first(where: { unsafe access($0, R_OK) == 0 }),
      unsafe access("/usr/bin/p11-kit", X_OK) == 0
    else {
      say("daemon: not run, for want of p11-kit (apt-get install p11-kit p11-kit-modules)")
      return Verdict()
    }
    let rounds = try options.number("rounds", 5)
    let folder = try TemporaryFolder()
    let token = try await SoftHSM.makeToken()
    let socket = folder.appending("socket")
    // The client module reads it at its first call.
    unsafe setenv("P11_KIT_SERVER_ADDRESS", "unix:path=\(socket)", 1)
    var daemon = try await Self.start(token, socket, folder.appending("log"))
    var target = Target(token, module: client)
    (target.timeout, target.sessions) = (5, try options.number("sessions", 4))
    target.isVerbose = options.isVerbose
    let load: Load
    do { load = try await Load(try await target.open()) } catch {
      try await daemon.killAll()
      throw error
    }
    let number = try options.number("clients", 16)
    let work = Task { await load.run(number) }
    let time = SystemTime()
    var verdict = Verdict()
    for round in 1...rounds {
      try await time.wait(until: time.running() + .seconds(1))
      let before = load.meter.counts
      load.meter.forgetTimes()
      try await daemon.killAll()
      try await time.wait(until: time.running() + .seconds(1))
      daemon = try await Self.start(token, socket, folder.appending("log"))
      load.meter.expectFullService()
      let back = try await load.meter.fullService(within: .seconds(30))
      let counts = load.meter.counts
      say("daemon: round \(round), \(counts.attempts - before.attempts) attempts; \(counts.line)")
      verdict.demandTime(
        back.map { $0 <= Self.limit } ?? false,
        "full service \(back?.inSeconds ?? "-") s after its start (at most \(Self.limit.inSeconds))")
    }
    load.stop()
    await work.value
    await load.provider.close()
    try await daemon.killAll()
    let counts = load.meter.counts
    say("  \(counts.retriesLine)")
    for line in Set(counts.lost).prefix(5) { say("  lost: \(line)") }
    verdict.demand(counts.lost.isEmpty && counts.done > 0, "\(counts.lost.count) lost, \(counts.done) done")
    verdict.demand(counts.wrong == 0 && counts.notFound == 0, "\(counts.wrong) wrong, \(counts.notFound) not found")
    verdict.demand(true, "this process lives, process \(getpid())")
    return verdict
  }

  /// Starts the daemon and waits for its socket.
  private static func start(_ token: SoftHSMToken, _ socket: String, _ log: String) async throws -> ChildProcess {
    unsafe unlink(socket)
    let daemon = try ChildProcess(
      [
        "/usr/bin/p11-kit", "server", "--foreground", "--sh", "--name", socket, "--provider", token.module,
        "pkcs11:token=\(token.label)",
      ], output: log)
    let time = SystemTime()
    let end = time.running() + .seconds(10)
    while unsafe access(socket, R_OK) != 0 {
      guard time.running() < end else {
        throw Stop("p11-kit server does not start: \(String(decoding: SoftHSM.contents(of: log), as: UTF8.self))")
      }
      try await time.wait(until: time.running() + .milliseconds(5))
    }
    return daemon
  }
}
