import HTTPTypes
import KeyCustody
import KeyCustodyCrypto
import KeyCustodyServices
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServer

@Suite("Tokens")
struct TokenTests {
  @Test("Of issuer x audience x tenant x key only the exact cells pass (RELIABILITY 26)")
  func matrix() async throws {
    let bench = try await ServerBench()
    let other = try await ServerBench()
    try await bench.makeKey("aes")
    let own = try Forged.claims(bench.owner)
    let issuer = try #require(own["iss"]?.string)
    #expect(issuer == "https://login.vault.test:8443/contoso/v2.0")
    let issuers = [
      issuer, issuer.replacing("contoso", with: "fabrikam"), issuer + "/", issuer.replacing(":8443", with: ""),
      "https://login.example/contoso/v2.0", "",
    ]
    let audiences = [
      ServerBench.audience, "https://vault.test", "https://vault.test/", "https://vault.test:443",
      "https://kv1.vault.test:8443", "https://Vault.test", "vault.test", "https://vault.azure.net", "",
    ]
    var (passed, refused) = (0, 0)
    for deployment in [bench, other] {
      for tenant in ["contoso", "fabrikam"] {
        let template = try Forged.claims(tenant == "contoso" ? deployment.owner : deployment.stranger)
        for issuer in issuers {
          for audience in audiences {
            var claims = template
            claims["iss"] = .string(issuer)
            claims["aud"] = .string(audience)
            let token = try await Forged.token(claims, by: deployment.custody)
            let answer = await bench.send(.get, "/keys/aes", as: token)
            let fits =
              deployment.custody === bench.custody && tenant == "contoso" && issuer == issuers[0]
              && audiences[0...1].contains(audience)
            #expect(answer.status == (fits ? 200 : 401), "\(issuer) \(audience) \(tenant): \(answer.text)")
            if fits { passed += 1 } else { refused += 1 }
          }
        }
      }
    }
    #expect(passed == 2)
    print("issuer x audience x tenant x key: \(passed) passed, \(refused) refused")
  }

  @Test("A token that is changed, unsigned, of another form or lacks a claim is refused, and why is told safely")
  func mutants() async throws {
    let bench = try await ServerBench()
    let own = try Forged.claims(bench.owner)
    var tokens: [String] = ["", "a.b", "a.b.c", "..", bench.owner + ".", "." + bench.owner, bench.owner + "=", "null"]
    for name in own.members.map(\.name) where !["appid", "azp", "ver"].contains(name) {
      var claims = own
      claims[name] = nil
      tokens.append(try await Forged.token(claims, by: bench.custody))
      claims[name] = .array([own[name] ?? .null])
      tokens.append(try await Forged.token(claims, by: bench.custody))
    }
    let parts = bench.owner.split(separator: ".").map(String.init)
    for header in ["{\"alg\":\"none\"}", "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", "{\"alg\":\"ES384\",\"typ\":\"JWT\"}"] {
      tokens.append("\(Array(header.utf8).base64URL).\(parts[1]).\(parts[2])")
      tokens.append("\(Array(header.utf8).base64URL).\(parts[1]).")
    }
    let characters = Array(bench.owner.utf8)
    for index in stride(from: 0, to: characters.count - 2, by: 7) {
      var changed = characters
      changed[index] = changed[index] == 0x41 ? 0x42 : 0x41
      guard changed != characters else { continue }
      tokens.append(String(decoding: changed, as: UTF8.self))
    }
    for (nbf, exp) in [(3600, 7200), (-7200, -3600), (-7200, 0)] as [(Int64, Int64)] {
      var claims = own
      claims["nbf"] = .integer(bench.clock.now().seconds + nbf)
      claims["exp"] = .integer(bench.clock.now().seconds + exp)
      tokens.append(try await Forged.token(claims, by: bench.custody))
    }
    for token in tokens where !token.isEmpty {
      let answer = await bench.send(.get, "/keys", as: token)
      #expect(answer.status == 401 && answer.headers[.wwwAuthenticate] != nil, "\(token): \(answer.text)")
    }
    var strange = own
    strange["aud"] = "x\u{1b}[31m\r\n\"é"
    let answer = await bench.send(.get, "/keys", as: try await Forged.token(strange, by: bench.custody))
    #expect(
      answer.message.hasPrefix("AKV10022: Invalid audience.") && answer.message.hasSuffix("found: x?[31m??\"?."),
      "\(answer.message)")
    strange["iss"] = "https://elsewhere.example"
    let message = await bench.send(.get, "/keys", as: try await Forged.token(strange, by: bench.custody)).message
    #expect(message.hasPrefix("AKV10032: Invalid issuer. Expected one of https://login.vault.test:8443/contoso/v2.0"))
    print("tokens that are none: \(tokens.count) refused")
  }

  @Test("A token ends with its time, and at once when its principal is switched off, deleted, or made anew")
  func revocation() async throws {
    let bench = try await ServerBench()
    let ids = bench.custody.identities
    let owner = try PrincipalID("contoso/owner")
    func status() async -> Int { await bench.send(.get, "/keys", isChecked: false).status }
    #expect(await status() == 200)
    try await ids.setEnabled(false, owner)
    #expect(await status() == 401)
    try await ids.setEnabled(true, owner)
    #expect(await status() == 200)
    bench.clock.advance(by: .seconds(3599))
    #expect(await status() == 200)
    bench.clock.advance(by: .seconds(1))
    #expect(await status() == 401, "exp is the first moment at which it counts no more")
    let fresh = try await ServerBench.token(bench.custody, "contoso/owner")
    #expect(await bench.send(.get, "/keys", as: fresh).status == 200)
    try await ids.delete(owner)
    #expect(await bench.send(.get, "/keys", as: fresh).status == 401)
    try await ids.create(owner, kind: .servicePrincipal)
    #expect(await bench.send(.get, "/keys", as: fresh).status == 401, "of an earlier one of the same name")
  }

  @Test("Discovery names the endpoints, and its keys verify the tokens")
  func discovery() async throws {
    let bench = try await ServerBench()
    for path in ["/contoso/v2.0/.well-known/openid-configuration", "/Contoso/.well-known/openid-configuration"] {
      for vault in ["login", "kv1"] {
        let found = await bench.send(.get, path, as: "", vault: vault, version: nil)
        #expect(found["issuer"] == "https://login.vault.test:8443/contoso/v2.0", "\(found.text)")
        #expect(found["token_endpoint"] == "https://login.vault.test:8443/contoso/oauth2/v2.0/token")
        #expect(found["authorization_endpoint"]?.string?.hasPrefix("https://login.vault.test:8443/contoso/") ?? false)
      }
    }
    let path = try #require(
      await bench.send(.get, "/contoso/v2.0/.well-known/openid-configuration", as: "", vault: "login", version: nil)[
        "jwks_uri"]?.string)
    let published = await bench.send(
      .get, String(path.dropFirst("https://login.vault.test:8443".count)), as: "", vault: "login", version: nil)
    let set = try JSONWebKeySet(published.bytes)
    #expect(set.keys.count == 1 && !published.text.contains("\"d\""), "no private member")
    let token = try JSONWebSignature(compact: bench.owner, allowing: [.es256])
    let key = try #require(set.key(for: token))
    #expect(try token.verify(with: key.key))
  }

  @Test("Every way to ask for a token by a client secret, and what it answers")
  func tokenEndpoint() async throws {
    let bench = try await ServerBench()
    let secret = try await bench.custody.identities.issueClientSecret(for: PrincipalID("contoso/owner"), expires: nil)
    let base = [("grant_type", "client_credentials"), ("client_secret", secret)]
    let asked: [(String, [(String, String)])] = [
      ("/contoso/oauth2/v2.0/token", [("client_id", "owner"), ("scope", "https://vault.test:8443/.default")]),
      ("/CONTOSO/OAuth2/V2.0/Token", [("client_id", "contoso/owner"), ("scope", "https://vault.test/.default")]),
      ("/contoso/oauth2/token", [("client_id", "Owner"), ("resource", "https://VAULT.test:8443/")]),
      (
        "/contoso/oauth2/v2.0/token",
        [
          ("client_id", "owner"), ("scope", "openid https://vault.test:8443/.default offline_access"),
          ("client_info", "1"), ("claims", "{\"access_token\":{\"xms_cc\":{\"values\":[\"CP1\"]}}}"),
        ]
      ),
    ]
    for (path, fields) in asked {
      let answer = await bench.form(base + fields, path: path)
      #expect(answer["token_type"] == "Bearer" && answer["expires_in"] == 3599, "\(answer.text)")
      #expect(answer.headers[.cacheControl] == "no-store")
      let token = try #require(answer["access_token"]?.string)
      #expect(await bench.send(.get, "/keys", as: token).status == 200, "with and without the port")
    }
    let elsewhere = await bench.form(base + [("client_id", "owner"), ("scope", "https://storage.example/.default")])
    let token = try #require(elsewhere["access_token"]?.string)
    #expect(await bench.send(.get, "/keys", as: token).message.hasPrefix("AKV10022"), "a token for somebody else")
  }

  @Test("Every error of the token endpoint (RFC 6749, section 5.2); of a refused client always the same")
  func tokenErrors() async throws {
    let bench = try await ServerBench()
    let ids = bench.custody.identities
    let secret = try await ids.issueClientSecret(for: PrincipalID("contoso/owner"), expires: nil)
    let old = try await ids.issueClientSecret(
      for: PrincipalID("contoso/nobody"), expires: bench.clock.now() + .seconds(5))
    bench.clock.advance(by: .seconds(6))
    let (grant, scope) = (("grant_type", "client_credentials"), ("scope", "https://vault.test:8443/.default"))
    let client = [("client_id", "owner"), ("client_secret", secret)]
    var (refusals, count) = (Set<[UInt8]>(), 3)
    func check(_ what: String, _ outcome: String, _ fields: [(String, String)]...) async {
      let answer = await bench.form(fields.flatMap { $0 })
      #expect("\(answer.status) \(answer["error"]?.string ?? "-")" == outcome, "\(what): \(answer.text)")
      #expect(answer.headers[.cacheControl] == "no-store" && answer["error_description"] != nil)
      if answer.status == 401 { refusals.insert(answer.bytes) }
      count += 1
    }
    let (bad, wrong) = ("400 invalid_request", "401 invalid_client")
    await check("no grant", bad, client, [scope])
    await check("another grant", "400 unsupported_grant_type", client, [scope, ("grant_type", "password")])
    await check("no client", bad, [grant, scope, ("client_secret", secret)])
    await check("no secret", bad, [grant, scope, ("client_id", "owner")])
    await check("secret and assertion", bad, client, [grant, scope, ("client_assertion", "a.b.c")])
    await check("no scope", bad, client, [grant])
    await check("scope and resource", bad, client, [grant, scope, ("resource", "https://vault.test")])
    await check("a scope without .default", "400 invalid_scope", client, [grant, ("scope", "https://vault.test/keys")])
    let two = "https://a.test/.default https://b.test/.default"
    await check("two scopes", "400 invalid_scope", client, [grant, ("scope", two)])
    await check("a scope that is no address", "400 invalid_scope", client, [grant, ("scope", "a\"b/.default")])
    await check("a field twice", bad, client, [grant, scope, ("scope", "x/.default")])
    await check("wrong secret", wrong, [grant, scope, ("client_id", "owner"), ("client_secret", "wrong")])
    for name in ["absent", "../x", "fabrikam/owner", "nobody", "contoso/contoso/owner", "contoso/"] {
      await check(name, wrong, [grant, scope, ("client_id", name), ("client_secret", secret)])
    }
    await check("an expired secret", wrong, [grant, scope, ("client_id", "nobody"), ("client_secret", old)])
    let assertion = [("client_id", "owner"), ("client_assertion", "a.b.c")]
    let type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    await check("an assertion nobody verifies", wrong, assertion, [grant, scope, ("client_assertion_type", type)])
    await check("another kind of assertion", bad, assertion, [grant, scope, ("client_assertion_type", "saml")])
    try await ids.setEnabled(false, PrincipalID("contoso/owner"))
    refusals.insert(await bench.form(client + [grant, scope]).bytes)
    #expect(refusals.count == 1, "flat")
    let json = await bench.form(client + [grant, scope], type: "application/json")
    #expect(json["error"] == "invalid_request")
    let get = await bench.send(.get, "/contoso/oauth2/v2.0/token", as: "", vault: "login", version: nil)
    #expect(get.status == 405 && get.headers[.allow] == "POST")
    print("errors of the token endpoint: \(count)")
  }
}
