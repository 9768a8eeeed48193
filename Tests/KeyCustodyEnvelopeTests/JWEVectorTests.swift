import KeyCustody
import KeyCustodyCrypto
import Testing

@testable import KeyCustodyEnvelope

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// JWEs of others, given to the reader of key envelopes.
@Suite struct JWEVectorTests {
  private struct Wycheproof: Decodable {
    struct Group: Decodable {
      struct Key: Decodable {
        var alg: String?
        var k: String?
      }
      let `private`: Key
      let tests: [Case]
    }
    struct Case: Decodable {
      let tcId: Int
      let comment: String
      let jwe: String?
      let pt: String?
      let result: String
      private enum CodingKeys: String, CodingKey { case tcId, comment, jwe, pt, result }
      /// Some cases hold an object in place of a text.
      init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        tcId = try container.decode(Int.self, forKey: .tcId)
        comment = try container.decode(String.self, forKey: .comment)
        jwe = try? container.decode(String.self, forKey: .jwe)
        pt = try? container.decode(String.self, forKey: .pt)
        result = try container.decode(String.self, forKey: .result)
      }
    }
    let testGroups: [Group]
  }

  private static func members(_ compact: String) -> KeyEnvelope? {
    let parts = compact.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 5 else { return nil }
    return KeyEnvelope(
      protected: parts[0], encryptedKey: parts[1], iv: parts[2], ciphertext: parts[3], tag: parts[4])
  }

  /// Opens a JWE by A256KW and A256GCM, whatever its header says besides.
  private static func content(of envelope: KeyEnvelope, under key: [UInt8]) async -> [UInt8]? {
    guard let wrapped = [UInt8](base64URL: envelope.encryptedKey), let iv = [UInt8](base64URL: envelope.iv),
      let ciphertext = [UInt8](base64URL: envelope.ciphertext), let tag = [UInt8](base64URL: envelope.tag)
    else { return nil }
    let parts = FlattenedJWE.Parts(encryptedKey: wrapped, iv: iv, ciphertext: ciphertext, tag: tag)
    do throws(KeyCustodyError) {
      let contentKey = try AES256KeyWrap.unwrap(wrapped, key: unsafe key.span.bytes)
      let opened = try FlattenedJWE.open(parts, protected: envelope.protected, with: contentKey)
      return opened.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
    } catch { return nil }
  }

  @Test("Wycheproof: no JWE of others passes for a key envelope; those by A256KW and A256GCM decrypt to their content")
  func wycheproof() async throws {
    let name = "wycheproof/json_web_encryption_test.json"
    guard let data = try VectorFiles.read(name) else { return }
    let file = try JSONDecoder().decode(Wycheproof.self, from: data)
    let kek = try SoftwareKey.generate(.aes(bits: 256), random: SystemRandom())
    let facts = try KeyEnvelopeTests.facts()
    var (valid, invalid, notCompact) = (0, 0, 0)
    for group in file.testGroups {
      for test in group.tests {
        guard let envelope = test.jwe.flatMap(Self.members) else {
          notCompact += 1
          continue
        }
        let refusal = await KeyEnvelopeTests.refusal(envelope, facts, kek)
        #expect(refusal?.code == .integrityFailure, "\(test.tcId) \(test.comment)")
        _ = try? envelope.peek()
        invalid += 1
        let header = [UInt8](base64URL: envelope.protected).map { String(decoding: $0, as: UTF8.self) } ?? ""
        guard test.result == "valid", header.contains("\"A256KW\""), header.contains("\"A256GCM\""),
          let key = group.private.k.flatMap({ [UInt8](base64URL: $0) })
        else { continue }
        let found = await Self.content(of: envelope, under: key)
        #expect(found?.hexadecimal == test.pt, "\(test.tcId) \(test.comment)")
        valid += 1
      }
    }
    VectorFiles.report(
      name, valid: valid, invalid: invalid, skipped: notCompact, reason: "not of the compact form")
  }

  @Test("RFC 7520 as its cookbook has it: no sample passes for a key envelope")
  func cookbook() async throws {
    struct Sample: Decodable {
      struct Output: Decodable { var compact: String? }
      var output: Output
    }
    let kek = try SoftwareKey.generate(.aes(bits: 256), random: SystemRandom())
    let facts = try KeyEnvelopeTests.facts()
    let names = [
      "5_1.key_encryption_using_rsa_v15_and_aes-hmac-sha2", "5_2.key_encryption_using_rsa-oaep_with_aes-gcm",
      "5_6.direct_encryption_using_aes-gcm", "5_8.key_wrap_using_aes-keywrap_with_aes-gcm",
      "5_9.compressed_content",
    ]
    for name in names {
      let path = "jose-cookbook/jwe/\(name).json"
      guard let data = try VectorFiles.read(path) else { continue }
      let sample = try JSONDecoder().decode(Sample.self, from: data)
      let envelope = try #require(sample.output.compact.flatMap(Self.members), "\(name)")
      let refusal = await KeyEnvelopeTests.refusal(envelope, facts, kek)
      #expect(refusal?.code == .integrityFailure, "\(name)")
      VectorFiles.report(path, valid: 0, invalid: 1)
    }
  }
}
