import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

@testable import KeyCustodyPKCS11

@Suite("The contracts on SoftHSM")
struct ConformanceTests {
  @Test("DESIGN 3: keys on a token are a key provider", arguments: KeyProviderConformance.all)
  func keys(_ behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
    try await behavior.run(
      KeyProviderSubject(
        verify: { signature, digest, publicKey, algorithm in
          try PublicKey(spki: publicKey).verify(signature, digest: digest, algorithm)
        },
        make: { environment in
          let token = try await SoftHSM.makeToken()
          return .persistent { try await Backends.keys(token, environment: environment) }
        }))
  }
}
