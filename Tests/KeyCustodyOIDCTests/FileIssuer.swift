import KeyCustody
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

@testable import KeyCustodyOIDC

/// An issuer whose keys are in a file, and a verifier that believes it.
struct FileIssuer {
  let name: String
  let audience = "https://vault.example"
  let clock: ManualClock
  let verifier: OIDCTokenVerifier
  let folder: TemporaryFolder

  init(
    _ name: String = "https://issuer.example", keys: [JSON],
    algorithms: Set<SignatureAlgorithm> = OIDCIssuer.usualAlgorithms, clock: ManualClock = ManualClock()
  ) async throws {
    self.name = name
    self.clock = clock
    folder = try TemporaryFolder()
    let file = try folder.write(keySet(keys), to: "keys.json")
    verifier = try await OIDCTokenVerifier(
      [try OIDCIssuer(name, algorithms: algorithms, keySetFile: file)], environment: environment(clock))
  }

  func claims(_ changes: [(String, JSON?)] = []) -> JSON {
    KeyCustodyOIDCTests.claims(issuer: name, audience: audience, at: clock.now(), changes)
  }

  /// Whether the verifier takes a token; anything but a refusal of the token fails the test.
  func accepts(_ token: String) async throws -> Bool {
    do throws(KeyCustodyError) {
      _ = try await verifier.verify(token, issuer: name, audience: audience)
      return true
    } catch {
      #expect(error == .rejected, "\(error)")
      return false
    }
  }
}
