import KeyCustody
import KeyCustodySubjects
import KeyCustodyTesting
import Testing

/// The contracts of a policy store, of the directory on it, and of a table of sealed records, run on databases, without
/// and with faults of the files.
struct SQLiteConformanceTests {
  @Test("Records in a database", arguments: PolicyStoreConformance.all)
  func policyStore(behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    #expect(try await behavior.run(Subjects.databaseRecords) == .passed)
  }

  @Test("Sealed records in a database", arguments: SealedTableConformance.all)
  func sealedTable(behavior: ConformanceBehavior<SealedTableSubject>) async throws {
    #expect(try await behavior.run(Subjects.databaseTable) == .passed)
  }

  /// There are neither sessions nor logins beneath a file.
  private static let never = ["cut sessions", "a lost login", "A refused credential", "a refused credential"]

  @Test("Records in a database, with faults beneath", arguments: PolicyStoreConformance.faults)
  func recordFaults(behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    let result = try await behavior.run(Subjects.databaseRecords)
    // How far the store has come is known without the disk.
    let inMemory = behavior.name.hasPrefix("revision survives")
    #expect(result.isPassed || inMemory || Self.never.contains { behavior.name.contains($0) }, "\(result)")
  }

  @Test("I1, I2, I4: the directory on a database", arguments: IdentityProviderConformance.all)
  func directory(behavior: ConformanceBehavior<IdentityProviderSubject>) async throws {
    #expect(try await behavior.run(Subjects.directoryOnDatabase()) == .passed)
  }

  @Test("The directory on a database, with faults beneath", arguments: IdentityProviderConformance.faults)
  func directoryFaults(behavior: ConformanceBehavior<IdentityProviderSubject>) async throws {
    let result = try await behavior.run(Subjects.directoryOnDatabase())
    // What was read before is in SQLite's memory: reading it again may make no call.
    if case .notApplicable(let why) = result, why.hasSuffix("makes no call beneath") { return }
    #expect(result.isPassed || Self.never.contains { behavior.name.contains($0) }, "\(result)")
  }
}
