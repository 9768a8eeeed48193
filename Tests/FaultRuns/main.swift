// Drives the PKCS#11 key provider over the fault module on SoftHSM, prints what happened, and ends with 1 when a figure
// that is demanded was not met. The Makefile's target `faults` runs all of it.
import KeyCustodyTestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

// Off the main actor, as a server's work is.
@concurrent func run(_ options: Options) async throws -> Verdict {
  switch options.kind {
  case .exhaustive: return try await ExhaustiveRuns(options).run()
  case .scenario:
    let target = Target(
      module: try options.required("module"), uri: try options.required("token"), pinFile: try options.required("pin"))
    let material = SoftHSM.contents(of: try options.required("material"))
    try await Scenario(target, Journal(file: try options.required("journal")), material: material).run()
    return Verdict()
  case .sustained: return try await SustainedRun(options: options).run()
  case .hang: return try await HangRun(options: options).run()
  case .daemon: return try await DaemonRun(options: options).run()
  }
}

do {
  let options = try Options(CommandLine.arguments.dropFirst())
  var verdict = try await run(options)
  if verdict.isRight && !verdict.isInTime {
    say("faults: what was short is a time: all of it once more")
    verdict = try await run(options)
  }
  exit(verdict.isRight && verdict.isInTime ? 0 : 1)
} catch {
  say("faults: \(TokenCheck.text(error))")
  exit(2)
}
