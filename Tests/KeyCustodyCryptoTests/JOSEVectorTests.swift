import KeyCustody
import KeyCustodyCrypto
import Testing

/// Vectors of Project Wycheproof for signed tokens and their keys.
struct JOSEVectorTests {
  @Test("Wycheproof: JWS", arguments: ["json_web_signature", "json_web_key", "json_web_crypto"])
  func signatures(_ name: String) throws {
    guard let data = try Vectors.read("wycheproof/\(name)_test.json") else { return }
    var tally = Tally(wycheproof: name)
    for group in try JSON(Array(data))["testGroups"]?.array ?? [] {
      let key = group["public"] ?? group["private"] ?? .null
      let keys = key["keys"]?.array ?? [key]
      let document = JSON(dictionaryLiteral: ("keys", .array(keys))).bytes
      for test in group["tests"]?.array ?? [] {
        guard test["jwe"] == nil else {
          tally.skip("encrypted, which no token of ours is")
          continue
        }
        let isTaken = try test["jws"]?.string.map { try verifies($0, document) } ?? false
        let number = test["tcId"]?.integer ?? 0
        switch (test["result"], isTaken) {
        case ("valid", true): tally.valid += 1
        case ("valid", false):
          let reason = try #require(refusal(of: test, keys), "\(number) must be taken")
          tally.skip(reason)
        default:
          #expect(!isTaken, "\(number): \(test["comment"]?.string ?? "")")
          tally.invalid += 1
        }
      }
    }
    tally.report()
  }

  /// Whether a verifier that allows every algorithm there is takes a token by a key set.
  private func verifies(_ token: String, _ document: [UInt8]) throws -> Bool {
    guard let keys = try? JSONWebKeySet(document),
      let signed = try? JSONWebSignature(compact: token, allowing: Set(SignatureAlgorithm.allCases)),
      let key = keys.key(for: signed)
    else { return false }
    return try signed.verify(with: key.key)
  }

  /// Why a valid vector need not be taken.
  private func refusal(of test: JSON, _ keys: [JSON]) -> String? {
    if keys.contains(where: { $0["kty"] == "oct" }) { return "valid under HMAC, which is not offered" }
    let header = test["jws"]?.string?.split(separator: ".").first.flatMap { [UInt8](base64URL: $0) } ?? []
    guard let algorithm = try? JSON(header)["alg"] else { return nil }
    // RFC 7520's keys as the file gives them: 'ES521' for ES512, and 'PS256' where the token says PS384.
    let isDeclared = keys.contains { $0["alg"] == nil || $0["alg"] == algorithm }
    return isDeclared ? nil : "valid, but by another algorithm than the one its key declares"
  }
}
