import KeyCustody
import KeyCustodySubjects
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

@testable import KeyCustodyPKCS11

@Suite("The contracts on SoftHSM")
struct ConformanceTests {
  /// An ability that went missing must not pass as "does not concern us": what may be passed over is listed.
  static func expect(_ result: ConformanceResult, unless reasons: Set<String>) {
    guard case .notApplicable(let reason) = result else { return }
    #expect(reasons.contains(reason), "passed over: \(reason)")
  }

  @Test("DESIGN 3: keys on a token are a key provider", arguments: KeyProviderConformance.all)
  func keys(_ behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
    Self.expect(
      try await behavior.run(Subjects.tokenKeys),
      unless: [
        "import of RSA-2048, P-256 and AES-256 is offered", "every signature algorithm is offered",
        "backup is not offered",
      ])
  }
}

@Suite("The contract of a policy store on SoftHSM")
struct StoreConformanceTests {
  @Test("DESIGN 3: data objects of a token are a policy store", arguments: PolicyStoreConformance.all)
  func records(_ behavior: ConformanceBehavior<PolicyStoreSubject>) async throws {
    ConformanceTests.expect(
      try await behavior.run(Subjects.tokenRecords), unless: ["the backend holds at most 1000 records"])
  }
}
