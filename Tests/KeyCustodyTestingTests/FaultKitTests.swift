import KeyCustody
import KeyCustodyTesting
import Testing

@Suite("The kit under faults")
struct FaultKitTests {
  /// A backend that never answers is waited for this long.
  private static func patience(_ flaw: FaultFlaw?) -> Duration {
    let silent: [FaultFlaw] = [
      .hangsPastDeadline, .waitsForEver, .forgetsAvailable, .cachesFailure, .keepsDeadSessions, .forgetsWatchers,
    ]
    return flaw.map(silent.contains) == true ? .milliseconds(300) : .seconds(30)
  }

  private static func keys(_ flaw: FaultFlaw? = nil) -> KeyProviderSubject {
    KeyProviderSubject(patience: patience(flaw)) { _ in
      let device = ToyDevice()
      return .persistent(faults: device.faults) { try await ToyDeviceProvider(device, flaw) }
    }
  }

  private static func records(_ flaw: FaultFlaw? = nil) -> PolicyStoreSubject {
    PolicyStoreSubject(patience: patience(flaw)) { _ in
      let device = ToyDevice()
      return .persistent(faults: device.faults) { try await ToyDeviceStore(device, flaw) }
    }
  }

  private static func directory(_ flaw: FaultFlaw? = nil) throws -> IdentityProviderSubject {
    IdentityProviderSubject(
      audience: "https://vault.example", tenant: try TenantID("contoso"), otherTenant: try TenantID("fabrikam"),
      patience: patience(flaw)
    ) { environment in
      let disk = ToyDirectoryDisk()
      let faults = FaultSwitch([.refused, .answerLost, .outage, .full, .hung, .crash])
      return .persistent(faults: faults) {
        ToyGatedDirectory(
          inner: ToyDirectory(disk: disk, flaw: nil, environment: environment), faults: faults, flaw: flaw)
      }
    }
  }

  // MARK: Sound ones

  @Test("A sound provider passes, and every behaviour concerns it", arguments: KeyProviderConformance.faults)
  func soundProviderPasses(_ behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
    let result = try await behavior.run(Self.keys())
    #expect(result.isPassed, "\(result)")
  }

  @Test("A sound store passes, and every behaviour concerns it", arguments: PolicyStoreConformance.faults)
  func soundStorePasses(_ behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    let result = try await behavior.run(Self.records())
    #expect(result.isPassed, "\(result)")
  }

  @Test("A sound directory passes", arguments: IdentityProviderConformance.faults)
  func soundDirectoryPasses(_ behavior: ConformanceBehavior<IdentityProviderSubject>) async throws {
    let result = try await behavior.run(Self.directory())
    let never = ["a backend that looks empty", "cut sessions", "a flipped bit"]
    #expect(result.isPassed || never.contains { behavior.name.hasSuffix($0) }, "\(result)")
  }

  // MARK: Flawed ones

  @Test("A flaw under faults is caught by the behaviour that is about it", arguments: FaultFlaw.allCases)
  func flawIsCaught(_ flaw: FaultFlaw) async throws {
    #expect(!(flaw.caughtByKeys + flaw.caughtByStores + flaw.caughtByDirectories).isEmpty)
    try await expectCaught(flaw, flaw.caughtByKeys, KeyProviderConformance.faults, Self.keys(flaw))
    try await expectCaught(flaw, flaw.caughtByStores, PolicyStoreConformance.faults, Self.records(flaw))
    try await expectCaught(flaw, flaw.caughtByDirectories, IdentityProviderConformance.faults, Self.directory(flaw))
  }

  private func expectCaught<Subject>(
    _ flaw: FaultFlaw, _ names: [String], _ behaviors: [ConformanceBehavior<Subject>], _ subject: Subject
  ) async throws {
    for name in names {
      let behavior = try #require(behaviors.first { $0.name == name }, "'\(name)'")
      await #expect(throws: ConformanceViolation.self, "'\(name)' must notice \(flaw)") {
        try await behavior.run(subject)
      }
    }
  }

  // MARK: The lists

  @Test("Names are unique, and there are at least 40 behaviours for whoever has every kind of fault")
  func names() {
    let keys = (KeyProviderConformance.all + KeyProviderConformance.faults).map(\.name)
    let stores = (PolicyStoreConformance.all + PolicyStoreConformance.faults).map(\.name)
    let directories = (IdentityProviderConformance.all + IdentityProviderConformance.faults).map(\.name)
    for names in [keys, stores, directories] { #expect(Set(names).count == names.count) }
    #expect(KeyProviderConformance.faults.count >= 40 && PolicyStoreConformance.faults.count >= 40)
    #expect(FaultFlaw.allCases.count >= 20)
  }

  @Test("Without an injector the fault behaviours say so, each by its name")
  func withoutInjector() async throws {
    let subject = KeyProviderSubject { _ in .volatile { try await ToyDeviceProvider(ToyDevice(), nil) } }
    let report = try await ConformanceReport.run(KeyProviderConformance.faults, on: subject)
    #expect(report.lines.map(\.name) == KeyProviderConformance.faults.map(\.name))
    for line in report.lines { #expect(line.verdict == .notApplicable("the subject has no fault injector")) }
    #expect(report.faultRuns == 0)
  }

  @Test("A behaviour under faults tells how many runs it made, and so does the report")
  func runsAreCounted() async throws {
    let name = "generate survives an outage"
    let behavior = try #require(KeyProviderConformance.faults.first { $0.name == name })
    let report = try await ConformanceReport.run([behavior], on: Self.keys())
    #expect(report.faultRuns == 2, "adding a key and confirming the device")
    #expect(report.description.contains("\(name), 2 fault runs"))
    #expect(report.description.hasSuffix("1 passed, 0 not applicable, 0 violated, 2 fault runs"))
  }
}
