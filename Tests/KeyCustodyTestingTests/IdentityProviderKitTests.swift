import KeyCustody
import KeyCustodyTesting
import Testing

/// A toy directory as a subject of the kit.
func toySubject(_ flaw: IdentityFlaw? = nil) throws -> IdentityProviderSubject {
  let silent: [IdentityFlaw] = [.silent, .leavesStreamsOpen]
  return IdentityProviderSubject(
    audience: "https://vault.example", tenant: try TenantID("contoso"), otherTenant: try TenantID("fabrikam"),
    patience: flaw.map(silent.contains) == true ? .milliseconds(50) : .seconds(30)
  ) { environment in
    let disk = ToyDirectoryDisk()
    return .persistent { ToyDirectory(disk: disk, flaw: flaw, environment: environment) }
  }
}

@Suite("The kit for identity providers")
struct IdentityProviderKitTests {
  @Test("A sound identity provider passes", arguments: IdentityProviderConformance.all)
  func soundProviderPasses(_ behavior: ConformanceBehavior<IdentityProviderSubject>) async throws {
    #expect(try await behavior.run(toySubject()) == .passed)
  }

  @Test(
    "A flawed identity provider is caught by the behaviour that is about the flaw", arguments: IdentityFlaw.allCases)
  func flawIsCaught(_ flaw: IdentityFlaw) async throws {
    for name in flaw.caughtBy {
      let behavior = try #require(IdentityProviderConformance.all.first { $0.name == name }, "'\(name)'")
      await #expect(throws: ConformanceViolation.self, "'\(name)' must notice \(flaw)") {
        try await behavior.run(toySubject(flaw))
      }
    }
  }

  @Test("Every behaviour is seen to fail, and names are unique")
  func everyBehaviorIsProven() {
    let names = IdentityProviderConformance.all.map(\.name)
    #expect(Set(names).count == names.count)
    #expect(names.count >= 25)
    #expect(Set(IdentityFlaw.allCases.flatMap(\.caughtBy)) == Set(names))
  }

  @Test("An identity provider that issues nothing is not asked to")
  func verifierIsNotAsked() async throws {
    struct Verifier: IdentityProvider {
      let identity = ProviderIdentity(kind: "verifier", instance: "1")
      func authenticate(_ credential: borrowing Credential, audience: String) async throws(KeyCustodyError) -> Principal
      {
        throw KeyCustodyError(.credentialRejected, .wrongSecret, "No.")
      }
      func events() -> AsyncStream<IdentityEvent> { AsyncStream { $0.finish() } }
      func close() async {}
    }
    var subject: IdentityProviderSubject = try toySubject()
    subject.make = { (_: RuntimeEnvironment) in .volatile { Verifier() } }
    for behavior in IdentityProviderConformance.all {
      #expect(try await behavior.run(subject) == .notApplicable("this identity provider issues no credentials"))
    }
  }
}
