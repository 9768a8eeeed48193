import HTTPTypes
import KeyCustody
import Testing

@testable import KeyCustodyServer

/// What clients write in several ways, and what must be written in one.
@Suite("The wire's forms")
struct WireFormTests {
  @Test("Every known api-version is taken; none and an unknown one are refused, with the newest named")
  func versions() async throws {
    let bench = try await ServerBench()
    let contract = [
      "2016-10-01", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "7.6-preview.2", "2025-06-01-preview",
      "2025-07-01", "2026-01-01-preview", "2026-04-01",
    ]
    for version in contract {
      #expect(await bench.send(.get, "/keys", version: version).status == 200, "\(version)")
    }
    for path in ["/keys", "/keys?api-version="] {
      let answer = await bench.send(.get, path, version: nil)
      #expect(answer.outcome == "400 BadParameter" && answer.message.contains("no default"))
    }
    for version in ["7", "7.9", "8.0", "2016-10-02", "7.4%20", "7.4,7.5", "%00", "７.4"] {
      let answer = await bench.send(.get, "/keys?api-version=\(ServerBench.escaped(version))")
      #expect(answer.outcome == "400 BadParameter", "\(version): \(answer.text)")
    }
    let unknown = await bench.send(.get, "/keys", version: "9.9")
    #expect(
      unknown.message
        == "The specified version (9.9) is not recognized. Consider using the latest supported version (2026-04-01).")
    print("api-versions: \(contract.count) taken, 10 refused")
  }

  @Test("Without a token: 401 with the challenge, before version, body, route, object and permission")
  func challenge() async throws {
    let bench = try await ServerBench()
    try await bench.makeKey("aes")
    let challenge =
      "Bearer authorization=\"https://login.vault.test:8443/contoso\", resource=\"https://vault.test:8443\""
    var answers: [Answer] = []
    for method in [HTTPRequest.Method.get, .post, .put, .patch, .delete, .head, .options] {
      for path in ["/keys/aes", "/keys/absent", "/nothing/at/all", "/", "/keys/a_b", "/keycustody/v1/x"] {
        for bytes in [[], Array("{".utf8)] {
          answers.append(await bench.send(method, path, as: "", version: nil, bytes: bytes, isChecked: false))
        }
      }
    }
    // A vault that is not there, and every scheme that is not Bearer.
    answers.append(await bench.send(.get, "/keys", as: "", vault: "absent"))
    for header in ["Basic abc", "Bearer", "Bearer ", "PoP abc", "bearer"] {
      answers.append(await bench.send(.get, "/keys", as: "", headers: [("Authorization", header)]))
    }
    let first = try #require(answers.first)
    #expect(first.message == "AKV10000: Request is missing a Bearer or PoP token.")
    for answer in answers {
      #expect(answer.status == 401 && answer.headers[.wwwAuthenticate] == challenge, "\(answer.text)")
      #expect(answer.bytes == first.bytes, "flat")
    }
    let other = await bench.send(.get, "/keys", as: "", vault: "fab")
    #expect(other.headers[.wwwAuthenticate]?.contains("/fabrikam\"") ?? false, "the vault's own tenant is named")
    #expect(
      await bench.send(.get, "/keys", as: "", headers: [("Authorization", "bEaReR \(bench.owner)")]).status == 200)
    print("challenges: \(answers.count)")
  }

  @Test("Empty segments, a slash at the end, and operations in any case mean the same")
  func paths() async throws {
    let bench = try await ServerBench()
    let version = try await bench.makeKey("aes")
    for path in ["wrapkey", "wrapKey", "WRAPKEY", "/wrapkey", "\(version)/wrapKey", "\(version)//wrapkey/"] {
      let answer = await bench.send(.post, "/keys/aes/\(path)", ServerBench.wrapBody)
      #expect(answer["kid"]?.string == "https://kv1.vault.test:8443/keys/aes/\(version)", "\(path): \(answer.text)")
    }
    for path in ["/keys/aes", "/keys/aes/", "//keys//aes//", "/KEYS/aes", "/keys/aes/\(version.uppercased())"] {
      #expect(await bench.send(.get, path)["key", "kid"]?.string?.hasSuffix(version) ?? false, "\(path)")
    }
    #expect(await bench.send(.patch, "/keys/aes/", ["tags": ["a": "b"]])["tags", "a"] == "b")
    let backup = await bench.send(.post, "/keys//aes//backup")
    _ = await bench.send(.delete, "/keys/aes")
    _ = await bench.send(.delete, "/deletedkeys/aes/")
    #expect(await bench.send(.post, "/keys//restore", backup.json).status == 200, "the empty segment is no name")
  }

  @Test("Padding is taken and never written")
  func padding() async throws {
    let bench = try await ServerBench()
    try await bench.makeKey("aes")
    try await bench.makeKey("rsa", ["kty": "RSA"])
    let wrapped = try await bench.wrap("aes")
    #expect(!wrapped.contains("="))
    let pad = String(repeating: "=", count: (4 - wrapped.utf8.count % 4) % 4)
    let opened = await bench.send(
      .post, "/keys/aes/unwrapkey", ["alg": "A256KW", "value": .string(wrapped + pad)])
    #expect(opened["value"] == ServerBench.wrapBody["value"])
    for length in 16...21 {
      let plain = [UInt8](repeating: 0xff, count: length).base64URL
      let padded = plain + String(repeating: "=", count: (4 - plain.utf8.count % 4) % 4)
      let sealed = await bench.send(.post, "/keys/rsa/encrypt", ["alg": "RSA-OAEP", "value": .string(padded)])
      let value = try #require(sealed["value"]?.string, "\(length): \(sealed.text)")
      #expect(!value.contains("="))
      let found = await bench.send(.post, "/keys/rsa/decrypt", ["alg": "RSA-OAEP", "value": .string(value + "==")])
      #expect(found["value"] == .string(plain), "\(found.text)")
    }
  }

  @Test("The vault is told by the host, with and without port and in any case; other hosts are refused")
  func hosts() async throws {
    let bench = try await ServerBench()
    let version = try await bench.makeKey("aes")
    for host in ["kv1.vault.test:8443", "kv1.vault.test", "KV1.Vault.TEST", "kv1.vault.test:443", "kv1.vault.test:"] {
      let answer = await bench.send(.get, "/keys/aes", host: host)
      #expect(answer["key", "kid"]?.string == "https://kv1.vault.test:8443/keys/aes/\(version)", "\(host)")
    }
    let others = [
      "vault.example", "kv1.vault.test.example", "xvault.test", "kv1", "", "127.0.0.1:8443", "[::1]:8443",
      "\u{212A}v1.vault.test", "ｋｖ1.vault.test", "kv1.vault.test:8443:1",
    ]
    for host in others {
      let answer = await bench.send(.get, "/keys/aes", host: host)
      #expect(answer.outcome == "421 BadParameter", "\(host): \(answer.text)")
    }
    // Hosts under the domain that are no vault of this tenant's.
    for host in [
      "vault.test", "login.vault.test", "a.kv1.vault.test", "user@kv1.vault.test", "-.vault.test", "..vault.test",
    ] {
      let answer = await bench.send(.get, "/keys/aes", host: host)
      #expect([401, 404].contains(answer.status), "\(host): \(answer.text)")
    }
    print("hosts: \(5 + others.count + 6)")
  }

  @Test("A list goes on at nextLink: absolute, on the vault, URL-safe, to the last entry, once each")
  func paging() async throws {
    let bench = try await ServerBench()
    let names = (0..<7).map { "key-\($0)" }
    for name in names { try await bench.makeKey(name) }
    for name in names { try await bench.makeSecret(name) }
    for list in ["keys", "secrets"] {
      for size in [nil, 1, 3, 7] as [Int?] {
        var found: [String] = []
        var path = "/\(list)?api-version=7.5" + (size.map { "&maxresults=\($0)" } ?? "")
        for _ in 0..<20 {
          let page = await bench.send(.get, path, host: "kv1.vault.test")
          #expect(page.status == 200 && page["value"]?.array?.count ?? 0 <= size ?? 25)
          found += page.names
          guard let next = page["nextLink"]?.string else { break }
          let prefix = "https://kv1.vault.test:8443/\(list)?api-version=7.5&$skiptoken="
          #expect(next.hasPrefix(prefix), "\(next)")
          #expect(size == nil || next.hasSuffix("&maxresults=\(size ?? 0)"))
          let token = next.dropFirst(prefix.count).prefix { $0 != "&" }
          #expect(
            token.utf8.allSatisfy {
              Character(UnicodeScalar($0)).isLetter || (0x30...0x39).contains($0) || $0 == 0x2d || $0 == 0x5f
            })
          path = String(next.dropFirst("https://kv1.vault.test:8443".count))
        }
        #expect(found == names, "\(list) by \(size ?? 25)")
      }
    }
    let versions = await bench.send(.get, "/keys/key-0/versions?api-version=7.4&maxresults=1")
    #expect(versions.names.first?.utf8.count == 32 && versions["nextLink"] == .null)
  }

  @Test("JSON is read as UTF-8 and with \\u escapes; unknown members are ignored")
  func text() async throws {
    let bench = try await ServerBench()
    let forms = [
      "{\"value\":\"Grüße 🔑\",\"unknown\":{\"a\":[1,null]},\"id\":\"x\"}",
      "{\"value\":\"Gr\\u00fc\\u00DFe \\uD83D\\uDD11\",\"attributes\":{\"unknown\":1}}",
      " {\n\t\"value\" : \"Gr\\u00fcße 🔑\"\r\n} ",
    ]
    for form in forms {
      let made = await bench.send(.put, "/secrets/text", bytes: Array(form.utf8))
      #expect(made.status == 200, "\(made.text)")
      #expect(await bench.send(.get, "/secrets/text")["value"] == "Grüße 🔑")
    }
    for text in ["{\"value\":\"\\uD83D\"}", "{\"value\":\"\\uDD11\\uD83D\"}", "{\"value\":\"a\u{1}\"}"] {
      #expect(await bench.send(.put, "/secrets/text", bytes: Array(text.utf8)).outcome == "400 BadParameter")
    }
    let invalid: [[UInt8]] = [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82]]
    for bytes in invalid {
      let body = Array("{\"value\":\"".utf8) + bytes + Array("\"}".utf8)
      #expect(await bench.send(.put, "/secrets/text", bytes: body).outcome == "400 BadParameter")
    }
  }

  @Test("What comes twice is refused: members, parameters, the token (RELIABILITY 29)")
  func duplicates() async throws {
    let bench = try await ServerBench()
    try await bench.makeKey("aes")
    var count = 0
    func expect(_ outcome: String, _ answer: Answer) {
      count += 1
      #expect(answer.outcome == outcome, "\(answer.text)")
    }
    for body in [
      "{\"value\":\"a\",\"value\":\"b\"}", "{\"value\":\"a\",\"v\\u0061lue\":\"b\"}",
      "{\"value\":\"a\",\"tags\":{\"x\":\"1\",\"x\":\"2\"}}",
      "{\"value\":\"a\",\"attributes\":{\"enabled\":true,\"enabled\":false}}",
    ] {
      expect("400 BadParameter", await bench.send(.put, "/secrets/twice", bytes: Array(body.utf8)))
    }
    for query in [
      "api-version=7.4&api-version=7.5", "api-version=7.4&API-VERSION=7.4", "api-version=7.4&api%2Dversion=7.4",
      "api-version=7.4&maxresults=1&maxresults=2", "maxresults=2&maxResults=1&api-version=7.4",
      "api-version=7.4&$skiptoken=a&$skipToken=b",
    ] {
      expect("400 BadParameter", await bench.send(.get, "/keys?\(query)"))
    }
    for token in [bench.nobody, bench.owner, bench.stranger] {
      expect(
        "400 BadParameter", await bench.send(.get, "/keys", headers: [("authorization", "Bearer \(token)")]))
    }
    expect("401 Unauthorized", await bench.send(.get, "/keys", as: "\(bench.nobody), Bearer \(bench.owner)"))
    // Who the caller is, is said by the token alone.
    for name in ["x-ms-client-principal", "x-ms-client-principal-id", "x-forwarded-user", "x-original-url", "x-user"] {
      expect(
        "403 Forbidden/ForbiddenByPolicy",
        await bench.send(.get, "/keys/aes", as: bench.nobody, headers: [(name, "contoso/owner")]))
    }
    for query in ["access_token=\(bench.owner)", "principal=contoso/owner", "oid=owner"] {
      expect(
        "403 Forbidden/ForbiddenByPolicy",
        await bench.send(.get, "/keys/aes?api-version=7.4&\(query)", as: bench.nobody))
    }
    #expect(await bench.send(.get, "/secrets/twice").status == 404, "nothing of all that was stored")
    print("what comes twice, or from elsewhere: \(count)")
  }

  @Test("Names are looked up without regard to case, and written as they were given first")
  func spelling() async throws {
    let bench = try await ServerBench()
    let version = try await bench.makeKey("My-Key-1")
    try await bench.makeSecret("My-Secret-1")
    for (key, secret) in [("my-key-1", "my-secret-1"), ("MY-KEY-1", "MY-SECRET-1"), ("My-Key-1", "My-Secret-1")] {
      let found = await bench.send(.get, "/keys/\(key)")
      #expect(found["key", "kid"]?.string == "https://kv1.vault.test:8443/keys/My-Key-1/\(version)", "\(found.text)")
      let other = await bench.send(.get, "/secrets/\(secret)")
      #expect(other["id"]?.string?.contains("/secrets/My-Secret-1/") ?? false, "\(other.text)")
    }
    #expect(await bench.send(.get, "/keys").names == ["My-Key-1"])
    let deleted = await bench.send(.delete, "/keys/MY-KEY-1")
    #expect(deleted["recoveryId"]?.string == "https://kv1.vault.test:8443/deletedkeys/My-Key-1")
    #expect(await bench.send(.post, "/keys/my-key-1/create", ["kty": "oct"]).status == 409, "one name, one key")
  }

  @Test("Every answer names its request, echoes the client's name for it, and is not to be cached or sniffed")
  func headers() async throws {
    let bench = try await ServerBench()
    var ids: Set<String> = []
    for path in ["/keys", "/keys/absent", "/nothing", "/healthz", "/keys?%"] {
      let name = "7e2c0d52-0000-4000-8000-00000000000\(ids.count)"
      let answer = await bench.send(.get, path, headers: [("x-ms-client-request-id", name)])
      ids.insert(try #require(answer.headers[text: "x-ms-request-id"]))
      #expect(answer.headers[text: "x-ms-client-request-id"] == name)
      #expect(answer.headers[.cacheControl] == "no-cache" && answer.headers[.xContentTypeOptions] == "nosniff")
      #expect(answer.headers[.strictTransportSecurity] == "max-age=31536000;includeSubDomains")
    }
    #expect(ids.count == 5, "no two are alike")
    for name in ["a b", String(repeating: "x", count: 129), "é"] {
      let answer = await bench.send(.get, "/keys", headers: [("x-ms-client-request-id", name)])
      #expect(answer.headers[text: "x-ms-client-request-id"] == nil)
    }
  }
}
