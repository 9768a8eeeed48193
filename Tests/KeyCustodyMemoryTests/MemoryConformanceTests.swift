import KeyCustody
import KeyCustodyMemory
import KeyCustodyTesting
import Testing

/// The contracts of the two protocols, run on memory.
struct MemoryConformanceTests {
  private static let keys = KeyProviderSubject { environment in
    let plugin = MemoryPlugin().plugin
    return .persistent {
      try await [plugin].openKeyProvider(KeyCustodyConfiguration(["plugin": "memory"]).root, environment)
    }
  }
  private static let records = PolicyStoreSubject { environment in
    let plugin = MemoryPlugin().plugin
    return .persistent {
      try await [plugin].openPolicyStore(KeyCustodyConfiguration(["plugin": "memory"]).root, environment)
    }
  }

  @Test("Keys in memory", arguments: KeyProviderConformance.all)
  func keyProvider(behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
    try await behavior.run(Self.keys)
  }

  @Test("Records in memory", arguments: PolicyStoreConformance.all)
  func policyStore(behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    try await behavior.run(Self.records)
  }
}
