import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServices

/// What happens while a round of upkeep is under way, and what must not wait for it or hold it up (SEMANTICS E5, E12, E13).
@Suite("Upkeep meanwhile", .timeLimit(.minutes(5)))
struct UpkeepRaceTests {
  @Test("E12: a round that began before a rotation puts nothing back under the older version")
  func rotatedMeanwhile() async throws {
    let bench = try await ServiceBench()
    var resources: [ProtectedResource] = []
    // More than are looked after at a time.
    for number in 0..<40 { resources.append(try await bench.makeResource("notes-\(number)")) }
    try await bench.custody.rotateServiceKeys()
    let (all, custody, rounds) = (resources, bench.custody, Tally())
    _ = try await custody.upkeep { _ in
      guard rounds.value == 0 else { return }
      rounds.add()
      _ = try? await custody.rotateServiceKeys()
      for resource in all { _ = try? await resource.rewrapServiceKeys() }
    }
    // Those that were under way when the version changed are the next round's.
    _ = try await custody.upkeep()
    let newest = try await custody.newestServiceKeys()
    for resource in all {
      #expect(try await bench.record(resource).rootKeys.allSatisfy { $0.kek == newest[$0.layer] })
    }
    #expect(try await custody.upkeep().rewrapped == 0)
  }

  @Test("E12: what a rotation wrapped anew meanwhile is never wrapped by an older version again")
  func neverBack() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    try await bench.custody.rotateServiceKeys()
    let custody = bench.custody
    // After the page was listed, and before the resource is looked after.
    bench.hooks.afterRead("resources/") {
      _ = try? await custody.rotateServiceKeys()
      _ = try? await notes.rewrapServiceKeys()
    }
    _ = try await custody.upkeep()
    let newest = try await custody.newestServiceKeys()
    #expect(try await bench.record(notes).rootKeys.allSatisfy { $0.kek == newest[$0.layer] })
    try await notes.roundTrip()
  }

  @Test("E13: a new version of the service's keys that can't be made holds up nothing else")
  func failedRotation() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    _ = try await notes.seal([1], as: "message", dataClass: "transient")
    let (custody, service) = (bench.custody, bench.custody.servicePrincipal)
    try await custody.vaults.setRule(
      AccessRule(name: "service", principal: service, keys: [.get, .wrapKey, .unwrapKey]),
      in: VaultName(ServiceKeys.vaultName))
    bench.clock.advance(by: .seconds(100 * 86_400))
    var last = UpkeepReport()
    let refused = await failure {
      try await custody.upkeep(rotatingServiceKeysAfter: .seconds(90 * 86_400)) { last = $0 }
    }
    #expect(refused == error(.denied, .accessDenied), "it is told in the end")
    #expect(last.resources == 1 && last.destroyed == 2)
  }

  @Test("E5: upkeep follows no newer version of a key that the customer has exchanged meanwhile")
  func exchangedMeanwhile() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource(profile: try Profile.storage())
    let first = try await bench.makeKey("first", type: .rsa(bits: 2048))
    let second = try await bench.makeKey("second", type: .rsa(bits: 2048))
    try await notes.enableCustomerKey(first.with(version: nil), converting: [])
    _ = try await bench.rotate(first)
    bench.hooks.afterRead("resources/") { try? await notes.updateCustomerKey(second, converting: []) }
    let report = try await bench.custody.upkeep()
    #expect(report.followed == 0)
    #expect(try await notes.status().key == second)
    #expect(try await bench.record(notes).followsNewest != true)
  }

  @Test("E6, E13: a job that goes on for long holds up neither upkeep nor the other jobs")
  func longJob() async throws {
    let bench = try await ServiceBench()
    let (slow, quick) = (try await bench.makeResource("slow"), try await bench.makeResource("quick"))
    _ = try await slow.seal([1], as: "message", dataClass: "transient")
    let stopped = Gate()
    let runner = try JobRunner(bench.custody) { (resource) in
      if resource == slow.id { await stopped.pass() }
      return []
    }
    let running = Task { await runner.run() }
    try await slow.enableCustomerKey(try await bench.makeKey("slow"))
    try await eventually("the job does not begin") { stopped.waiters == 1 }
    // Planned when the other one had been begun.
    try await quick.enableCustomerKey(try await bench.makeKey("quick"))
    try await eventually("the other job waits") { try await quick.status().mode == .customerManaged }
    bench.clock.advance(by: .seconds(72 * 3600))
    try await eventually("upkeep waits") {
      bench.clock.advance(by: .seconds(10))
      return try await bench.record(slow).rootKeys.allSatisfy { $0.group != .transient }
    }
    stopped.open()
    running.cancel()
    await running.value
  }

  @Test("E6: what is planned while a runner is at the same job is done at once too, not at the next tick")
  func plannedMeanwhile() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let runner = try JobRunner(bench.custody) { (_) in [] }
    let running = Task { await runner.run() }
    for _ in 0..<200 {
      // Each puts a job down twice, and the runner begins it as soon as it hears of it.
      #expect(await failure { try await notes.enableCustomerKey(bench.uri("missing")) }?.code == .notFound)
      try await eventually("a job stays until the next tick") { try await bench.custody.pendingJobs() == [] }
    }
    running.cancel()
    await running.value
  }

  @Test("E6: jobs that fail slowly keep none of the others from their turn")
  func slowFailures() async throws {
    let bench = try await ServiceBench()
    let clock = bench.clock
    let stuck: Set<ResourceID> = [try ResourceID("a"), try ResourceID("b")]
    let runner = try JobRunner(bench.custody) { (resource) async throws(KeyCustodyError) in
      guard stuck.contains(resource) else { return [] }
      // As long as a tick, and more.
      clock.advance(by: .seconds(11))
      throw down
    }
    var others: [ProtectedResource] = []
    for name in ["a", "b", "c", "d"] {
      let resource = try await bench.makeResource(name)
      try await resource.enableCustomerKey(try await bench.makeKey(name))
      if !stuck.contains(resource.id) { others.append(resource) }
    }
    let running = Task { await runner.run() }
    for resource in others {
      try await eventually("\(resource.id) has no turn") { try await resource.status().mode == .customerManaged }
    }
    running.cancel()
    await running.value
  }

  @Test("Whoever waits for a value to be stored stops when it is cancelled")
  func cancelled() async throws {
    let sealings = Sealings()
    let id = RootKeyID(commitment: [UInt8](repeating: 7, count: 32))
    sealings.begin(id)
    let waiting = Task { try await sealings.settle(id) }
    waiting.cancel()
    await #expect(throws: KeyCustodyError.self) { try await waiting.value }
    let patient = Task { try await sealings.settle(id) }
    sealings.end(id)
    try await patient.value
    try await sealings.settle(id)
  }
}
