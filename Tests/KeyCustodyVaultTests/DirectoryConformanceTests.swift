import KeyCustody
import KeyCustodySubjects
import KeyCustodyTesting
import Testing

/// The directory over memory, by the kit (SEMANTICS I1, I2, I4), without and with faults of its store and key provider.
struct DirectoryConformanceTests {
  @Test("The directory conforms", arguments: IdentityProviderConformance.all)
  func conforms(to behavior: ConformanceBehavior<IdentityProviderSubject>) async throws {
    let result = try await behavior.run(Subjects.directory())
    #expect(result == .passed, "the directory offers everything")
  }

  @Test("The directory conforms with faults beneath", arguments: IdentityProviderConformance.faults)
  func conformsUnderFaults(to behavior: ConformanceBehavior<IdentityProviderSubject>) async throws {
    let result = try await behavior.run(Subjects.directory())
    // A store and a key provider that keep their contracts neither look empty nor give altered answers.
    let never = ["a backend that looks empty", "cut sessions", "a flipped bit"]
    #expect(result.isPassed || never.contains { behavior.name.hasSuffix($0) }, "\(result)")
  }
}
