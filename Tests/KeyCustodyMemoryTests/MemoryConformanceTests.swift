import KeyCustody
import KeyCustodySubjects
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

/// The contracts of the two protocols, run on memory, without and with faults of what lies beneath it.
struct MemoryConformanceTests {
  @Test("Keys in memory", arguments: KeyProviderConformance.all)
  func keyProvider(behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
    let result = try await behavior.run(Subjects.memoryKeys)
    // Everything is offered here, so two behaviours of what is not offered have nothing to look at.
    var hasNoSubject = ["A signature algorithm that is not offered", "Import that is not offered"]
    // FIPS mode wraps nothing by RSA-OAEP with SHA-1.
    if FIPSRun.isOn { hasNoSubject.append("RSA-OAEP and RSA-OAEP-256 are not interchangeable") }
    #expect(result == .passed || hasNoSubject.contains { behavior.name.hasPrefix($0) }, "\(result)")
  }

  @Test("Records in memory", arguments: PolicyStoreConformance.all)
  func policyStore(behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    #expect(try await behavior.run(Subjects.memoryRecords) == .passed)
  }

  @Test("Sealed records in memory", arguments: SealedTableConformance.all)
  func sealedTable(behavior: ConformanceBehavior<SealedTableSubject>) async throws {
    #expect(try await behavior.run(Subjects.memoryTable) == .passed)
  }

  @Test("Keys in memory, with a random source that fails", arguments: KeyProviderConformance.faults)
  func keyFaults(behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
    let result = try await behavior.run(Subjects.memoryKeys)
    // Making a key and proving one draw random bytes; nothing else touches anything but memory.
    let draws = ["generate", "probe"].flatMap { operation in
      ["a refused call", "an outage", "a hang"].map { "\(operation) survives \($0)" }
    }
    #expect(result.isPassed == (draws.contains(behavior.name) || Self.general.contains(behavior.name)), "\(result)")
  }

  private static let general = [
    "generate survives a crash", "An outage and its end are told to whoever reads the events",
    "Many callers in an outage are all answered, and all served after it",
    "Many callers meet their deadlines while the backend hangs",
    "What is not offered is refused before the backend is touched",
  ]

  @Test("Nothing lies beneath records in memory", arguments: PolicyStoreConformance.faults)
  func recordFaults(behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    #expect(try await !behavior.run(Subjects.memoryRecords).isPassed)
  }
}
