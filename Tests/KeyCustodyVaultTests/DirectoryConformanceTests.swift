import KeyCustody
import KeyCustodyMemory
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// The directory over memory, by the kit (SEMANTICS I1, I2, I4).
struct DirectoryConformanceTests {
  private func subject() throws -> IdentityProviderSubject {
    IdentityProviderSubject(
      audience: "https://vault.test", tenant: try TenantID("contoso"), otherTenant: try TenantID("fabrikam")
    ) { environment in
      let memory = MemoryPlugin()
      return .persistent {
        let section = KeyCustodyConfiguration(["plugin": "memory"]).root
        return try await DirectoryIdentityProvider(
          store: try await [memory.plugin].openPolicyStore(section, environment),
          signer: try await [memory.plugin].openKeyProvider(section, environment),
          issuer: "https://vault.test/directory", environment: environment)
      }
    }
  }

  @Test("The directory conforms", arguments: IdentityProviderConformance.all)
  func conforms(to behavior: ConformanceBehavior<IdentityProviderSubject>) async throws {
    let result = try await behavior.run(subject())
    #expect(result == .passed, "the directory offers everything")
  }
}
