import KeyCustody
import KeyCustodyTesting
import Testing

/// A toy store as a subject of the kit.
func toySubject(_ flaw: StoreFlaw? = nil, capacity: Int = .max) -> PolicyStoreSubject {
  let shared = ToyStoreDisk()
  let silent: [StoreFlaw] = [.oneWatcher, .watchesFromNow, .leavesStreamsOpen]
  let patience: Duration = flaw.map(silent.contains) == true ? .milliseconds(50) : .seconds(30)
  return PolicyStoreSubject(capacity: capacity, patience: patience) { _ in
    let disk = flaw == .sharedDisk ? shared : ToyStoreDisk()
    return .persistent { ToyPolicyStore(disk: disk, flaw: flaw) }
  }
}

@Suite("The kit for policy stores")
struct PolicyStoreKitTests {
  @Test("A sound store passes", arguments: PolicyStoreConformance.all)
  func soundStorePasses(_ behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    #expect(try await behavior.run(toySubject()) == .passed)
  }

  @Test("A flawed store is caught by the behaviour that is about the flaw", arguments: StoreFlaw.allCases)
  func flawIsCaught(_ flaw: StoreFlaw) async throws {
    for name in flaw.caughtBy {
      let behavior = try #require(PolicyStoreConformance.all.first { $0.name == name }, "'\(name)'")
      await #expect(throws: ConformanceViolation.self, "'\(name)' must notice \(flaw)") {
        try await behavior.run(toySubject(flaw))
      }
    }
  }

  @Test("Every behaviour is seen to fail, and names are unique")
  func everyBehaviorIsProven() {
    let names = PolicyStoreConformance.all.map(\.name)
    #expect(Set(names).count == names.count)
    #expect(names.count >= 25)
    #expect(Set(StoreFlaw.allCases.flatMap(\.caughtBy)) == Set(names))
  }

  @Test("A small store is not asked for more than it holds")
  func capacityIsRespected() async throws {
    let name = "More than a page of records is listed page by page"
    let behavior = try #require(PolicyStoreConformance.all.first { $0.name == name })
    let result = try await behavior.run(toySubject(capacity: 1000))
    #expect(result == .notApplicable("the backend holds at most 1000 records"))
  }
}
