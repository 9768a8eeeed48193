import KeyCustody
import KeyCustodyCrypto
import KeyCustodyFile
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

/// The contracts of the two protocols, run on folders.
struct FileConformanceTests {
  private static let verify: KeyProviderSubject.SignatureVerifier = { signature, digest, publicKey, algorithm in
    try PublicKey(spki: publicKey).verify(signature, digest: digest, algorithm)
  }
  private static let keys = KeyProviderSubject(verify: verify) { environment in
    let store = try FileStore()
    return .persistent { try await store.openKeys(environment) }
  }
  private static let records = PolicyStoreSubject { environment in
    let store = try FileStore()
    return .persistent { try await store.openRecords(environment) }
  }

  @Test("Keys in files", arguments: KeyProviderConformance.all)
  func keyProvider(behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
    let result = try await behavior.run(Self.keys)
    // Everything is offered here, so two behaviours of what is not offered have nothing to look at.
    let hasNoSubject = ["A signature algorithm that is not offered", "Import that is not offered"]
    #expect(result == .passed || hasNoSubject.contains { behavior.name.hasPrefix($0) }, "\(result)")
  }

  @Test("Records in files", arguments: PolicyStoreConformance.all)
  func policyStore(behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    #expect(try await behavior.run(Self.records) == .passed)
  }
}
