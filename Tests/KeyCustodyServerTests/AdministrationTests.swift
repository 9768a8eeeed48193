import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServer

@Suite("Administration over HTTP")
struct AdministrationTests {
  private static let operations = AskedRoute.administration().map(\.route.operation)

  @Test("Who is no administrator is refused everywhere, on record, and nothing changes", arguments: operations)
  func defaultDeny(_ operation: String) async throws {
    let bench = try await ServerBench()
    let asked = try #require(AskedRoute.administration().first { $0.route.operation == operation })
    let before = try await Self.state(bench)
    for token in [bench.owner, bench.nobody, bench.stranger] {
      bench.audit.removeAll()
      let answer = await bench.administer(asked, as: token)
      #expect(answer.outcome == "403 Forbidden/ForbiddenByPolicy", "\(answer.text)")
      let record = try #require(bench.audit.events.last)
      #expect(bench.audit.events.count == 1 && record.outcome == .refused && record.rule == "default-deny")
      #expect(record.error == "denied/access-denied" && record.source == "192.0.2.7" && record.method == "token")
    }
    #expect(try await Self.state(bench) == before)
  }

  @Test("I5: an administrator of another tenant finds nothing of this one", arguments: operations)
  func otherTenant(_ operation: String) async throws {
    let bench = try await ServerBench()
    let foreign = try await bench.administrator("fabrikam/chief")
    let asked = try #require(
      AskedRoute.administration(vault: "kv1", principal: "owner").first { $0.route.operation == operation })
    let before = try await Self.state(bench, of: "contoso")
    let answer = await bench.administer(asked, as: foreign)
    if asked.path.contains("/kv1") {
      #expect(answer.outcome == "404 NotFound", "\(answer.text)")
      let absent = asked.path.replacing("kv1", with: "none")
      let other = await bench.administer(asked.route.method, absent, asked.body, as: foreign)
      #expect(other.outcome == answer.outcome && other.message == answer.message.replacing("kv1", with: "none"))
      #expect(bench.audit.events.contains { $0.rule == "other-tenant" && $0.principal == "fabrikam/chief" })
    } else {
      #expect(answer.status == 200 && !answer.text.contains("contoso"), "\(answer.text)")
    }
    #expect(try await Self.state(bench, of: "contoso") == before)
  }

  @Test("V4: the right to administer gives no permission on keys and secrets")
  func noKeys() async throws {
    let bench = try await ServerBench()
    let chief = try await bench.administrator()
    let version = try await bench.makeKey("thing")
    try await bench.makeSecret("thing")
    for asked in AskedRoute.all("thing", version) where asked.route.operation != "explain" {
      let answer = await bench.send(asked, as: chief)
      // Some are wrong in themselves, whoever asks.
      #expect(answer.status == 403 || answer.status == 400, "\(asked.path): \(answer.text)")
    }
  }

  @Test("An administrator makes a vault, a principal and a rule; each is on record, before and after, and acts")
  func administers() async throws {
    let bench = try await ServerBench()
    let chief = try await bench.administrator()
    bench.audit.removeAll()
    let made = await bench.administer(.post, "vaults", ["name": "fresh", "keyProvider": "keys"], as: chief)
    #expect(made.status == 200 && made["name"] == "fresh" && made["tenant"] == "contoso", "\(made.text)")
    let ann = await bench.administer(.post, "identities", ["name": "ann"], as: chief)
    #expect(ann.status == 200 && ann["principal"] == "contoso/ann" && ann["clientSecret"] != nil, "\(ann.text)")
    let rule = await bench.administer(
      .put, "vaults/fresh/policies/ann", ["keys": ["create", "wrapKey"]], as: chief)
    #expect(rule.status == 200 && rule["rules"]?.array?.count == 2, "\(rule.text)")
    for (action, target) in [
      ("vaults/create", "https://fresh.\(ServerBench.domain)"), ("identities/create", "contoso/ann"),
      ("identities/issueSecret", "contoso/ann"),
      ("policies/set", "https://fresh.\(ServerBench.domain)/policies/contoso/ann"),
    ] {
      let records = bench.audit.events.filter { $0.action == action && $0.target == target }
      #expect(records.map(\.outcome) == [.intended, .allowed], "\(action) \(target)")
      #expect(records.allSatisfy { $0.principal == "contoso/chief" && $0.rule == "administrator" })
      #expect(records.allSatisfy { $0.source == "192.0.2.7" && !$0.requestID.isEmpty })
    }
    let detail = bench.audit.events.last { $0.action == "policies/set" }?.detail
    #expect(detail == "allow contoso/ann keys create+wrapKey, secrets none")
    let token = try await ServerBench.token(bench.custody, "contoso/ann")
    try await bench.makeKey("aes", vault: "fresh", as: token)
    _ = try await bench.wrap("aes", vault: "fresh", as: token)
    let gone = await bench.administer(.delete, "vaults/fresh/policies/ann", as: chief)
    #expect(gone.status == 200)
    #expect(await bench.send(.post, "/keys/aes/wrapkey", ServerBench.wrapBody, as: token, vault: "fresh").status == 403)
    #expect(await bench.administer(.delete, "identities/ann", as: chief).status == 200)
    #expect(await bench.send(.get, "/keys", as: token, vault: "fresh").status == 401)
    let listed = await bench.administer(.get, "vaults", as: chief)
    #expect(Set(listed.json?.array?.compactMap { $0["name"]?.string } ?? []) == ["kv1", "kv2", "fresh"])
  }

  @Test("Only the operator makes administrators, and changes them and its own principals")
  func operatorOnly() async throws {
    let bench = try await ServerBench()
    let chief = try await bench.administrator()
    _ = try await bench.administrator("contoso/second")
    _ = try await bench.custody.administrator(of: try TenantID("contoso"))
    let denied = await bench.administer(.post, "identities", ["name": "third", "administrator": true], as: chief)
    #expect(denied.status == 403 && bench.audit.events.last?.rule == "operator-only")
    #expect(try await bench.custody.identities.lookup(PrincipalID("contoso/third")) == nil)
    for name in ["second", "administrator"] {
      for asked in AskedRoute.administration(principal: name)
      where asked.path.contains("identities/\(name)") && asked.route.method != .get {
        let answer = await bench.administer(asked, as: chief)
        #expect(answer.status == 403 && bench.audit.events.last?.rule == "operator-only", "\(answer.text)")
      }
      #expect(await bench.administer(.get, "identities/\(name)", as: chief).status == 200)
    }
    #expect(await bench.administer(.post, "identities/chief/secret", [:], as: chief).status == 200, "its own")
  }

  @Test("The right ends at once when it is taken away, and with its principal")
  func withdrawal() async throws {
    let bench = try await ServerBench()
    let id = try PrincipalID("contoso/chief")
    var chief = try await bench.administrator()
    #expect(await bench.administer(.get, "vaults", as: chief).status == 200)
    try await bench.custody.setAdministrator(false, id)
    #expect(await bench.administer(.get, "vaults", as: chief).status == 403)
    chief = try await bench.administrator()
    #expect(await bench.administer(.get, "vaults", as: chief).status == 200)
    _ = try await Administration(of: bench.custody).deleteIdentity(id)
    #expect(await bench.administer(.get, "vaults", as: chief).status == 401)
    try await bench.custody.identities.create(id, kind: .servicePrincipal)
    chief = try await ServerBench.token(bench.custody, "contoso/chief")
    #expect(await bench.administer(.get, "vaults", as: chief).status == 403, "another one of its name has it not")
  }

  @Test("V11: when the log can't be written an administrator is answered nothing, and nothing changes")
  func unwritable() async throws {
    let bench = try await ServerBench()
    let chief = try await bench.administrator()
    let before = try await Self.state(bench)
    bench.audit.fail(with: KeyCustodyError(.unavailable, .unreachable, "The audit log is full."))
    for asked in AskedRoute.administration(vault: "kv1", principal: "nobody") {
      let answer = await bench.administer(asked, as: chief)
      // One that needs a log that can be read finds none, in this deployment, before.
      #expect(answer.status == 503, "\(asked.path): \(answer.text)")
    }
    bench.audit.fail(with: nil)
    #expect(try await Self.state(bench) == before)
  }

  @Test("Bodies that are wrong are refused as such, and no file of the server is named from outside")
  func badBodies() async throws {
    let bench = try await ServerBench()
    let chief = try await bench.administrator()
    let wrong: [(HTTPRequest.Method, String, JSON)] = [
      (.post, "vaults", [:]), (.post, "vaults", ["name": "a b", "keyProvider": "keys"]), (.post, "vaults", ["name": 7]),
      (.post, "vaults", ["name": "x"]), (.post, "vaults", ["name": "x", "keyProvider": "none"]),
      (.post, "vaults", ["name": "x", "keyProvider": "keys", "softDeleteDays": 3]),
      (.post, "vaults", ["name": "login", "keyProvider": "keys"]),
      (.put, "vaults/kv1/network", ["ranges": ["here"]]),
      (.put, "vaults/kv1/network", ["allowsEveryAddress": true, "ranges": ["192.0.2.1"]]),
      (.put, "vaults/kv1/policies/nobody", [:]), (.put, "vaults/kv1/policies/nobody", ["keys": ["fly"]]),
      (.put, "vaults/kv1/policies/no%20body", ["keys": ["get"]]),
      (.post, "identities", [:]), (.patch, "identities/nobody", [:]), (.post, "identities/nobody/secret", ["days": 0]),
      (.post, "identities/nobody/federate", ["issuer": "http://issuer.example", "subject": "x"]),
      (.post, "identities/nobody/federate", ["issuer": "https://issuer.example"]),
      (.post, "identities/nobody/federate", ["issuer": "http://127.0.0.1:9200", "subject": "x"]),
      (.get, "vaults/kv1/explain?principal=nobody&permission=fly", [:]),
    ]
    let before = try await Self.state(bench)
    for (method, path, body) in wrong {
      let answer = await bench.administer(method, path, body, as: chief)
      #expect(answer.status == 400 && answer.code == "BadParameter", "\(path) \(body): \(answer.text)")
    }
    #expect(try await Self.state(bench) == before)
    let files: JSON = [
      "issuer": "https://issuer.example", "subject": "x", "caFile": "/etc/passwd", "keySetFile": "/etc/passwd",
    ]
    #expect(await bench.administer(.post, "identities/nobody/federate", files, as: chief).status == 200)
    // Whatever was trusted once can be taken back.
    let loopback: JSON = ["issuer": "http://127.0.0.1:9200", "subject": "x", "removed": true]
    #expect(await bench.administer(.post, "identities/nobody/federate", loopback, as: chief).status == 200)
    #expect(!bench.audit.events.contains { $0.detail?.contains("passwd") ?? false })
    #expect(await bench.administer(.post, "vaults", ["name": "kv1", "keyProvider": "keys"], as: chief).status == 409)
    #expect(await bench.administer(.post, "identities", ["name": "nobody"], as: chief).status == 409)
    #expect(await bench.administer(.get, "identities/absent", as: chief).status == 404)
  }

  /// What administration could change, as the operator sees it.
  private static func state(_ bench: ServerBench, of tenant: String = "contoso") async throws -> [String] {
    let tenant = try TenantID(tenant)
    let administration = Administration(of: bench.custody)
    var found: [String] = []
    for vault in try await administration.vaults(of: tenant) {
      let rules = try await administration.policy(of: vault.name).rules.map { "\($0.name) \($0.keys.count)" }
      found.append("\(vault) \(rules) \(try await administration.vault(vault.name).network)")
    }
    for identity in try await administration.identities(of: tenant) {
      found.append("\(identity.principal) \(identity.enabled ?? false) \(identity.administrator ?? false)")
    }
    return found.sorted()
  }
}
