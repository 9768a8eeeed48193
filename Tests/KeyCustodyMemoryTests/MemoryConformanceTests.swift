import KeyCustody
import KeyCustodyCrypto
import KeyCustodyMemory
import KeyCustodyTesting
import Testing

/// The contracts of the two protocols, run on memory.
struct MemoryConformanceTests {
  private static let verify: KeyProviderSubject.SignatureVerifier = { signature, digest, publicKey, algorithm in
    try PublicKey(spki: publicKey).verify(signature, digest: digest, algorithm)
  }
  private static let keys = KeyProviderSubject(verify: verify) { environment in
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
    let result = try await behavior.run(Self.keys)
    // Everything is offered here, so two behaviours of what is not offered have nothing to look at.
    let hasNoSubject = ["A signature algorithm that is not offered", "Import that is not offered"]
    #expect(result == .passed || hasNoSubject.contains { behavior.name.hasPrefix($0) }, "\(result)")
  }

  @Test("Records in memory", arguments: PolicyStoreConformance.all)
  func policyStore(behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    #expect(try await behavior.run(Self.records) == .passed)
  }
}
