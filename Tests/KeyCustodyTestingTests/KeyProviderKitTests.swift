import KeyCustody
import KeyCustodyTesting
import Synchronization
import Testing

/// A toy provider as a subject of the kit.
func toySubject(_ flaw: KeyFlaw? = nil) -> KeyProviderSubject {
  let disks = Disks()
  return KeyProviderSubject(
    verify: ToyKeyProvider.verifier { disks.all.withLock { $0 } },
    patience: flaw == .leavesStreamsOpen ? .milliseconds(50) : .seconds(30)
  ) { environment in
    let disk = ToyKeyDisk()
    disks.all.withLock { $0.append(disk) }
    return .persistent { ToyKeyProvider(disk: disk, flaw: flaw, environment: environment) }
  }
}

private final class Disks: Sendable {
  let all = Mutex<[ToyKeyDisk]>([])
}

@Suite("The kit for key providers")
struct KeyProviderKitTests {
  @Test("A sound provider passes", arguments: KeyProviderConformance.all)
  func soundProviderPasses(_ behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
    let result = try await behavior.run(toySubject())
    if case .notApplicable(let why) = result {
      #expect(why.contains("mport"), "Toys do everything but import: \(why)")
    }
  }

  @Test("A flawed provider is caught by the behaviour that is about the flaw", arguments: KeyFlaw.allCases)
  func flawIsCaught(_ flaw: KeyFlaw) async throws {
    for name in flaw.caughtBy {
      let behavior = try #require(KeyProviderConformance.all.first { $0.name == name }, "'\(name)'")
      await #expect(throws: ConformanceViolation.self, "'\(name)' must notice \(flaw)") {
        try await behavior.run(toySubject(flaw))
      }
    }
  }

  @Test("Every behaviour is seen to fail, and names are unique")
  func everyBehaviorIsProven() {
    let names = KeyProviderConformance.all.map(\.name)
    #expect(Set(names).count == names.count)
    #expect(names.count >= 35)
    #expect(Set(KeyFlaw.allCases.flatMap(\.caughtBy)) == Set(names))
  }

  @Test("A provider that does not persist is not asked to")
  func volatileIsNotReopened() async throws {
    let subject = KeyProviderSubject { environment in
      let disk = ToyKeyDisk()
      return .volatile { ToyKeyProvider(disk: disk, flaw: .losesKeys, environment: environment) }
    }
    let behavior = try #require(KeyProviderConformance.all.first { $0.name.hasPrefix("Keys survive reopening") })
    #expect(try await behavior.run(subject) == .notApplicable("this backend does not outlive closing"))
  }

  @Test("A subject that makes no backend is no violation")
  func setupFailureIsTold() async throws {
    struct Broken: Error {}
    let unmade = KeyProviderSubject { _ in throw Broken() }
    let unopened = KeyProviderSubject { _ in .volatile { throw Broken() } }
    for subject in [unmade, unopened] {
      await #expect(throws: ConformanceSetupFailure.self) { try await KeyProviderConformance.all[0].run(subject) }
    }
  }
}
