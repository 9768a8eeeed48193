import HTTPTypes
import KeyCustody
import KeyCustodyServices
import Testing

@testable import KeyCustodyServer
@testable import KeyCustodyVault

/// What is wrong on the vault's side is not said to be the caller's fault, nor to be absent.
@Suite("What the vault has lost, or finds altered")
struct DamageTests {
  /// Destroys all that lies in the key provider beneath `kv1`, behind the vault's back.
  private static func lose(_ bench: ServerBench) async throws {
    let provider = try #require(bench.custody.keyProviders["keys"])
    for version in try await provider.inventory?.versions(after: nil, limit: 100) ?? [] {
      try await provider.destroy(version, context: CallContext(purpose: .administration))
    }
  }

  @Test("A key whose material the provider has lost is shown, and its uses are 500")
  func keys() async throws {
    let bench = try await ServerBench()
    try await bench.makeKey("aes")
    try await bench.makeKey("sig", ["kty": "EC"])
    let wrapped = try await bench.wrap("aes")
    try await Self.lose(bench)
    #expect(await bench.send(.get, "/keys/aes").status == 200)
    let bytes = JSON.string([UInt8](repeating: 7, count: 32).base64URL)
    let uses: [(String, JSON)] = [
      ("/keys/aes/wrapkey", ServerBench.wrapBody),
      ("/keys/aes/unwrapkey", ["alg": "A256KW", "value": .string(wrapped)]),
      ("/keys/sig/sign", ["alg": "ES256", "value": bytes]),
    ]
    for (path, body) in uses {
      let answer = await bench.send(.post, path, body)
      #expect(answer.outcome == "500 InternalServerError" && !answer.message.isEmpty, "\(path): \(answer.text)")
    }
    #expect(await bench.send(.post, "/keys/absent/wrapkey", ServerBench.wrapBody).outcome == "404 KeyNotFound")
  }

  @Test("Where the provider has lost the key that secrets are under, they are 500, not absent")
  func secrets() async throws {
    let bench = try await ServerBench()
    try await bench.makeSecret("one")
    try await Self.lose(bench)
    #expect(await bench.send(.get, "/secrets/one").outcome == "500 InternalServerError")
    #expect(await bench.send(.put, "/secrets/one", ["value": "two"]).outcome == "500 InternalServerError")
    #expect(await bench.send(.get, "/secrets/absent").outcome == "404 SecretNotFound")
  }

  @Test("A stored value that was altered is 500; a backup that was is 400")
  func altered() async throws {
    let bench = try await ServerBench()
    let version = try await bench.makeSecret("one", "first")
    try await bench.makeSecret("two", "second")
    let backup = await bench.send(.post, "/secrets/one/backup")
    let vaults = bench.custody.vaults
    let uri = vaults.secretURI(try VaultName("kv1"), try SecretName("one"))
    let path = try Vaults.valuePath(uri, KeyVersionID(version))
    try await vaults.secretValues.update(path) { value in
      value.sealed = [UInt8](repeating: 0, count: 40).base64URL
    }
    let answer = await bench.send(.get, "/secrets/one")
    #expect(answer.outcome == "500 InternalServerError" && !answer.message.isEmpty, "\(answer.text)")
    #expect(await bench.send(.get, "/secrets/two")["value"] == "second")
    var blob = try #require(backup["value"]?.string.flatMap { [UInt8](base64URL: $0) })
    blob[blob.count / 2] ^= 1
    let restored = await bench.send(.post, "/secrets/restore", ["value": .string(blob.base64URL)])
    #expect(restored.outcome == "400 BadParameter", "\(restored.text)")
  }
}
