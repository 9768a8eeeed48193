import KeyCustody
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

@testable import KeyCustodyOIDC

@Suite("Tokens meant for somebody else")
struct MatrixTests {
  private let clock = ManualClock()
  private let folder: TemporaryFolder
  private let audience = "https://vault.example"
  private let issuers = ["https://one.example", "https://two.example/tenant"]
  private let keys: [TestKey]
  private let stranger: TestKey
  private let verifier: OIDCTokenVerifier

  init() async throws {
    folder = try TemporaryFolder()
    // Both issuers call their key by one name: what tells them apart is the key.
    keys = [try TestKey(.ec(.p256), "key"), try TestKey(.ec(.p256), "key")]
    stranger = try TestKey(.ec(.p256), "key")
    var settings: [OIDCIssuer] = []
    for (index, issuer) in issuers.enumerated() {
      let file = try folder.write(keySet([keys[index].jwk()]), to: "keys-\(index).json")
      settings.append(try OIDCIssuer(issuer, keySetFile: file))
    }
    verifier = try await OIDCTokenVerifier(settings, environment: environment(clock))
  }

  @Test("I4, I5: of issuer, audience, key and time only the exact cell passes")
  func matrix() async throws {
    let now = clock.now().seconds
    let audiences: [(JSON?, Bool)] = [
      (.string(audience), true), (.array([.string(audience)]), true),
      (["https://other.example", .string(audience)], true),
      ("https://other.example", false), (["https://other.example"], false), (.array([]), false), (nil, false),
      (.string(audience + "/"), false), ("https://vault.exampl", false), ("https://VAULT.example", false),
    ]
    let times: [([(String, JSON?)], Bool)] = [
      ([], true), ([("exp", .integer(now + 1))], true), ([("exp", .integer(now))], false),
      ([("exp", .integer(now - 1))], false), ([("exp", nil)], false),
      ([("nbf", .integer(now + 60))], true), ([("nbf", .integer(now + 61))], false), ([("nbf", nil)], true),
      ([("iat", .integer(now + 60))], true), ([("iat", .integer(now + 61))], false), ([("iat", nil)], true),
      ([("exp", .integer(now + 86_400))], true), ([("exp", .integer(now + 86_401))], false),
      ([("iat", nil), ("nbf", nil), ("exp", .integer(now + 90_000))], false),
    ]
    let named = issuers + [issuers[0] + "/", issuers[0].uppercased(), "https://three.example", ""]
    var cells = 0
    var accepted = 0
    for asked in issuers {
      for issuer in named {
        for (keyIndex, key) in (keys + [stranger]).enumerated() {
          for (aud, audienceFits) in audiences {
            for (time, timeFits) in times {
              let payload = claims(
                issuer: issuer, audience: audience, at: clock.now(), [("aud", aud)] + time)
              let isRight =
                issuer == asked && keyIndex < 2 && issuers[keyIndex] == asked && audienceFits && timeFits
              let passes = try await passes(key.token(payload), issuer: asked)
              if passes != isRight { Issue.record("\(asked) \(payload) \(keyIndex): \(passes)") }
              cells += 1
              accepted += passes ? 1 : 0
            }
          }
        }
      }
    }
    #expect(accepted == 2 * 3 * times.filter(\.1).count)
    print("token matrix: \(cells) cells, \(accepted) accepted, each of them right")
  }

  @Test("An issuer that is not allowed is refused whatever the token, even one that is given to the caller by it")
  func unknownIssuer() async throws {
    let issuer = "https://three.example"
    let token = try keys[0].token(claims(issuer: issuer, audience: audience, at: clock.now()))
    await #expect(throws: KeyCustodyError(.denied, .init("issuer-unknown"), "")) {
      try await verifier.verify(token, issuer: issuer, audience: audience)
    }
  }

  @Test("The claims of a good token are told")
  func claimsAreTold() async throws {
    let token = try keys[1].token(
      claims(
        issuer: issuers[1], audience: audience, at: clock.now(), subject: "Bob", [("aud", ["x", .string(audience)])]))
    let told = try await verifier.verify(token, issuer: issuers[1], audience: audience)
    #expect(
      told
        == FederatedClaims(
          issuer: issuers[1], subject: "Bob", audience: audience, expires: Timestamp(seconds: clock.now().seconds + 600)
        ))
  }

  @Test("Closed, a verifier says so")
  func closed() async throws {
    let token = try keys[0].token(claims(issuer: issuers[0], audience: audience, at: clock.now()))
    verifier.close()
    await #expect(throws: KeyCustodyError(.unavailable, .closed, "")) {
      try await verifier.verify(token, issuer: issuers[0], audience: audience)
    }
  }

  private func passes(_ token: String, issuer: String) async throws -> Bool {
    do throws(KeyCustodyError) {
      _ = try await verifier.verify(token, issuer: issuer, audience: audience)
      return true
    } catch {
      #expect(error == .rejected, "\(error)")
      return false
    }
  }
}
