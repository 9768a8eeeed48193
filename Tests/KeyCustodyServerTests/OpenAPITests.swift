import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyTesting
import Testing

@testable import KeyCustodyServer

@Suite("The OpenAPI document")
struct OpenAPITests {
  @Test("It is served without a token, and is whole: references, names of operations, parameters")
  func whole() async throws {
    let bench = try await ServerBench()
    let answer = await bench.send(.get, "/keycustody/v1/openapi.json", as: "", version: nil)
    #expect(answer.status == 200 && answer["openapi"] == "3.1.0" && answer.json == SchemaCheck.document)
    for host in ["login.vault.test", "vault.test"] {
      #expect(await bench.send(.get, "/keycustody/v1/openapi.json", as: "", host: host, version: nil).status == 200)
    }
    var references: Set<String> = []
    func walk(_ json: JSON) {
      if let reference = json["$ref"]?.string { references.insert(reference) }
      for value in json.array ?? [] { walk(value) }
      for member in json.object?.members ?? [] { walk(member.value) }
    }
    walk(SchemaCheck.document)
    for reference in references {
      #expect(SchemaCheck.resolved(["$ref": .string(reference)]) != .null, "\(reference)")
    }
    let schemas = Set(APISchemas.all.map(\.0))
    #expect(schemas.count == APISchemas.all.count)
    for name in schemas { #expect(references.contains("#/components/schemas/\(name)"), "\(name) is used") }
    let names = APIRoutes.all.map(\.operation)
    #expect(Set(names).count == names.count)
    #expect(Set(APIRoutes.all.map { "\($0.method) \($0.path)" }).count == APIRoutes.all.count)
    for route in APIRoutes.all {
      let operation = SchemaCheck.document["paths"]?[route.path]?[route.method.rawValue.lowercased()]
      let declared = (operation?["parameters"]?.array ?? []).filter { $0["in"] == "path" }.compactMap {
        $0["name"]?.string
      }
      #expect(declared == route.variables)
      let needsToken = operation?["security"] != []
      #expect(needsToken == [.vault, .own, .administration].contains(route.surface), "\(route.path)")
      #expect((operation?["requestBody"] != nil) == (route.request != nil))
    }
    print("routes described: \(APIRoutes.all.count), schemas: \(schemas.count)")
  }

  @Test("Every route that is described is served")
  func served() async throws {
    let bench = try await ServerBench()
    let version = try await bench.makeKey("thing")
    try await bench.makeSecret("thing")
    var count = 0
    func check(_ route: APIRoute, _ answer: Answer) {
      count += 1
      #expect(answer.message != VaultRoutes.unknown.message, "\(route.method) \(route.path): \(answer.text)")
    }
    for asked in AskedRoute.all("thing", version) { check(asked.route, await bench.send(asked)) }
    for route in APIRoutes.all where route.surface == .tokens || route.surface == .open {
      let path = route.path.replacing("{tenant}", with: "contoso")
      check(route, await bench.send(route.method, path, as: "", vault: "login", version: nil))
    }
    let administrator = try await bench.administrator()
    for asked in AskedRoute.administration() {
      check(asked.route, await bench.administer(asked, as: administrator))
    }
    for route in APIRoutes.all where route.surface == .machine {
      let head = HTTPRequest(method: route.method, scheme: "http", authority: "127.0.0.1", path: route.path)
      let request = try WireRequest(head, body: [], clientAddress: nil, id: "-")
      let routes = ManagedIdentityRoutes(
        custody: bench.custody, settings: bench.server.settings, attempts: AttemptLog(bench.custody))
      let answer = Answer(await routes.respond(request) { true })
      count += 1
      #expect(answer.status != 404)
    }
    #expect(count == APIRoutes.all.count)
  }

  @Test("Routes without a token answer without one, all others 401")
  func security() async throws {
    let bench = try await ServerBench()
    for asked in AskedRoute.all("thing", String(repeating: "0", count: 32)) {
      #expect(await bench.send(asked, as: "").status == 401)
    }
    for asked in AskedRoute.administration() { #expect(await bench.administer(asked, as: "").status == 401) }
    for route in APIRoutes.all where route.surface == .open {
      #expect(await bench.send(route.method, route.path, as: "", version: nil).status == 200)
    }
  }

  @Test("No address and method that is not described is served: 10,000 at random")
  func undescribed() async throws {
    let bench = try await ServerBench()
    let version = try await bench.makeKey("thing")
    let random = SeededRandom(seed: 31)
    func pick<Item>(_ items: [Item]) -> Item { items[Int(random.next() % UInt64(items.count))] }
    let literals = Set(APIRoutes.all.flatMap { $0.path.split(separator: "/").map(String.init) })
      .filter { !$0.hasPrefix("{") }.sorted()
    let words =
      literals + ["thing", version, "contoso", "x", "certificates", "rng", "release", "attestation", "storage"]
    let methods: [HTTPRequest.Method] = [.get, .post, .put, .patch, .delete, .head, .options, .trace, .connect]
    var (described, unknown) = (0, 0)
    for _ in 0..<10_000 {
      var segments = (0..<(1 + Int(random.next() % 6))).map { _ in pick(words) }
      // Half of them nearly right.
      if random.next() % 2 == 0 {
        segments = pick(APIRoutes.all).path.split(separator: "/").map {
          $0.hasPrefix("{") ? pick(["thing", version]) : String($0)
        }
        if random.next() % 2 == 0 { segments[Int(random.next() % UInt64(segments.count))] = pick(words) }
        if random.next() % 4 == 0 { segments.append(pick(words)) }
      }
      let method = pick(methods)
      let route = APIRoutes.all.first {
        $0.surface != .machine && $0.surface != .administration && $0.matches(method, segments)
      }
      guard route == nil else {
        described += 1
        continue
      }
      unknown += 1
      let answer = await bench.send(method, "/" + segments.joined(separator: "/"), ["kty": "oct"], isChecked: false)
      let isTokenEndpoint = answer.status == 405 && segments.last == "token"
      #expect(
        answer.message == VaultRoutes.unknown.message && answer.status == 404 || isTokenEndpoint,
        "\(method) \(segments): \(answer.text)")
    }
    #expect(unknown > 5000 && described > 500)
    print("at random: \(described) described, \(unknown) not and answered so")
  }
}
