import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyTesting
import Testing

@testable import KeyCustodyServer

@Suite("Hostile requests")
struct HostileTests {
  private static let pieces = [
    "..", ".", "/", "\\", "%", "%2e", "%2f", "%00", "\u{0}", "\r\n", "\u{1b}[2J", "'", "\"", ";--", "$(id)", "`id`",
    "{}",
    "a", "Key", "0", "-", "_", " ", "\t", "é", "e\u{301}", "\u{2000}", "\u{200b}", "\u{feff}", "\u{202e}", "Ａ", "ı",
    "İ",
    "\u{212a}", "ß", "😀", "\u{10ffff}", "<script>", "null", "true", "~", "#", "?", "&", "=", "+", "@", ":", ",",
  ]

  private static func told(_ statuses: [Int: Int]) -> String {
    statuses.sorted { $0.key < $1.key }.map { "\($0.value) x \($0.key)" }.joined(separator: ", ")
  }

  /// A name made of pieces, never one that is allowed.
  private static func name(_ random: SeededRandom) -> String {
    var name = ""
    while name.isEmpty || name.utf8.allSatisfy({ $0 == 0x2d || isAlphanumeric($0) }) {
      name = (0..<(1 + random.next() % 6)).map { _ in pieces[Int(random.next() % UInt64(pieces.count))] }.joined()
    }
    return name
  }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
  }

  @Test("2,000 hostile names through the routes: refused, nothing stored, never an error of ours (RELIABILITY 30)")
  func names() async throws {
    let bench = try await ServerBench()
    let random = SeededRandom(seed: 30)
    let routes = AskedRoute.all("NAME", String(repeating: "0", count: 32)).filter { !$0.isOfVault }
    var statuses: [Int: Int] = [:]
    for index in 0..<2000 {
      let asked = routes[index % routes.count]
      let raw = Self.name(random)
      // As it is, percent-encoded once, and twice.
      let name =
        switch index % 3 {
        case 0: raw.utf8.contains { $0 < 0x21 || "/?#\u{7f}".utf8.contains($0) } ? ServerBench.escaped(raw) : raw
        case 1: ServerBench.escaped(raw)
        default: ServerBench.escaped(ServerBench.escaped(raw))
        }
      let answer = await bench.send(
        asked.route.method, asked.path.replacing("NAME", with: name), asked.body, isChecked: false)
      statuses[answer.status, default: 0] += 1
      #expect([400, 404].contains(answer.status), "\(asked.route.method) \(name): \(answer.text)")
      #expect(answer.bytes.allSatisfy { $0 >= 0x20 && $0 < 0x7f }, "nothing of it reaches a terminal")
    }
    for list in ["/keys", "/secrets", "/deletedkeys", "/deletedsecrets"] {
      #expect(await bench.send(.get, list)["value"] == [], "\(list)")
    }
    #expect(
      try await bench.custody.policyStores["state"]?.list(prefix: "vaults/kv1/keys/", after: nil, limit: 5).isEmpty
        ?? false)
    print(
      "hostile names: \(Self.told(statuses))")
  }

  @Test("500 pairs of spellings: one identity, or refused; never two decisions (RELIABILITY 31)")
  func spellings() async throws {
    let bench = try await ServerBench()
    let random = SeededRandom(seed: 31)
    try await bench.makeKey("Kiss-ROOT-1")
    let changes: [(String) -> String] = [
      { $0.lowercased() }, { $0.uppercased() }, { "\($0) " }, { " \($0)" }, { "\($0)." },
      { $0.replacing("K", with: "\u{212a}") },
      { $0.replacing("i", with: "ı") }, { $0.replacing("s", with: "ſ") }, { $0.replacing("i", with: "i\u{307}") },
      { $0.replacing("O", with: "Ｏ") }, { "\u{200b}\($0)" }, { "\($0)\u{200d}" },
      { $0.replacing("-", with: "\u{2010}") },
      { $0.replacing("-", with: "\u{ad}-") }, { "\($0)\u{0}" }, { $0.replacing("1", with: "１") }, { "\u{feff}\($0)" },
    ]
    var (same, refused) = (0, 0)
    for index in 0..<500 {
      var name = changes[index % changes.count]("Kiss-ROOT-1")
      if index >= changes.count { name = changes[Int(random.next() % UInt64(changes.count))](name) }
      let path = "/keys/\(ServerBench.escaped(name))"
      let (allowed, denied) = (await bench.send(.get, path), await bench.send(.get, path, as: bench.nobody))
      switch allowed.status {
      case 200:
        same += 1
        #expect(denied.status == 403 && name.lowercased() == "kiss-root-1", "\(name)")
        #expect(allowed["key", "kid"]?.string?.contains("/keys/Kiss-ROOT-1/") ?? false)
      default:
        refused += 1
        #expect(allowed.status == 400 && denied.bytes == allowed.bytes, "\(name): \(allowed.text) \(denied.text)")
      }
    }
    print("pairs of spellings: \(same) the same, \(refused) refused")
  }

  /// Texts that have brought readers of JSON down.
  private static let bombs: [String] = deep + long + numbers

  private static func times(_ count: Int, _ text: String) -> String { String(repeating: text, count: count) }

  private static func rotate(_ period: String) -> String {
    "{\"trigger\":{\"timeAfterCreate\":\"P\(period)\"},\"action\":{\"type\":\"Rotate\"}}"
  }

  private static let deep: [String] = [
    times(100_000, "["), times(50_000, "{\"a\":"), "\(times(50_000, "["))\(times(50_000, "]"))",
    "{\"value\":\(times(1000, "{\"a\":"))1\(times(1001, "}"))", "{\"value\":[[[[[[[[[[\"x\"]]]]]]]]]]}",
    "{\"key\":\(times(30, "{\"key\":"))1\(times(31, "}"))",
  ]

  private static let long: [String] = [
    "{\"value\":\"\(times(900_000, "x"))\"}", "{\"value\":\"\(times(150_000, "\\u0000"))\"}",
    "{\(times(50_000, "\"a\":0,"))\"a\":0}", "[\(times(200_000, "0,"))0]",
    "{\((0..<10_000).map { "\"k\($0)\":0" }.joined(separator: ","))}",
    "{\"tags\":{\((0..<10_000).map { "\"k\($0)\":\"v\"" }.joined(separator: ","))},\"value\":\"x\"}",
    times(1_000_000, " "), times(100_000, "\\"), "\"\(times(50_000, "\\uD800"))\"", "{\"\":\"\"}",
    "{\"a\":\"\u{7f}\u{80}\"}",
    "{\"key\":{\"kty\":\"RSA\",\"n\":\"\(times(400_000, "_"))\",\"e\":\"AQAB\",\"d\":\"AQ\"}}",
    "{\"lifetimeActions\":[\(times(5000, "\(rotate("90D")),")){}]}",
    "{\"lifetimeActions\":[\(rotate("\(times(10_000, "9"))Y"))]}",
  ]

  private static let numbers: [String] = [
    times(100_000, "9"), "1e999", "-1e999", "1e-999", "18446744073709551616", "0x800", "02048", "NaN", "Infinity",
    "-9223372036854775808", "2048.0", "+2048",
  ].flatMap { ["{\"kty\":\"RSA\",\"key_size\":\($0)}", "{\"kty\":\"oct\",\"attributes\":{\"exp\":\($0)}}"] }

  private static let takers: [(HTTPRequest.Method, String)] = [
    (.post, "/keys/new/create"), (.put, "/keys/new"), (.patch, "/keys/aes"), (.put, "/keys/aes/rotationpolicy"),
    (.post, "/keys/aes/wrapkey"), (.post, "/keys/restore"), (.put, "/secrets/new"), (.post, "/secrets/restore"),
    (.post, "/keycustody/v1/keys/aes/generatedatakey"),
  ]

  @Test(
    "Bombs of JSON at every route that takes a body: never an error of ours (RELIABILITY 32)", arguments: takers.indices
  )
  func bombs(_ index: Int) async throws {
    let (method, path) = Self.takers[index]
    let bench = try await ServerBench()
    try await bench.makeKey("aes")
    for bomb in Self.bombs {
      let answer = await bench.send(method, path, bytes: Array(bomb.utf8), isChecked: false)
      #expect(answer.status < 500, "\(path) \(bomb.prefix(60)): \(answer.text.prefix(200))")
    }
    #expect(await bench.send(.get, "/keys/aes").status == 200, "and it goes on")
    print("bombs at \(path): \(Self.bombs.count), 0 x 5xx")
  }

  /// Groups of routes, each with random bodies and heads of its own.
  enum Group: String, CaseIterable, Sendable { case keys, secrets, deleted, own, tokens }

  @Test("2,000 random bodies and heads for each group of routes: never an error of ours", arguments: Group.allCases)
  func random(_ group: Group) async throws {
    let bench = try await ServerBench()
    try await bench.makeKey("aes")
    try await bench.makeSecret("aes")
    let random = SeededRandom(seed: 3200 + UInt64(group.rawValue.utf8.count))
    func pick<Item>(_ items: [Item]) -> Item { items[Int(random.next() % UInt64(items.count))] }
    let routes = APIRoutes.all.filter { route in
      switch group {
      case .keys: route.path.hasPrefix("/keys")
      case .secrets: route.path.hasPrefix("/secrets")
      case .deleted: route.path.hasPrefix("/deleted")
      case .own: route.surface == .own || route.surface == .open
      case .tokens: route.surface == .tokens
      }
    }
    var statuses: [Int: Int] = [:]
    for _ in 0..<2000 {
      let route = pick(routes)
      var path = route.path
      for variable in route.variables {
        let good = variable == "tenant" ? "contoso" : "aes"
        let value = pick([good, good, good, good, "new", "%", String(repeating: "0", count: 32), Self.name(random)])
        path = path.replacing("{\(variable)}", with: pick([value, ServerBench.escaped(value)]))
      }
      if random.next() % 10 == 0 { path += pick(Self.pieces) }
      let version = "?api-version=7.4"
      path += pick([version, version, version, version, version + "&maxresults=2", "?", "?a=%zz", "?permission=get"])
      let methods: [HTTPRequest.Method] = [.get, .post, .put, .patch, .delete, .head, .options, .trace]
      let method = random.next() % 10 == 0 ? pick(methods) : route.method
      var json = Self.json(pick, depth: 0)
      if let good = AskedRoute.body(route.request), random.next() % 2 == 0 {
        // Right but for what is random of it.
        json = .object(
          (json.object?.members.prefix(1) ?? []).reduce(into: good.object ?? .init()) { $0[$1.name] = $1.value })
      }
      let body = route.surface == .tokens ? Self.form(pick) : json.bytes
      let bytes = random.next() % 5 > 0 ? body : Self.cut(body, random)
      let own = route.surface == .tokens ? "login.vault.test" : "kv1.vault.test"
      let answer = await bench.send(
        method, path, as: pick([bench.owner, bench.owner, bench.owner, bench.nobody, ""]),
        host: pick([own, own, own, own, "kv1.vault.test", "login.vault.test"]),
        headers: [
          (
            pick(["Content-Type", "Accept", "X-Odd"]),
            pick(["application/x-www-form-urlencoded", "application/json", "é"])
          )
        ],
        bytes: bytes, isChecked: false)
      statuses[answer.status, default: 0] += 1
      #expect(
        answer.status < 500, "\(method) \(path) \(String(decoding: bytes.prefix(300), as: UTF8.self)): \(answer.text)")
    }
    #expect(await bench.send(.get, "/healthz", as: "", version: nil).status == 200)
    print(
      "random requests, \(group): \(Self.told(statuses))"
    )
  }

  private static let members = [
    "kty", "key_size", "crv", "key_ops", "attributes", "enabled", "nbf", "exp", "tags", "key", "n", "e", "d", "k", "x",
    "y",
    "Hsm", "value", "alg", "digest", "contentType", "lifetimeActions", "trigger", "action", "type", "timeAfterCreate",
    "timeBeforeExpiry", "expiryTime", "size", "newAlg", "public_exponent", "unknown",
  ]

  private static func json(_ pick: ([Int]) -> Int, depth: Int) -> JSON {
    let leaves: [JSON] = [
      .null, true, false, 0, -1, 2048, 256, 32, .integer(.max), .number(0.5), "", "RSA", "EC", "oct", "P-256", "A256KW",
      "ES256", "RSA-OAEP", "AAAA", "P90D", "Rotate", "Notify", "wrapKey", "é",
      .string([UInt8](repeating: 1, count: 32).base64URL),
    ]
    // No RSA keys of 3072 bits and more: they take long to make, and nothing else.
    let kind = depth == 0 ? 9 : pick(Array(0..<10))
    switch kind {
    case 8 where depth < 4: return .array((0..<pick([0, 1, 2, 3])).map { _ in json(pick, depth: depth + 1) })
    case 9 where depth < 4:
      return JSON(
        members: (0..<pick([0, 1, 2, 3, 4, 5])).map { _ in
          (members[pick(Array(members.indices))], json(pick, depth: depth + 1))
        })
    default: return leaves[pick(Array(leaves.indices))]
    }
  }

  private static func form(_ pick: ([Int]) -> Int) -> [UInt8] {
    let names = [
      "grant_type", "client_id", "client_secret", "scope", "resource", "client_assertion", "client_assertion_type", "x",
    ]
    let values = [
      "client_credentials", "owner", "contoso/owner", "x", "https://vault.test/.default", "", "%00", "%zz", "a.b.c",
      "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    ]
    return Array(
      (0..<pick([1, 2, 3, 4, 5, 6])).map { _ in
        "\(names[pick(Array(names.indices))])=\(values[pick(Array(values.indices))])"
      }.joined(separator: "&").utf8)
  }

  private static func cut(_ bytes: [UInt8], _ random: SeededRandom) -> [UInt8] {
    var bytes = bytes
    guard !bytes.isEmpty else { return [UInt8(truncatingIfNeeded: random.next())] }
    bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
    return Array(bytes.prefix(Int(random.next() % UInt64(bytes.count)) + 1))
  }
}
