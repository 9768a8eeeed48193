import KeyCustody
import KeyCustodyTestSupport

/// A provider over the fault module under load, and beside it another on a module and token of its own that nothing befalls.
struct Stand: Sendable {
  let module: FaultModule
  let other: FaultModule
  let load: Load
  let otherLoad: Load
  private let task: Task<Void, Never>
  private let time = SystemTime()

  /// Opens both and starts the clients.
  init(_ options: Options, timeout: Int) async throws {
    module = try FaultModule()
    other = try FaultModule()
    var target = Target(try await SoftHSM.makeToken(), module: module.path)
    (target.timeout, target.sessions, target.isVerbose) = (timeout, 4, options.isVerbose)
    load = try await Load(try await target.open())
    var otherTarget = Target(try await SoftHSM.makeToken(), module: other.path)
    (otherTarget.timeout, otherTarget.sessions) = (5, 2)
    otherLoad = try await Load(try await otherTarget.open(), hasRSA: false)
    let clients = try options.number("clients", 64)
    let (load, otherLoad) = (load, otherLoad)
    task = Task {
      async let first: Void = load.run(clients)
      async let second: Void = otherLoad.run(4, pause: .milliseconds(5))
      _ = await (first, second)
    }
  }

  /// Waits for a while.
  func pass(_ duration: Duration) async throws { try await time.wait(until: time.running() + duration) }

  /// Ends all faults; how long it then takes to 200 successes in a row.
  func restore(_ commands: [String]) async throws -> Duration? {
    for command in commands { try module.command(command) }
    load.meter.expectFullService()
    return try await load.meter.fullService(within: .seconds(30))
  }

  /// Ends the clients and closes both providers; how long closing the first took, `nil` when it did not end in 30 s.
  func end() async throws -> Duration? {
    load.stop()
    otherLoad.stop()
    await task.value
    let start = time.running()
    let isClosed = Flag()
    // What does not come back is not waited for.
    Task {
      await load.provider.close()
      isClosed.set()
    }
    while !isClosed.isSet, time.running() < start + .seconds(30) { try await pass(.milliseconds(5)) }
    let took = time.running() - start
    await otherLoad.provider.close()
    return isClosed.isSet ? took : nil
  }

  /// What holds of every run.
  func judge(_ verdict: inout Verdict, closing: Duration?) throws {
    let counts = load.meter.counts
    for line in Set(counts.lost).prefix(5) { say("  lost: \(line)") }
    verdict.demand(counts.lost.isEmpty && counts.done > 0, "\(counts.lost.count) lost")
    verdict.demand(counts.wrong == 0, "\(counts.wrong) wrong answers")
    verdict.demand(counts.notFound == 0, "\(counts.notFound) living keys not found")
    let beside = otherLoad.meter.counts
    let failed = beside.retries.values.reduce(0, +) + beside.lost.count + beside.wrong
    for line in Set(beside.lost).union(beside.retries.keys).prefix(5) { say("  beside: \(line)") }
    verdict.demand(failed == 0 && beside.done > 0, "the provider beside: \(beside.done) served, \(failed) not")
    for report in [try module.report(), try other.report()] {
      verdict.demand(
        report.misuse.isEmpty && report.openSessions == 0,
        "the module after close: \(report.misuse.isEmpty ? "no misuse" : report.misuse), "
          + "\(report.openSessions) sessions open, at most \(report.maxOpenSessions), \(report.logins) logins, \(report.afterFinalize) calls while it was not initialised"
      )
    }
    verdict.demandTime(
      closing.map { $0 < .seconds(5) } ?? false, "closed in \(closing?.inSeconds ?? "-") s (at most 5)")
  }
}
