import KeyCustody
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

@testable import KeyCustodyOIDC

/// An identity provider opened from a configuration, as a host does it.
struct IdentityProviderTests {
  private let folder: TemporaryFolder
  private let clock = ManualClock()
  private let key: TestKey
  private let issuer = "https://issuer.example/tenant"

  init() throws {
    folder = try TemporaryFolder()
    key = try TestKey(.ec(.p256), "key")
    try folder.write(keySet([key.jwk()]), to: "keys.json")
  }

  private func open(_ changes: [String: ConfigurationValue] = [:]) async throws(KeyCustodyError) -> any IdentityProvider
  {
    let values: [String: ConfigurationValue] = [
      "issuer": .string(issuer), "tenant": "contoso", "jwksFile": "keys.json",
    ]
    let configuration = KeyCustodyConfiguration(["identity": .section(values.merging(changes) { $1 })])
    var environment = environment(clock)
    environment.baseDirectory = folder.path
    guard let read = OIDCPlugin.plugin.identityProvider else {
      throw KeyCustodyError(.fault, .internalFault, "The plugin is no identity provider.")
    }
    let section = configuration.root.section("identity")
    let opening = try read(section, environment)
    try section.refuseUnknownKeys()
    return try await opening()
  }

  private func token(_ changes: [(String, JSON?)] = [], audience: String = "https://vault.example") throws -> String {
    try key.token(claims(issuer: issuer, audience: audience, at: clock.now(), changes))
  }

  @Test("I1, I4: a token of an outside issuer makes a principal of the configured tenant")
  func principal() async throws {
    let provider = try await open()
    #expect(provider.identity == ProviderIdentity(kind: "oidc", instance: issuer))
    #expect(provider.administration == nil)
    let found = try await provider.authenticate(.token(token()), audience: "https://vault.example")
    #expect(
      found
        == Principal(
          id: try PrincipalID("contoso/alice"), kind: .servicePrincipal, method: .token,
          expires: Timestamp(seconds: clock.now().seconds + 600)))
    await #expect(throws: KeyCustodyError.rejected) {
      try await provider.authenticate(.token(token()), audience: "https://other.example")
    }
    let upper = try await provider.authenticate(.token(token([("sub", "Alice")])), audience: "https://vault.example")
    #expect(upper.id != found.id && upper.id.subject.spelling.hasPrefix("sha256-"))
    await provider.close()
    await #expect(throws: KeyCustodyError(.unavailable, .closed, "")) {
      try await provider.authenticate(.token(token()), audience: "https://vault.example")
    }
  }

  @Test("A tenant that a token names does not count")
  func tenant() async throws {
    let provider = try await open()
    let found = try await provider.authenticate(
      .token(token([("tid", "fabrikam"), ("tenant", "fabrikam")])), audience: "https://vault.example")
    #expect(found.id.tenant == (try TenantID("contoso")))
    await provider.close()
  }

  @Test("Nothing but a token is a credential here")
  func otherCredentials() async throws {
    let provider = try await open()
    let secret = Array(try token().utf8)
    await #expect(throws: KeyCustodyError.rejected) {
      try await provider.authenticate(.apiKey(SecretBytes(copying: secret)), audience: "https://vault.example")
    }
    await #expect(throws: KeyCustodyError.rejected) {
      try await provider.authenticate(
        .clientSecret(PrincipalID("contoso/alice"), SecretBytes(copying: secret)), audience: "https://vault.example")
    }
    await provider.close()
  }

  @Test(
    "Configured audiences stand in for the host's own, a list or divided by commas",
    arguments: [["api://one", "api://two"], "api://one, api://two,"] as [ConfigurationValue])
  func audiences(_ value: ConfigurationValue) async throws {
    let provider = try await open(["audiences": value])
    for audience in ["api://one", "api://two"] {
      _ = try await provider.authenticate(.token(token(audience: audience)), audience: "https://vault.example")
    }
    for audience in ["https://vault.example", "api://", "api://one,", "api://one, api://two"] {
      await #expect(throws: KeyCustodyError.rejected, "\(audience)") {
        try await provider.authenticate(.token(token(audience: audience)), audience: "https://vault.example")
      }
    }
    await provider.close()
  }

  @Test("Another claim names the principal where one is configured, and must then be there")
  func subjectClaim() async throws {
    let provider = try await open(["subjectClaim": "oid", "kind": "user"])
    let object = "11111111-2222-4333-8444-0123456789ab"
    let found = try await provider.authenticate(
      .token(token([("oid", .string(object))])), audience: "https://vault.example")
    #expect(found.id.subject.spelling == object && found.kind == .user)
    for value in [nil, "", 1, [.string(object)], .null] as [JSON?] {
      await #expect(throws: KeyCustodyError.rejected) {
        try await provider.authenticate(.token(token([("oid", value)])), audience: "https://vault.example")
      }
    }
    await #expect(throws: KeyCustodyError.rejected, "sub is required all the same") {
      try await provider.authenticate(
        .token(token([("oid", .string(object)), ("sub", nil)])), audience: "https://vault.example")
    }
    await provider.close()
  }

  @Test(
    "Settings that can't be right are refused at opening",
    arguments: [
      ["issuer": "http://issuer.example"], ["issuer": "issuer.example"], ["issuer": ""], ["issuer": "https://"],
      ["issuer": "https://issuer.example?x"], ["issuer": "https://issuer.example#x"],
      ["issuer": "https://a@issuer.example"],
      ["issuer": "http://localhost"], ["issuer": "http://127.0.0.1.example"], ["issuer": "http://10.0.0.1"],
      ["issuer": "ftp://issuer.example"], ["issuer": "https://issuer.example/ x"], ["issuer": "HTTPS://issuer.example"],
      ["issuer": "https://iss\u{fc}er.example"], ["algorithms": ["none"]], ["algorithms": ["HS256"]],
      ["algorithms": []],
      ["algorithms": "RS256 ES256"], ["audiences": []], ["audiences": ","], ["audiences": 1], ["tenant": "a/b"],
      ["kind": "managedIdentity"], ["kind": "robot"], ["subjectClaim": ""], ["keepKeys": 599], ["keepKeys": 604_801],
      ["caFile": "ca.pem"], ["jwksUri": "https://issuer.example"],
    ] as [[String: ConfigurationValue]])
  func badSettings(_ changes: [String: ConfigurationValue]) async {
    let error = await #expect(throws: KeyCustodyError.self) { try await open(changes) }
    #expect(error?.code == .invalidInput, "\(changes)")
  }

  @Test("Settings that are right are taken")
  func goodSettings() async throws {
    for changes: [String: ConfigurationValue] in [
      ["algorithms": ["ES256"]], ["algorithms": "RS256, ES256"], ["keepKeys": 600], ["issuer": "http://127.0.0.1:8080"],
      ["issuer": "http://[::1]:8080/x"], ["issuer": "https://issuer.example/"], ["issuer": "https://10.0.0.1:8443"],
    ] { await (try open(changes)).close() }
  }

  @Test("A file of keys that is not there, too long or none is refused at opening")
  func badKeyFiles() async throws {
    try folder.write(Array("{}".utf8), to: "empty.json")
    try folder.write([UInt8](repeating: 0x20, count: 262_145), to: "long.json")
    for name in ["absent.json", "empty.json", "long.json"] {
      let error = await #expect(throws: KeyCustodyError.self) { try await open(["jwksFile": .string(name)]) }
      #expect(error?.code == .unavailable)
    }
  }

  @Test("A file of keys is read again when a token names a key that is not in it")
  func newKeyInFile() async throws {
    let provider = try await open()
    let second = try TestKey(.ec(.p256), "second")
    let token = try second.token(claims(issuer: issuer, audience: "https://vault.example", at: clock.now()))
    try folder.write(keySet([key.jwk(), second.jwk()]), to: "keys.json")
    clock.advance(by: .seconds(5))
    _ = try await provider.authenticate(.token(token), audience: "https://vault.example")
    await provider.close()
  }
}
