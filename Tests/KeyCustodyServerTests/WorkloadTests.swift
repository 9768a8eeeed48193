import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServer

@Suite("Identities of machines and workloads")
struct WorkloadTests {
  private struct Machine {
    let bench: ServerBench
    var isOwnPeer = true

    func ask(
      _ path: String, _ headers: [(String, String)], _ method: HTTPRequest.Method = .get, at host: String = "127.0.0.1"
    ) async throws -> Answer {
      var fields = HTTPFields()
      for (name, value) in headers { fields.append(HTTPField(name: try #require(HTTPField.Name(name)), value: value)) }
      let head = HTTPRequest(
        method: method, scheme: "http", authority: "\(host):8080", path: path, headerFields: fields)
      let routes = ManagedIdentityRoutes(
        custody: bench.custody, settings: bench.server.settings, attempts: AttemptLog(bench.custody))
      let request = try WireRequest(head, body: [], clientAddress: "127.0.0.1", id: "-")
      let answer = Answer(await routes.respond(request) { isOwnPeer })
      for problem in SchemaCheck.problems(of: answer, to: method, path) { Issue.record("\(path): \(problem)") }
      return answer
    }
  }

  private static let query = "resource=https%3A%2F%2Fvault.test%3A8443"
  private static let appService = "/msi/token?api-version=2019-08-01&\(query)"
  private static let metadata = "/metadata/identity/oauth2/token?api-version=2018-02-01&\(query)"
  private static let header = ("X-IDENTITY-HEADER", ServerBench.identityHeader)

  @Test("The machine's own token, in both forms, opens the vault")
  func managedIdentity() async throws {
    let bench = try await ServerBench()
    try await bench.grant("contoso/machine", in: "kv1", [.list])
    let machine = Machine(bench: bench)
    for (path, header) in [(Self.appService, Self.header), (Self.metadata, ("Metadata", "True"))] {
      for identity in ["", "&client_id=machine", "&object_id=MACHINE", "&mi_res_id=machine"] {
        let answer = try await machine.ask(path + identity, [header])
        let token = try #require(answer["access_token"]?.string, "\(answer.text)")
        #expect(answer["token_type"] == "Bearer" && answer["resource"] == "https://vault.test:8443")
        #expect(answer["expires_on"]?.string == "\(bench.clock.now().seconds + 3600)")
        #expect(answer.headers[.cacheControl] == "no-store")
        #expect(await bench.send(.get, "/keys", as: token).status == 200)
        #expect(await bench.send(.get, "/secrets", as: token).status == 403, "no more than was granted")
      }
    }
  }

  @Test("What is not asked for as it must be gets no token")
  func refusals() async throws {
    let bench = try await ServerBench()
    let machine = Machine(bench: bench)
    let metadata = ("Metadata", "true")
    let rows: [(String, Int, String, [(String, String)])] = [
      ("no header", 403, Self.appService, []),
      ("a wrong header", 403, Self.appService, [("X-IDENTITY-HEADER", "a-header-only-programs-here-knew")]),
      ("part of the header", 403, Self.appService, [("X-IDENTITY-HEADER", "a-header")]),
      ("the header twice", 403, Self.appService, [Self.header, Self.header]),
      ("the other form's header", 403, Self.appService, [metadata]),
      ("no Metadata", 400, Self.metadata, []),
      ("Metadata: false", 400, Self.metadata, [("Metadata", "false")]),
      ("forwarded", 400, Self.metadata, [metadata, ("X-Forwarded-For", "192.0.2.1")]),
      ("forwarded", 400, Self.appService, [Self.header, ("x-forwarded-for", "")]),
      ("from a page", 400, Self.metadata, [metadata, ("Origin", "https://page.example")]),
      ("from a page", 400, Self.metadata, [metadata, ("Sec-Fetch-Site", "same-origin")]),
      ("no resource", 400, "/msi/token", [Self.header]),
      ("a resource that is none", 400, "/msi/token?resource=a%20b", [Self.header]),
      ("another client", 400, "\(Self.appService)&client_id=owner", [Self.header]),
      ("another object", 400, "\(Self.metadata)&object_id=owner", [metadata]),
      ("another resource's", 400, "\(Self.metadata)&msi_res_id=owner", [metadata]),
      ("somewhere else", 404, "/metadata/instance", [metadata]),
    ]
    for (what, status, path, headers) in rows {
      let answer = try await machine.ask(path, headers)
      #expect(answer.status == status && answer["access_token"] == nil, "\(what): \(answer.text)")
      #expect(answer["statusCode"] == .integer(Int64(status)) && answer["message"] != nil)
    }
    #expect(try await machine.ask(Self.appService, [Self.header], .post).status == 405)
    let other = try await Machine(bench: bench, isOwnPeer: false).ask(Self.metadata, [metadata])
    #expect(other.status == 403, "only programs of this user, or root's")
    // A page's own name, made to lead here.
    for host in ["page.example", "127.0.0.1.page.example", "0x7f.1", "localhost.", ""] {
      for (path, header) in [(Self.appService, Self.header), (Self.metadata, metadata)] {
        let answer = try await machine.ask(path, [header], at: host)
        #expect(answer.status == 400 && answer["access_token"] == nil, "\(host)")
      }
    }
    for host in ["localhost", "LOCALHOST", "[::1]", "169.254.169.254"] {
      #expect(try await machine.ask(Self.appService, [Self.header], at: host).status == 200, "\(host)")
    }
    try await bench.custody.identities.setEnabled(false, PrincipalID("contoso/machine"))
    bench.audit.removeAll()
    #expect(try await machine.ask(Self.appService, [Self.header]).status == 400)
    #expect(bench.audit.events.map(\.outcome) == [.refused], "V11: what is not given is not recorded as given")
    let without = try await ServerBench { $0.managedIdentity = nil }
    #expect(try await Machine(bench: without).ask(Self.appService, [Self.header]).status == 404)
    print("refusals of the machine's identity: \(rows.count + 4)")
  }

  @Test("A workload acts by a token of an issuer that its principal trusts, and by no other")
  func workloadIdentity() async throws {
    let clock = ManualClock()
    let (trusted, other) = (try OutsideIssuer(), try OutsideIssuer())
    let name = "https://issuer.example"
    let verifier = OutsideVerifier(issuers: [name: trusted, "https://other.example": other], time: clock)
    let bench = try await ServerBench(federation: verifier, time: clock)
    let ids = bench.custody.identities
    try await ids.addFederatedCredential(
      FederatedCredential(issuer: FederatedIssuer(name), subject: "pod-7"), to: PrincipalID("contoso/owner"))
    func claims(_ changes: [(String, JSON)] = []) -> JSON {
      var claims = JSON.Object()
      let usual: [(String, JSON)] = [
        ("iss", .string(name)), ("sub", "pod-7"), ("aud", "api://AzureADTokenExchange"),
        ("exp", .integer(clock.now().seconds + 600)),
      ]
      for (name, value) in usual + changes { claims[name] = value }
      return .object(claims)
    }
    func ask(_ token: String, client: String = "owner", tenant: String = "contoso") async -> Answer {
      await bench.form(
        [
          ("grant_type", "client_credentials"), ("client_id", client), ("client_assertion", token),
          ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
          ("scope", "https://vault.test:8443/.default"),
        ], path: "/\(tenant)/oauth2/v2.0/token")
    }
    let good = try trusted.token(claims())
    let answer = await ask(good)
    let token = try #require(answer["access_token"]?.string, "\(answer.text)")
    #expect(await bench.send(.get, "/keys", as: token).status == 200)
    let refused: [(String, Answer)] = [
      ("another's key", await ask(try other.token(claims()))),
      ("another issuer", await ask(try other.token(claims([("iss", "https://other.example")])))),
      ("another subject", await ask(try trusted.token(claims([("sub", "pod-8")])))),
      ("another audience", await ask(try trusted.token(claims([("aud", "https://vault.test:8443")])))),
      ("an expired one", await ask(try trusted.token(claims([("exp", .integer(clock.now().seconds))])))),
      ("another principal", await ask(good, client: "nobody")),
      ("another tenant", await ask(good, tenant: "fabrikam")),
      ("an unknown one", await ask(good, client: "absent")),
      ("a token of our own", await ask(bench.owner)),
      ("no token", await ask("x")),
    ]
    for (what, answer) in refused {
      #expect(answer.status == 401 && answer["error"] == "invalid_client", "\(what): \(answer.text)")
      #expect(answer.bytes == refused[0].1.bytes, "flat")
    }
    try await ids.addFederatedCredential(
      FederatedCredential(issuer: FederatedIssuer("https://away.example"), subject: "x"),
      to: PrincipalID("contoso/nobody"))
    let away = await ask(good, client: "nobody")
    #expect(away.status == 503 && away["error"] == "temporarily_unavailable" && away.headers[.retryAfter] == "1")
    print("assertions: 1 taken, \(refused.count) refused")
  }
}
