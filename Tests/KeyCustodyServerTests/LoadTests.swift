import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServer

@Suite("Hangs, load and repeats")
struct LoadTests {
  @Test(
    "A provider that hangs: answered at the deadline with 504, and the other vault is not concerned (RELIABILITY 39)")
  func hang() async throws {
    let bench = try await ServerBench()
    try await bench.makeKey("aes")
    try await bench.makeKey("aes", vault: "kv2")
    bench.keyFaults.inject(.hung, call: 1)
    async let stuck = bench.send(.post, "/keys/aes/wrapkey", ServerBench.wrapBody)
    async let other = bench.send(.post, "/keys/aes/wrapkey", ServerBench.wrapBody)
    await bench.requests(2)
    for _ in 0..<20 { _ = try await bench.wrap("aes", vault: "kv2") }
    bench.clock.advance(by: .seconds(5))
    for answer in [await stuck, await other] {
      #expect(answer.outcome == "504 GatewayTimeout", "\(answer.text)")
      #expect(answer.headers[.retryAfter] == "1")
    }
    // The other providers have their timers too: now and then the clock is moved before they have answered.
    var finding = await Self.ready(bench)
    for _ in 0..<20 where finding["parts", "keyProvider.other"] != "available" { finding = await Self.ready(bench) }
    #expect(finding.status == 200 && finding["parts", "keyProvider.keys"] == "unavailable", "\(finding.text)")
    #expect(finding["parts", "keyProvider.other"] == "available")
    bench.keyFaults.heal()
    _ = try await bench.wrap("aes")
    bench.clock.advance(by: .seconds(3))
    let healed = await bench.send(.get, "/readyz", as: "", version: nil)
    #expect(healed["parts", "keyProvider.keys"] == "available", "\(healed.text)")
  }

  /// Asks whether the server is ready while one provider hangs, and lets the time for it run out.
  private static func ready(_ bench: ServerBench) async -> Answer {
    async let ready = bench.send(.get, "/readyz", as: "", version: nil)
    await bench.clock.waiters(atLeast: 2)
    for _ in 0..<2000 { await Task.yield() }
    bench.clock.advance(by: .seconds(2))
    return await ready
  }

  @Test("A policy store that hangs: not ready is said in time, and which part it is")
  func hangingStore() async throws {
    let bench = try await ServerBench()
    bench.storeFaults.inject(.hung, call: 1)
    var finding = await Self.ready(bench)
    // As above: now and then the clock is moved before the others have answered.
    for _ in 0..<20 where finding["parts", "keyProvider.own"] != "available" { finding = await Self.ready(bench) }
    #expect(finding.status == 503 && finding["status"] == "not ready", "\(finding.text)")
    #expect(finding["parts", "policyStore.state"] == "unavailable")
    #expect(finding["parts", "keyProvider.own"] == "available", "what answers is told as such: \(finding.text)")
    bench.storeFaults.heal()
    bench.clock.advance(by: .seconds(3))
    #expect(await bench.send(.get, "/readyz", as: "", version: nil).status == 200)
  }

  @Test(
    "A long body is read of callers alone; where it can't be told who is one, that is told in time (RELIABILITY 39)")
  func longBody() async throws {
    let bench = try await ServerBench()
    @Sendable func room(_ token: String, _ path: String = "/secrets/one") async -> String {
      var head = HTTPRequest(method: .put, scheme: "https", authority: "kv1.vault.test:8443", path: path)
      head.headerFields[.authorization] = "Bearer \(token)"
      head.headerFields[.contentLength] = "20000"
      switch await bench.server.room(for: head) {
      case .bytes(let count): return "\(count) bytes"
      case .answer(let answer): return "\(answer.status.code)"
      }
    }
    #expect(await room(bench.owner) == "1048576 bytes")
    #expect(await room(bench.owner, "/keys/restore?api-version=7.5") == "16777216 bytes")
    #expect(await room("x.y.z") == "0 bytes", "it is answered as a bad token is: 401")
    let before = bench.storeFaults.calls()
    bench.storeFaults.inject(.hung, call: 1)
    async let late = room(bench.owner)
    while bench.storeFaults.calls() == before { await Task.yield() }
    bench.clock.advance(by: .seconds(5))
    #expect(await late == "504")
    bench.storeFaults.heal()
  }

  @Test("A provider that is away is 503 with Retry-After, and the other vault is not concerned")
  func outage() async throws {
    let bench = try await ServerBench()
    try await bench.makeKey("aes")
    try await bench.makeKey("aes", vault: "kv2")
    bench.keyFaults.inject(.outage, call: 1)
    let answer = await bench.send(.post, "/keys/aes/wrapkey", ServerBench.wrapBody)
    #expect(answer.outcome == "503 ServiceUnavailable" && answer.headers[.retryAfter] != nil, "\(answer.text)")
    _ = try await bench.wrap("aes", vault: "kv2")
    #expect(await bench.send(.get, "/keys/aes").status == 200, "what needs no provider is served")
    bench.keyFaults.heal()
    _ = try await bench.wrap("aes")
  }

  @Test("More requests than the limit are 429 with Retry-After, nothing done; then there is room again")
  func overload() async throws {
    let bench = try await ServerBench { $0.mostRequests = 2 }
    try await bench.makeKey("aes")
    bench.keyFaults.inject(.hung, call: 1)
    async let first = bench.send(.post, "/keys/aes/wrapkey", ServerBench.wrapBody)
    async let second = bench.send(.post, "/keys/aes/wrapkey", ServerBench.wrapBody)
    await bench.requests(2)
    let events = bench.audit.events.count
    for path in ["/keys/aes", "/keys/absent", "/readyz"] {
      let answer = await bench.send(.get, path, isChecked: path != "/readyz")
      #expect(answer.outcome == "429 Throttled" && answer.headers[.retryAfter] == "1", "\(answer.text)")
    }
    #expect(bench.audit.events.count == events, "nothing was done")
    #expect(await bench.send(.get, "/healthz", as: "", version: nil).status == 200, "busy is alive")
    bench.keyFaults.heal()
    #expect([await first.status, await second.status] == [200, 200])
    #expect(await bench.send(.get, "/keys/aes").status == 200)
  }

  @Test("A change asked for again under the client's name for it happens once; another body is another change")
  func repeats() async throws {
    let bench = try await ServerBench()
    let name = "2a5f7a1e-9b0c-4c7d-8e21-0123456789ab"
    func ask(
      _ path: String, _ body: JSON? = nil, method: HTTPRequest.Method = .post, name: String = name,
      as token: String? = nil
    ) async -> Answer {
      await bench.send(method, path, body, as: token, headers: [("x-ms-client-request-id", name)])
    }
    func versions(_ path: String) async -> Int { await bench.send(.get, "\(path)/versions").names.count }
    let made = await withTaskGroup(of: Answer.self) { group in
      for _ in 0..<16 { group.addTask { await ask("/keys/aes/create", ["kty": "oct"]) } }
      return await group.reduce(into: [Answer]()) { $0.append($1) }
    }
    let good = made.filter { $0.status == 200 }
    #expect(!good.isEmpty && Set(good.compactMap { $0["key", "kid"]?.string }).count == 1)
    #expect(made.allSatisfy { [200, 429].contains($0.status) }, "\(made.map(\.outcome))")
    #expect(await versions("/keys/aes") == 1)
    let again = await ask("/keys/aes/create", ["kty": "oct"], name: name.uppercased())
    #expect(again["key", "kid"] == good.first?["key", "kid"], "in whatever case")
    _ = await ask("/keys/aes/create", ["kty": "oct", "tags": ["a": "b"]])
    #expect(await versions("/keys/aes") == 2, "another body")
    let rotated = [await ask("/keys/aes/rotate"), await ask("/keys/aes/rotate")]
    #expect(rotated[0].bytes == rotated[1].bytes)
    bench.clock.advance(by: .seconds(599))
    #expect(await ask("/keys/aes/rotate").bytes == rotated[0].bytes, "whatever minute it is by the clock")
    #expect(await versions("/keys/aes") == 3, "another address")
    _ = [await ask("/keys/aes/rotate", name: "not-a-uuid"), await ask("/keys/aes/rotate", name: "not-a-uuid")]
    #expect(await versions("/keys/aes") == 5, "names that programs give to everything do not count")
    let set = [
      await ask("/secrets/one", ["value": "a"], method: .put), await ask("/secrets/one", ["value": "a"], method: .put),
    ]
    #expect(set[0]["id"] == set[1]["id"] && set[1]["value"] == "a")
    _ = await ask("/secrets/one", ["value": "b"], method: .put)
    #expect(await versions("/secrets/one") == 2)
    #expect(await ask("/keys/aes/rotate", as: bench.nobody).status == 403, "the answer is for whoever asked")
    try await bench.grant("contoso/nobody", in: "kv1", [.rotate, .list])
    #expect(await ask("/keys/aes/rotate", as: bench.nobody)["key", "kid"] != rotated[0]["key", "kid"])
  }

  @Test(
    "Every request that was decided on has its record, with the client's address and the request's id (RELIABILITY 22)")
  func audit() async throws {
    let bench = try await ServerBench()
    let version = try await bench.makeKey("thing")
    try await bench.makeSecret("thing")
    try await bench.custody.vaults.setNetworkRules(.only([AddressRange("192.0.2.0/24")]), in: VaultName("kv1"))
    bench.audit.removeAll()
    var (decided, other) = (0, 0)
    for token in [bench.owner, bench.nobody] {
      for name in ["thing", "absent"] {
        for asked in AskedRoute.all(name, version) where asked.route.operation != "explain" {
          for address in ["192.0.2.7", "198.51.100.9"] {
            let answer = await bench.send(asked.route.method, asked.path, asked.body, as: token, from: address)
            let id = try #require(answer.headers[text: "x-ms-request-id"])
            let records = bench.audit.events.filter { $0.requestID == id && $0.outcome != .intended }
            #expect(records.allSatisfy { $0.source == address && $0.target.hasPrefix("https://kv1.vault.test:8443/") })
            // What is wrong in itself, or names what can't be a version, is not decided on.
            guard ![400, 404].contains(answer.status) || !records.isEmpty else {
              other += 1
              continue
            }
            decided += 1
            let last = try #require(records.last, "\(asked.path): \(answer.text)")
            let who = token == bench.owner ? "contoso/owner" : "contoso/nobody"
            #expect(last.principal == who)
            switch answer.status {
            case 200...299: #expect(last.outcome == .allowed && last.error == nil)
            case 403 where answer.code != "Forbidden/KeyOperationForbidden":
              #expect(last.outcome == .refused && records.count == 1, "\(asked.path) \(answer.text)")
            default: #expect(last.outcome == .failed && last.error != nil, "\(asked.path) \(answer.text) \(last)")
            }
          }
        }
      }
    }
    let ids = Set(bench.audit.events.map(\.requestID))
    #expect(ids.count == decided, "and no record without a request")
    #expect(decided > 300)
    print("requests decided on: \(decided), each with its record; wrong in themselves: \(other)")
  }
}
