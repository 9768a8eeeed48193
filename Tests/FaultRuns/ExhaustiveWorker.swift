import KeyCustody
import KeyCustodyTestSupport

/// A token with what runs the scenario on it, one run after the other.
struct ExhaustiveWorker: Sendable {
  private let token: SoftHSMToken
  private let folder: TemporaryFolder
  /// A module without faults that only looks.
  private let clean: String
  private let material: [UInt8]
  private let isVerbose: Bool
  /// The module of the children; each of them loads it anew.
  private let module: FaultModule

  init(_ material: [UInt8], isVerbose: Bool) async throws {
    token = try await SoftHSM.makeToken()
    folder = try TemporaryFolder()
    clean = try folder.write(SoftHSM.contents(of: try SoftHSM.shared.installedModule()), to: "libsofthsm2.so")
    try folder.write(material, to: "material")
    module = try FaultModule()
    self.material = material
    self.isVerbose = isVerbose
  }

  /// Runs the scenario without a fault.
  ///
  /// - Returns: the names of the calls it made.
  func cleanRun() async throws -> [String] {
    let module = try FaultModule(rules: ["trace on"])
    let journal = try Journal()
    try await Scenario(target(module), journal, material: material).run()
    let calls = module.trace().map(\.function)
    let report = try module.report()
    guard report.calls == calls.count, report.misuse.isEmpty, report.openSessions == 0 else {
      throw Stop("The run without faults is not clean: \(report.calls) calls, \(calls.count) traced, \(report.misuse)")
    }
    let problems = try await TokenCheck(journal.entries).run(on: Target(token, module: clean))
    guard problems.isEmpty else { throw Stop("The run without faults is not clean: \(problems)") }
    return calls
  }

  private func target(_ module: FaultModule) -> Target {
    var target = Target(token, module: module.path)
    target.isVerbose = isVerbose
    return target
  }

  /// What came of a scenario with a fault.
  struct Outcome {
    /// What was noted of it.
    fileprivate var entries: [Journal.Entry]
    /// What is not as it should be.
    var problems: [String]
    /// Whether the fault befell a call at all.
    var isReached: Bool
    /// The call that it befell, where that is known.
    var call: String?
  }

  /// Runs the scenario with a fault at one call, until the fault meets one.
  ///
  /// How many calls a scenario makes, and in which order, is up to the scheduling of its sessions: a run may end before
  /// the call. Three such runs are enough.
  func run(_ fault: ExhaustiveRuns.Fault, _ nth: Int) async -> Outcome {
    var outcome = await runOnce(fault, nth)
    for _ in 0..<2 where !outcome.isReached && outcome.problems.isEmpty { outcome = await runOnce(fault, nth) }
    return outcome
  }

  private func runOnce(_ fault: ExhaustiveRuns.Fault, _ nth: Int) async -> Outcome {
    do {
      var outcome = fault.kills ? try await runInChild(fault.line(nth)) : try await runHere(fault.line(nth), nth)
      outcome.problems += try await TokenCheck(outcome.entries).run(on: Target(token, module: clean))
      return outcome
    } catch { return Outcome(entries: [], problems: ["the run itself: \(TokenCheck.text(error))"], isReached: true) }
  }

  private func runHere(_ rule: String, _ nth: Int) async throws -> Outcome {
    // An instance of its own: nothing of the run before is left in it.
    let module = try FaultModule(rules: [rule, "trace on"])
    let journal = try Journal()
    var problems: [String] = []
    do { try await Scenario(target(module), journal, material: material).run() } catch {
      problems.append(TokenCheck.text(error))
    }
    let report = try module.report()
    let trace = module.trace()
    let isReached = report.calls >= nth
    if report.injections != (isReached ? 1 : 0) {
      problems.append("the fault was injected \(report.injections) times in \(report.calls) calls")
    }
    if !report.misuse.isEmpty { problems.append(report.misuse) }
    if report.openSessions != 0 { problems.append("\(report.openSessions) sessions stay open") }
    if isVerbose { for call in trace { say("    \(call.function) \(call.answer ?? "-")") } }
    let call = trace.count == report.calls && isReached ? trace[nth - 1].function : nil
    return Outcome(entries: journal.entries, problems: problems, isReached: isReached, call: call)
  }

  private func runInChild(_ rule: String) async throws -> Outcome {
    SoftHSM.write(Array("module \(clean)\n\(rule)\n".utf8), to: module.configuration)
    let journal = folder.appending("journal")
    SoftHSM.write([], to: journal)
    let words = [
      try ChildProcess.ourselves(), "scenario", "--module", module.path, "--token", token.uri, "--pin", token.pinFile,
      "--journal", journal, "--material", folder.appending("material"),
    ]
    let end = try await ChildProcess(words).wait(atMost: .seconds(60))
    let entries = try Journal.read(SoftHSM.contents(of: journal))
    // A child that does its whole work has not met its call.
    let isKnown = [.killed(9), .exited(0)].contains(end)
    return Outcome(
      entries: entries,
      problems: isKnown ? [] : ["the child ended otherwise: \(end.map { "\($0)" } ?? "not at all")"],
      isReached: end != .exited(0))
  }
}
