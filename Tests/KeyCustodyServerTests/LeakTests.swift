import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyTesting
import Synchronization
import Testing

@testable import KeyCustodyServer

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

@Suite("What must not be told")
struct LeakTests {
  /// Secrets that were sent, each unlike any other, and where they must not turn up.
  private final class Canaries: Sendable {
    private struct State {
      var all: [(place: String, bytes: [UInt8])] = []
      var told: [String] = []
    }
    private let state = Mutex(State())

    /// A new secret: 24 characters, so that its base64 has no padding.
    func next(_ place: String) -> String {
      let number = state.withLock { $0.all.count }
      let text = "cnry\(String(UInt64.random(in: 0...UInt64.max), radix: 36).prefix(8))-\(number)-xxxxxxxxxxxxxxxxxx"
      let canary = String(text.prefix(24))
      state.withLock { $0.all.append((place, Array(canary.utf8))) }
      return canary
    }

    /// Keeps something that was told.
    func hear(_ text: String) { state.withLock { $0.told.append(text) } }

    /// What was told of what was sent.
    func hits(in texts: [String] = []) -> [String] {
      let (all, told) = state.withLock { ($0.all, $0.told) }
      let text = (told + texts).joined(separator: "\n")
      // Every one begins alike in each form: only where that turns up one looks closer.
      let forms: [([UInt8]) -> String] = [
        { String(decoding: $0, as: UTF8.self) }, \.base64URL, \.hexadecimal, { $0.hexadecimal.uppercased() },
        { Data($0).base64EncodedString() },
      ]
      let beginnings = forms.map { $0(Array("cnr".utf8)) }
      guard beginnings.contains(where: text.contains) else { return [] }
      return all.filter { canary in forms.contains { text.contains($0(canary.bytes)) } }.map(\.place)
    }
    var count: Int { state.withLock(\.all.count) }
  }

  @Test("A secret that is told is found, in each form")
  func control() {
    let canaries = Canaries()
    let canary = canaries.next("here")
    #expect(canaries.hits(in: ["nothing of it"]).isEmpty)
    let bytes = Array(canary.utf8)
    for text in [canary, bytes.base64URL, bytes.hexadecimal, Data(bytes).base64EncodedString()] {
      #expect(canaries.hits(in: ["x\(text)y"]) == ["here"])
    }
  }

  @Test("Secrets in any field of any request turn up in no log line, audit record or error (RELIABILITY 24)")
  func canaries() async throws {
    let bench = try await ServerBench(hsm: ["plugin": "memory", "name": "hsm"])
    let canaries = Canaries()
    let version = try await bench.makeKey("aes")
    try await bench.makeKey("sig", ["kty": "EC"])
    try await bench.makeSecret("aes")
    let signature = try #require(bench.owner.split(separator: ".").last.map(String.init))
    var requests = 0
    func ask(
      _ asked: AskedRoute, _ body: JSON? = nil, path: String? = nil, token: String? = nil, vault: String = "kv1",
      headers: [(String, String)] = [], bytes: [UInt8]? = nil
    ) async {
      let answer = await bench.send(
        asked.route.method, path ?? asked.path, body, as: token, vault: vault, headers: headers, bytes: bytes,
        isChecked: false)
      requests += 1
      if answer.status >= 400 { canaries.hear(answer.text + (answer.headers[.wwwAuthenticate] ?? "")) }
    }
    for asked in AskedRoute.all("aes", version) {
      let what = asked.route.operation
      let base = asked.body?.object ?? JSON.Object()
      for name in Self.members {
        for form in 0..<3 {
          let canary = canaries.next("\(what).\(name)")
          var body = base
          switch form {
          case 0: body[name] = .string(canary)
          case 1: body[name] = .string(Array(canary.utf8).base64URL)
          default: body[name] = .object(Self.object(name, canary))
          }
          await ask(asked, .object(body))
        }
      }
      await ask(asked, bytes: Array(canaries.next("\(what) body").utf8))
      await ask(asked, bytes: Array("{\"value\":\"\(canaries.next("\(what) torn body"))".utf8))
      await ask(asked, asked.body, token: canaries.next("\(what) token"))
      await ask(asked, asked.body, token: "\(canaries.next("\(what) head")).\(canaries.next("\(what) claims")).x")
      for name in ["x-odd", "cookie", "x-ms-client-request-id", "x-identity-header", "user-agent", "origin"] {
        await ask(asked, asked.body, token: bench.nobody, headers: [(name, canaries.next("\(what) \(name)"))])
      }
      for name in ["maxresults", "$skiptoken", "permission", "odd"] {
        await ask(
          asked, asked.body,
          path: "\(asked.path)?api-version=7.4&\(name)=\(canaries.next("\(what)?\(name)"))")
      }
      await ask(asked, asked.body, token: bench.stranger)
    }
    try await Self.askForTokens(bench, canaries)
    try await Self.storeAndUse(bench, canaries)
    let events = bench.audit.events.map { "\($0)" }
    #expect(events.count > 200 && bench.log.count > 500, "there is something to be searched")
    canaries.hear(bench.log.text)
    for event in events { canaries.hear(event) }
    #expect(canaries.hits() == [])
    #expect(!bench.log.text.contains(signature) && !events.contains { $0.contains(signature) }, "nor tokens that count")
    print(
      "secrets sent: \(canaries.count), in \(requests) requests; told: 0 of them in",
      "\(bench.log.count) lines of the log and \(events.count) records"
    )
  }

  private static let members = [
    "kty", "crv", "key_ops", "attributes", "tags", "key", "value", "alg", "digest", "contentType", "lifetimeActions",
    "size", "newAlg", "Hsm", "unknown",
  ]

  private static func object(_ name: String, _ canary: String) -> JSON.Object {
    var object = JSON.Object()
    switch name {
    case "key":
      object["kty"] = "RSA"
      for member in ["n", "e", "d", "p", "q", "dp", "dq", "qi", "k"] { object[member] = .string(canary) }
    case "lifetimeActions": object["trigger"] = ["timeAfterCreate": .string(canary)]
    default: object[name] = .string(canary)
    }
    object[canary] = .string(canary)
    return object
  }

  private static func askForTokens(_ bench: ServerBench, _ canaries: Canaries) async throws {
    let names = [
      "client_secret", "client_assertion", "client_assertion_type", "scope", "resource", "client_id", "grant_type",
      "odd",
    ]
    let good = [
      ("grant_type", "client_credentials"), ("client_id", "owner"), ("client_secret", "x"),
      ("scope", "https://vault.test/.default"),
    ]
    for name in names {
      for rest in [good.filter { $0.0 != name }, good.filter { $0.0 != name && $0.0 != "client_secret" }, []] {
        let answer = await bench.form(rest + [(name, canaries.next("token \(name)"))])
        canaries.hear(answer.text)
        #expect(answer.status >= 400)
      }
    }
    for path in ["/msi/token", "/metadata/identity/oauth2/token"] {
      for name in ["X-IDENTITY-HEADER", "Metadata", "X-Forwarded-For"] {
        var fields = HTTPFields()
        fields[try #require(HTTPField.Name(name))] = canaries.next("\(path) \(name)")
        let query = "resource=\(canaries.next("\(path) resource"))%20&client_id=\(canaries.next("\(path) client"))"
        let head = HTTPRequest(
          method: .get, scheme: "http", authority: "127.0.0.1", path: "\(path)?\(query)", headerFields: fields)
        let routes = ManagedIdentityRoutes(
          custody: bench.custody, settings: bench.server.settings, attempts: AttemptLog(bench.custody))
        let request = try WireRequest(head, body: [], clientAddress: nil, id: "-")
        canaries.hear(Answer(await routes.respond(request) { true }).text)
      }
    }
  }

  /// What was stored or wrapped well does not come out with later errors either.
  private static func storeAndUse(_ bench: ServerBench, _ canaries: Canaries) async throws {
    try await bench.makeKey("fresh")
    let value = canaries.next("a secret's value")
    try await bench.makeSecret("kept", value)
    #expect(await bench.send(.get, "/secrets/kept")["value"]?.string == value)
    _ = await bench.send(.patch, "/secrets/kept", ["attributes": ["enabled": false]])
    canaries.hear(await bench.send(.get, "/secrets/kept").text)
    let plain = JSON.string(Array(canaries.next("a wrapped key").utf8).base64URL)
    let wrapped = await bench.send(.post, "/keys/fresh/wrapkey", ["alg": "A256KW", "value": plain])
    let opened = await bench.send(
      .post, "/keys/fresh/unwrapkey", ["alg": "A256KW", "value": wrapped["value"] ?? .null])
    #expect(opened["value"] == plain)
    let key: JSON = ["kty": "oct", "k": .string(Array((canaries.next("k") + "12345678").utf8).base64URL)]
    canaries.hear(await bench.send(.put, "/keys/brought", ["key": key]).text)
    for path in ["/keys/brought", "/keys/brought/versions", "/keys"] {
      canaries.hear(await bench.send(.get, path).text)
    }
    bench.audit.fail(with: KeyCustodyError(.unavailable, .unreachable, "The sink is full."))
    for (path, body) in [
      ("/keys/fresh/unwrapkey", ["alg": "A256KW", "value": wrapped["value"] ?? .null]), ("/keys/brought/backup", [:]),
    ] as [(String, JSON)] {
      let answer = await bench.send(.post, path, body)
      canaries.hear(answer.text)
      #expect(answer.status == 503 && answer["value"] == nil, "no record, no answer: \(answer.text)")
    }
    bench.audit.fail(with: nil)
  }
}
