import KeyCustody
import KeyCustodySubjects
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

/// The contracts of the two protocols, run on folders, without and with faults of the file system.
struct FileConformanceTests {
  @Test("Keys in files", arguments: KeyProviderConformance.all)
  func keyProvider(behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
    let result = try await behavior.run(Subjects.fileKeys)
    // Everything is offered here, so two behaviours of what is not offered have nothing to look at.
    var hasNoSubject = ["A signature algorithm that is not offered", "Import that is not offered"]
    // FIPS mode wraps nothing by RSA-OAEP with SHA-1.
    if FIPSRun.isOn { hasNoSubject.append("RSA-OAEP and RSA-OAEP-256 are not interchangeable") }
    #expect(result == .passed || hasNoSubject.contains { behavior.name.hasPrefix($0) }, "\(result)")
  }

  @Test("Records in files", arguments: PolicyStoreConformance.all)
  func policyStore(behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    #expect(try await behavior.run(Subjects.fileRecords) == .passed)
  }

  /// There are neither sessions nor logins beneath a folder.
  private static let never = ["cut sessions", "a lost login", "A refused credential"]

  @Test("Keys in files, with faults beneath", arguments: KeyProviderConformance.faults)
  func keyFaults(behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
    let result = try await behavior.run(Subjects.fileKeys)
    #expect(result.isPassed || Self.never.contains { behavior.name.contains($0) }, "\(result)")
  }

  @Test("Records in files, with faults beneath", arguments: PolicyStoreConformance.faults)
  func recordFaults(behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    let result = try await behavior.run(Subjects.fileRecords)
    // Reading is from memory, and touches the disk only after a change whose outcome is unknown.
    let inMemory = ["read", "list", "watch", "revision"].contains { behavior.name.hasPrefix("\($0) survives") }
    #expect(result.isPassed || inMemory || Self.never.contains { behavior.name.contains($0) }, "\(result)")
  }
}
