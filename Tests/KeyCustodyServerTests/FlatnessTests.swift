import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyTesting
import Testing

@testable import KeyCustodyServer

@Suite("What refusals tell")
struct FlatnessTests {
  private static let nowhere = String(repeating: "0", count: 32)

  @Test("Whoever has no permission is not told what exists: every route answers alike (RELIABILITY 33)")
  func existence() async throws {
    let bench = try await ServerBench()
    let version = try await bench.makeKey("thing")
    let secret = try await bench.makeSecret("thing")
    try await bench.makeKey("ghost")
    try await bench.makeSecret("ghost")
    for path in ["/keys/ghost", "/secrets/ghost"] { _ = await bench.send(.delete, path) }
    var compared = 0
    let targets = [
      AskedRoute.all("thing", version), AskedRoute.all("thing", secret), AskedRoute.all("ghost", version),
      AskedRoute.all("thing", Self.nowhere),
    ]
    let absent = AskedRoute.all("absent", Self.nowhere)
    for target in targets {
      for (there, away) in zip(target, absent) {
        let found = await bench.send(there, as: bench.nobody)
        let missing = await bench.send(away, as: bench.nobody)
        let what = "\(there.route.method) \(there.path)"
        #expect(found.outcome == missing.outcome, "\(what): \(found.text) / \(missing.text)")
        #expect(Self.unnamed(found.bytes) == Self.unnamed(missing.bytes), "\(what)")
        if there.route.operation != "explain" {
          #expect(found.status == 403 || there.route.operation == "rewrapLatest", "\(what): \(found.text)")
        }
        compared += 1
      }
    }
    print("no permission x exists or not: \(compared) pairs of answers alike")
  }

  /// An answer's text up to the name and version asked for.
  private static func unnamed(_ bytes: [UInt8]) -> String {
    var text = String(decoding: bytes, as: UTF8.self)
    for name in ["thing", "ghost", "absent"] { text = text.replacing(name, with: "NAME") }
    return text.replacing(#/[0-9a-f]{32}/#, with: "VERSION")
  }

  @Test("Whoever may not use a key is not told its state by an explanation either")
  func explanation() async throws {
    let bench = try await ServerBench()
    try await bench.makeKey("thing")
    _ = await bench.send(.patch, "/keys/thing", ["attributes": ["enabled": false]])
    func explain(_ key: String, as token: String) async -> Answer {
      await bench.send(.get, "/keycustody/v1/explain?permission=wrapKey&key=\(key)", as: token)
    }
    #expect(await explain("thing", as: bench.nobody).bytes == explain("absent", as: bench.nobody).bytes)
    #expect(await explain("thing", as: bench.nobody)["allowed"] == false)
    let allowed = await explain("thing", as: bench.owner)
    #expect(allowed["allowed"] == true && allowed["obstacle"]?.string?.contains("disabled") ?? false)
    #expect(await explain("absent", as: bench.owner)["obstacle"] != nil)
    #expect(await bench.send(.get, "/keycustody/v1/explain?permission=fly").outcome == "400 BadParameter")
  }

  @Test("Another tenant gets nowhere by anybody's names, in any route (RELIABILITY 34)")
  func tenants() async throws {
    let bench = try await ServerBench()
    let version = try await bench.makeKey("thing")
    let secret = try await bench.makeSecret("thing")
    let wrapped = try await bench.wrap("thing")
    bench.audit.removeAll()
    var (count, answers) = (0, Set<[UInt8]>())
    for name in ["thing", "absent"] {
      for version in [version, secret, Self.nowhere] {
        for asked in AskedRoute.all(name, version) {
          let answer = await bench.send(asked, as: bench.stranger)
          #expect(answer.status == 401, "\(asked.path): \(answer.text)")
          answers.insert(answer.bytes)
          count += 1
        }
      }
    }
    let unwrap: JSON = ["alg": "A256KW", "value": .string(wrapped)]
    #expect(await bench.send(.post, "/keys/thing/unwrapkey", unwrap, as: bench.stranger).status == 401)
    #expect(answers.count == 1, "flat")
    // Both have rights in vaults of their own, on one and the same provider: a handle of the other's is nothing there.
    for asked in AskedRoute.all("thing", version) where !asked.isOfVault {
      guard !["createKey", "makeKey", "importKey", "setSecret"].contains(asked.route.operation) else { continue }
      let answer = await bench.send(asked, as: bench.stranger, vault: "fab")
      let isEmptyList = answer["value"] == [] && answer.status == 200
      let tellsNothing = asked.route.operation == "getImpact" || asked.route.operation == "getAudit"
      #expect([400, 404].contains(answer.status) || isEmptyList || tellsNothing, "\(asked.path): \(answer.text)")
      #expect(answer.status == 400 || answer.status == 404 || !answer.text.contains(wrapped))
      count += 1
    }
    let blob = await bench.send(.post, "/keys/thing/backup")
    let restored = await bench.send(.post, "/keys/restore", blob.json, as: bench.stranger, vault: "fab")
    #expect((400..<500).contains(restored.status), "a backup is of its vault's tenant: \(restored.text)")
    try await bench.makeKey("thing", vault: "fab", as: bench.stranger)
    let opened = await bench.send(.post, "/keys/thing/unwrapkey", unwrap, as: bench.stranger, vault: "fab")
    #expect(opened.status == 400, "\(opened.text)")
    let foreign = bench.audit.events.filter { $0.target.contains("kv1") && $0.principal.contains("fabrikam") }
    #expect(!foreign.isEmpty && foreign.allSatisfy { $0.outcome == .refused && $0.action == "authenticate" })
    #expect(foreign.contains { $0.rule == "other-tenant" }, "who tried is on record")
    print("another tenant's requests: \(count), 0 successes")
  }
}
