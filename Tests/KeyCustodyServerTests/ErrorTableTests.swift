import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServer

/// The errors that clients of Key Vault tell apart, one by one.
@Suite("The wire's errors")
struct ErrorTableTests {
  private struct Row {
    let what: String
    let outcome: String
    let answer: Answer

    init(_ what: String, _ outcome: String, _ answer: Answer) {
      self.what = what
      self.outcome = outcome
      self.answer = answer
    }
  }

  private static func check(_ rows: [Row], _ table: String) {
    for row in rows {
      #expect(row.answer.outcome == row.outcome, "\(row.what): \(row.answer.text)")
      if row.answer.status >= 400 {
        #expect(row.answer.headers[.contentType] == "application/json; charset=utf-8", "\(row.what)")
        #expect(!row.answer.message.isEmpty, "\(row.what)")
      }
    }
    print("\(table): \(rows.count) rows")
  }

  private static let bytes32 = JSON.string([UInt8](repeating: 7, count: 32).base64URL)

  private static func body(_ algorithm: String, _ value: JSON = bytes32) -> JSON {
    ["alg": .string(algorithm), "value": value]
  }

  @Test("Keys: permissions, allowed operations, switched off, outside validity, unknown, deleted")
  func keyStates() async throws {
    let bench = try await ServerBench()
    let (past, future) = (bench.clock.now().seconds - 60, bench.clock.now().seconds + 60)
    try await bench.makeKey("aes")
    try await bench.makeKey("rsa", ["kty": "RSA", "key_ops": ["encrypt", "wrapKey"]])
    try await bench.makeKey("off")
    try await bench.makeKey("sig", ["kty": "EC"])
    try await bench.makeKey("gone")
    let wrapped = try await bench.wrap("off")
    let signed = await bench.send(.post, "/keys/sig/sign", Self.body("ES256"))
    let digestBody: JSON = ["alg": "ES256", "digest": Self.bytes32, "value": signed["value"] ?? .null]
    let early = try await bench.wrap("aes")
    var rows: [Row] = []
    func row(
      _ what: String, _ outcome: String, _ method: HTTPRequest.Method, _ path: String, _ body: JSON? = nil,
      as token: String? = nil
    ) async {
      rows.append(Row(what, outcome, await bench.send(method, path, body, as: token)))
    }
    await row("no token", "401 Unauthorized", .get, "/keys/aes", as: "")
    await row("bad token", "401 Unauthorized", .get, "/keys/aes", as: "abc.def.ghi")
    await row("no permission", "403 Forbidden/ForbiddenByPolicy", .get, "/keys/aes", as: bench.nobody)
    for operation in ["decrypt", "unwrapkey"] {
      await row(
        "\(operation) not in key_ops", "403 Forbidden/KeyOperationForbidden", .post, "/keys/rsa/\(operation)",
        Self.body("RSA-OAEP"))
    }
    _ = await bench.send(.patch, "/keys/off", ["attributes": ["enabled": false]])
    await row("wrap by one switched off", "403 Forbidden/KeyDisabled", .post, "/keys/off/wrapkey", Self.body("A256KW"))
    await row(
      "unwrap by one switched off", "403 Forbidden/KeyDisabled", .post, "/keys/off/unwrapkey",
      Self.body("A256KW", .string(wrapped)))
    await row("show one switched off", "200", .get, "/keys/off")
    for (name, bound) in [("exp", past), ("nbf", future)] {
      for key in ["aes", "sig"] {
        _ = await bench.send(.patch, "/keys/\(key)", ["attributes": JSON(members: [(name, .integer(bound))])])
      }
      await row("wrap outside \(name)", "403 Forbidden", .post, "/keys/aes/wrapkey", Self.body("A256KW"))
      await row("sign outside \(name)", "403 Forbidden", .post, "/keys/sig/sign", Self.body("ES256"))
      await row("unwrap outside \(name)", "200", .post, "/keys/aes/unwrapkey", Self.body("A256KW", .string(early)))
      await row("verify outside \(name)", "200", .post, "/keys/sig/verify", digestBody)
      await row("show outside \(name)", "200", .get, "/keys/aes")
      for key in ["aes", "sig"] {
        let open: JSON = ["attributes": ["nbf": .integer(past - 3600), "exp": .integer(future + 3600)]]
        _ = await bench.send(.patch, "/keys/\(key)", open)
      }
    }
    await row("unknown key", "404 KeyNotFound", .get, "/keys/absent")
    await row("wrap by an unknown key", "404 KeyNotFound", .post, "/keys/absent/wrapkey", Self.body("A256KW"))
    await row("unknown version", "404 KeyNotFound", .get, "/keys/aes/\(String(repeating: "0", count: 32))")
    await row("what is no version", "404 KeyNotFound", .get, "/keys/aes/latest")
    await row("versions of an unknown key", "200", .get, "/keys/absent/versions")
    #expect(rows.last?.answer.json == ["value": [], "nextLink": nil])
    await row("a deleted key that isn't", "404 KeyNotFound", .get, "/deletedkeys/aes")
    _ = await bench.send(.delete, "/keys/gone")
    await row("show a deleted key", "404 KeyNotFound", .get, "/keys/gone")
    await row("wrap by a deleted key", "404 KeyNotFound", .post, "/keys/gone/wrapkey", Self.body("A256KW"))
    await row(
      "create over a deleted key", "409 Conflict/ObjectIsDeletedButRecoverable", .post, "/keys/gone/create",
      ["kty": "oct"])
    let oct: JSON = ["key": ["kty": "oct", "k": Self.bytes32]]
    await row("import over a deleted key", "409 Conflict/ObjectIsDeletedButRecoverable", .put, "/keys/gone", oct)
    let backup = await bench.send(.post, "/keys/aes/backup")
    await row("restore onto a taken name", "409 Conflict", .post, "/keys/restore", backup.json)
    await row("garbage backup", "400 BadParameter", .post, "/keys/restore", ["value": "AAAA"])
    await row("purge", "204", .delete, "/deletedkeys/gone")
    Self.check(rows, "errors of keys")
  }

  @Test("Keys: parameters that are wrong in themselves are 400 BadParameter")
  func badParameters() async throws {
    let bench = try await ServerBench()
    try await bench.makeKey("aes")
    try await bench.makeKey("rsa", ["kty": "RSA"])
    try await bench.makeKey("sig", ["kty": "EC"])
    var rows: [Row] = []
    func create(_ what: String, _ body: JSON) async {
      rows.append(Row(what, "400 BadParameter", await bench.send(.post, "/keys/new/create", body)))
    }
    await create("no kty", [:])
    await create("kty of another kind", ["kty": "DSA"])
    await create("kty in lower case", ["kty": "rsa"])
    await create("crv", ["kty": "EC", "crv": "P-192"])
    await create("key_size of RSA", ["kty": "RSA", "key_size": 1024])
    await create("huge key_size", ["kty": "RSA", "key_size": 9_223_372_036_854_775_807])
    await create("key_size as text", ["kty": "RSA", "key_size": "2048"])
    await create("key_size of oct", ["kty": "oct", "key_size": 128])
    await create("public_exponent", ["kty": "RSA", "public_exponent": 3])
    await create("key_ops with what is none", ["kty": "RSA", "key_ops": ["fly"]])
    await create("key_ops that is no array", ["kty": "RSA", "key_ops": "sign"])
    await create("key_ops that the type can't do", ["kty": "EC", "key_ops": ["wrapKey"]])
    await create("attributes of another type", ["kty": "oct", "attributes": []])
    await create("enabled that is no flag", ["kty": "oct", "attributes": ["enabled": "yes"]])
    await create("a negative time", ["kty": "oct", "attributes": ["exp": -1]])
    await create("a time with a fraction", ["kty": "oct", "attributes": ["exp": .number(1.5)]])
    await create("exportable", ["kty": "RSA", "attributes": ["exportable": true]])
    await create("release_policy", ["kty": "RSA", "release_policy": ["data": "AA"]])
    await create("a tag that is no text", ["kty": "oct", "tags": ["a": 1]])
    await create("sixteen tags", ["kty": "oct", "tags": JSON(members: (0..<16).map { ("t\($0)", "x") })])
    await create(
      "a tag too long", ["kty": "oct", "tags": ["a": .string(String(repeating: "x", count: 257))]])
    func post(_ what: String, _ path: String, _ body: JSON, _ outcome: String = "400 BadParameter") async {
      rows.append(Row(what, outcome, await bench.send(.post, path, body)))
    }
    await post("no alg", "/keys/aes/wrapkey", ["value": Self.bytes32])
    await post("alg of another kind", "/keys/aes/wrapkey", Self.body("A128KW"))
    await post("RSA1_5", "/keys/rsa/wrapkey", Self.body("RSA1_5"))
    await post("alg of another key type", "/keys/aes/wrapkey", Self.body("RSA-OAEP"))
    await post("alg of another curve", "/keys/sig/sign", ["alg": "ES384", "value": .string(Self.zeros(48))])
    await post("a value that is missing", "/keys/aes/wrapkey", ["alg": "A256KW"])
    await post("a value that is a number", "/keys/aes/wrapkey", ["alg": "A256KW", "value": 5])
    await post("a value that is not base64url", "/keys/aes/wrapkey", ["alg": "A256KW", "value": "a+/b"])
    #expect(rows.last?.answer.message == "Content of 'value' is not base64url.")
    await post("too much padding", "/keys/aes/wrapkey", ["alg": "A256KW", "value": "AAAA==="])
    await post("what does not unwrap", "/keys/aes/unwrapkey", Self.body("A256KW", .string(Self.zeros(40))))
    await post("what does not decrypt", "/keys/rsa/decrypt", Self.body("RSA-OAEP", .string(Self.zeros(256))))
    await post("a short ciphertext", "/keys/rsa/decrypt", Self.body("RSA-OAEP", .string(Self.zeros(8))))
    await post("a plaintext too long", "/keys/rsa/encrypt", Self.body("RSA-OAEP-256", .string(Self.zeros(191))))
    await post("a digest too long", "/keys/sig/sign", ["alg": "ES256", "value": .string(Self.zeros(33))])
    await post("a digest too short", "/keys/sig/sign", ["alg": "ES256", "value": .string(Self.zeros(20))])
    for name in ["a_b", "a%20b", "%2e%2e", "a.b", String(repeating: "x", count: 128)] {
      let answer = await bench.send(.get, "/keys/\(name)")
      rows.append(Row("the name \(name)", "400 BadParameter", answer))
      #expect(answer.message.hasPrefix("The request URI contains an invalid name: "))
    }
    for text in ["", "{", "[]", "nul", "\"text\"", "{\"kty\":\"oct\"}x", "{\"kty\":\"oct\",}", "\u{feff}{}"] {
      let answer = await bench.send(.post, "/keys/new/create", bytes: Array(text.utf8))
      rows.append(Row("the body \(text)", "400 BadParameter", answer))
    }
    for value in ["0", "26", "-1", "x", "", "1.5", "９"] {
      let escaped = ServerBench.escaped(value)
      let answer = await bench.send(.get, "/keys?api-version=7.4&maxresults=\(escaped)")
      rows.append(Row("maxresults \(value)", "400 BadParameter", answer))
    }
    rows.append(
      Row("a list's token", "400 BadParameter", await bench.send(.get, "/keys?api-version=7.4&$skiptoken=%21%21")))
    #expect(await bench.send(.get, "/keys/new").outcome == "404 KeyNotFound", "nothing of all that made a key")
    Self.check(rows, "bad parameters")
  }

  private static func zeros(_ count: Int) -> String { [UInt8](repeating: 0, count: count).base64URL }

  @Test("Secrets: permissions, switched off, expired, unknown, deleted, too large")
  func secretStates() async throws {
    let bench = try await ServerBench()
    let past = bench.clock.now().seconds - 60
    for name in ["one", "off", "old", "gone"] { try await bench.makeSecret(name) }
    _ = await bench.send(.patch, "/secrets/off", ["attributes": ["enabled": false]])
    _ = await bench.send(.patch, "/secrets/old", ["attributes": ["exp": .integer(past)]])
    let backup = await bench.send(.post, "/secrets/one/backup")
    var rows: [Row] = []
    func row(
      _ what: String, _ outcome: String, _ method: HTTPRequest.Method, _ path: String, _ body: JSON? = nil,
      as token: String? = nil
    ) async {
      rows.append(Row(what, outcome, await bench.send(method, path, body, as: token)))
    }
    let text: JSON = ["value": "x"]
    await row("no permission", "403 Forbidden/ForbiddenByPolicy", .get, "/secrets/one", as: bench.nobody)
    await row("one switched off", "403 Forbidden/SecretDisabled", .get, "/secrets/off")
    await row("an expired one", "200", .get, "/secrets/old")
    await row("an unknown one", "404 SecretNotFound", .get, "/secrets/absent")
    await row("an unknown version", "404 SecretNotFound", .get, "/secrets/one/\(String(repeating: "0", count: 32))")
    await row("what is no version", "404 SecretNotFound", .get, "/secrets/one/latest")
    await row("versions of an unknown one", "200", .get, "/secrets/absent/versions")
    #expect(rows.last?.answer.json == ["value": [], "nextLink": nil])
    await row("a deleted one that isn't", "404 SecretNotFound", .get, "/deletedsecrets/one")
    _ = await bench.send(.delete, "/secrets/gone")
    await row("a deleted one", "404 SecretNotFound", .get, "/secrets/gone")
    await row(
      "set over a deleted one", "409 Conflict/ObjectIsDeletedButRecoverable", .put, "/secrets/gone", text)
    await row("restore onto a taken name", "409 Conflict", .post, "/secrets/restore", backup.json)
    await row("garbage backup", "400 BadParameter", .post, "/secrets/restore", ["value": "AAAA"])
    await row("no value", "400 BadParameter", .put, "/secrets/new", [:])
    await row("a value that is no text", "400 BadParameter", .put, "/secrets/new", ["value": 5])
    await row("the largest", "200", .put, "/secrets/big", ["value": .string(String(repeating: "x", count: 25_600))])
    await row(
      "a larger one", "400 BadParameter", .put, "/secrets/big",
      ["value": .string(String(repeating: "é", count: 12_801))])
    await row("a bad name", "400 BadParameter", .put, "/secrets/a_b", text)
    Self.check(rows, "errors of secrets")
  }

  @Test("Purge protection: a purge is 403 and says why, for keys and secrets")
  func purgeProtection() async throws {
    let bench = try await ServerBench(purgeProtection: true)
    try await bench.makeKey("aes")
    try await bench.makeSecret("one")
    for (living, deleted) in [("/keys/aes", "/deletedkeys/aes"), ("/secrets/one", "/deletedsecrets/one")] {
      let bundle = await bench.send(.delete, living)
      #expect(bundle.status == 200)
      let level = bundle["attributes", "recoveryLevel"]?.string ?? "-"
      #expect(!level.contains("Purgeable"), "\(level)")
      let answer = await bench.send(.delete, deleted)
      #expect(answer.status == 403 && answer["error", "code"]?.string == "Forbidden", "\(answer.text)")
      #expect(
        answer.message.hasPrefix(
          "Operation \"purge\" is not allowed because purge protection is enabled for this vault"))
      #expect(await bench.send(.get, deleted).status == 200, "it is still there")
    }
  }

  @Test("A vault's network rules refuse with ForbiddenByFirewall")
  func network() async throws {
    let bench = try await ServerBench()
    try await bench.makeKey("aes")
    try await bench.custody.vaults.setNetworkRules(.only([AddressRange("192.0.2.0/24")]), in: VaultName("kv1"))
    #expect(await bench.send(.get, "/keys/aes").status == 200)
    let refused = await bench.send(.get, "/keys/aes", from: "198.51.100.1")
    #expect(refused.outcome == "403 Forbidden/ForbiddenByFirewall")
    let absent = await bench.send(.get, "/keys/absent", from: "198.51.100.1")
    #expect(absent.message == refused.message.replacing("keys/aes", with: "keys/absent"), "existence is not told")
  }
}
