import KeyCustody
import KeyCustodyFile
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

/// The contracts of the two protocols, run on folders.
struct FileConformanceTests {
  private static let keys = KeyProviderSubject { environment in
    let store = try FileStore()
    return .persistent { try await store.openKeys(environment) }
  }
  private static let records = PolicyStoreSubject { environment in
    let store = try FileStore()
    return .persistent { try await store.openRecords(environment) }
  }

  @Test("Keys in files", arguments: KeyProviderConformance.all)
  func keyProvider(behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
    try await behavior.run(Self.keys)
  }

  @Test("Records in files", arguments: PolicyStoreConformance.all)
  func policyStore(behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    try await behavior.run(Self.records)
  }
}
