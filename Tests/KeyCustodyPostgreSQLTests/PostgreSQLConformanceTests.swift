import KeyCustody
import KeyCustodySubjects
import KeyCustodyTesting
import Testing

/// The contracts of a policy store and of a table of sealed records, run on a server, without and with faults of the connections to it.
struct PostgreSQLConformanceTests {
  @Test("Records on a server", arguments: PolicyStoreConformance.all)
  func policyStore(behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    #expect(try await behavior.run(Subjects.serverRecords) == .passed)
  }

  @Test("Sealed records on a server", arguments: SealedTableConformance.all)
  func sealedTable(behavior: ConformanceBehavior<SealedTableSubject>) async throws {
    #expect(try await behavior.run(Subjects.serverTable) == .passed)
  }

  /// What a socket between the store and the server can't do.
  private static let never = [
    "a backend that looks empty", "a lost login", "a full backend", "A refused credential", "a refused credential",
  ]

  @Test("Records on a server, with faults beneath", arguments: PolicyStoreConformance.faults)
  func recordFaults(behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    let result = try await behavior.run(Subjects.serverRecords)
    #expect(result.isPassed || Self.never.contains { behavior.name.contains($0) }, "\(result)")
  }
}
