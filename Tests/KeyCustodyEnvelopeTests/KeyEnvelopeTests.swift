import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import Testing

@testable import KeyCustodyEnvelope

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

@Suite struct KeyEnvelopeTests {
  static let kid = "https://kv1.vault.example:8443/keys/cmk/000102030405060708090a0b0c0d0e0f"

  static func facts(_ algorithm: WrapAlgorithm = .aes256KW) throws -> KeyEnvelopeFacts {
    KeyEnvelopeFacts(
      kid: kid, algorithm: algorithm, resource: try ResourceID("Bot-1"), layer: .customer, group: .longTerm, epoch: 3)
  }

  static func seal(
    _ material: borrowing SecretBytes, _ facts: KeyEnvelopeFacts, _ kek: SoftwareKey
  ) async throws -> KeyEnvelope {
    try await KeyEnvelope.seal(material, facts: facts, random: SystemRandom()) {
      (secret: borrowing SecretBytes) async throws(KeyCustodyError) in try kek.wrap(secret, facts.algorithm)
    }
  }

  static func open(
    _ envelope: KeyEnvelope, _ facts: KeyEnvelopeFacts, _ kek: SoftwareKey
  ) async throws(KeyCustodyError) -> SecretBytes {
    try await envelope.open(expecting: facts) { (wrapped) async throws(KeyCustodyError) in
      try kek.unwrap(wrapped, facts.algorithm)
    }
  }

  static func refusal(
    _ envelope: KeyEnvelope, _ facts: KeyEnvelopeFacts, _ kek: SoftwareKey
  ) async -> KeyCustodyError? {
    do throws(KeyCustodyError) { _ = try await open(envelope, facts, kek) } catch { return error }
    return nil
  }

  @Test(
    "A root key opens from its envelope, by every algorithm",
    // FIPS mode wraps nothing by RSA-OAEP with SHA-1.
    arguments: FIPSRun.isOn ? [WrapAlgorithm.aes256KW, .rsaOAEP256] : [.aes256KW, .rsaOAEP256, .rsaOAEP])
  func roundTrip(algorithm: WrapAlgorithm) async throws {
    let kek = try SoftwareKey.generate(
      algorithm.isAsymmetric ? .rsa(bits: 2048) : .aes(bits: 256), random: SystemRandom())
    let facts = try Self.facts(algorithm)
    let material = try RootKey.generateMaterial(random: SystemRandom())
    let envelope = try await Self.seal(material, facts, kek)
    let json = try JSONEncoder().encode(envelope)
    let read = try JSONDecoder().decode(KeyEnvelope.self, from: json)
    #expect(read == envelope)
    #expect(String(decoding: json, as: UTF8.self).contains("\"encrypted_key\""))
    let opened = try await Self.open(read, facts, kek)
    let isSame = opened.isEqual(to: material)
    #expect(isSame)
    #expect(try envelope.peek().kid == facts.kid)
    #expect(try envelope.peek() == facts)
  }

  @Test("The protected header is canonical JSON: ASCII, no white space, a fixed order")
  func header() async throws {
    let facts = try Self.facts(.rsaOAEP256)
    let text = String(decoding: try facts.protectedHeader, as: UTF8.self)
    #expect(
      text == "{\"alg\":\"RSA-OAEP-256\",\"enc\":\"A256GCM\",\"kid\":\"\(Self.kid)\",\"kc-res\":\"bot-1\","
        + "\"kc-layer\":\"customer\",\"kc-group\":\"longTerm\",\"kc-epoch\":3}")
    for kid in ["", "a b", "a\"b", "a\\b", "ä", "a\nb"] {
      var bad = facts
      bad.kid = kid
      #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) { try bad.protectedHeader }
    }
  }

  @Test("An envelope opens for its own facts only, and the error says which member differs")
  func otherFacts() async throws {
    let kek = try SoftwareKey.generate(.aes(bits: 256), random: SystemRandom())
    let material = try RootKey.generateMaterial(random: SystemRandom())
    let facts = try Self.facts()
    let envelope = try await Self.seal(material, facts, kek)
    var others: [(String, KeyEnvelopeFacts)] = []
    func vary(_ member: String, _ change: (inout KeyEnvelopeFacts) throws -> Void) rethrows {
      var other = facts
      try change(&other)
      others.append((member, other))
    }
    vary("alg") { $0.algorithm = .rsaOAEP256 }
    vary("kid") { $0.kid = Self.kid.replacing("cmk", with: "cmk2") }
    try vary("resource") { $0.resource = try ResourceID("bot-2") }
    vary("layer") { $0.layer = .service }
    vary("group") { $0.group = .transient }
    vary("epoch") { $0.epoch = 4 }
    for (member, other) in others {
      let error = await Self.refusal(envelope, other, kek)
      #expect(error == KeyCustodyError(.integrityFailure, .otherEnvelope(member), ""))
    }
    // The facts put into the header instead do not help: the header is authenticated.
    for (_, other) in others where other.algorithm == facts.algorithm {
      var forged = envelope
      forged.protected = try other.protectedHeader.base64URL
      let error = await Self.refusal(forged, other, kek)
      #expect(error == KeyCustodyError(.integrityFailure, .notAuthentic, ""))
    }
  }

  @Test("A header in another form is refused, though it says the same")
  func otherForm() async throws {
    let kek = try SoftwareKey.generate(.aes(bits: 256), random: SystemRandom())
    let facts = try Self.facts()
    let material = try RootKey.generateMaterial(random: SystemRandom())
    var envelope = try await Self.seal(material, facts, kek)
    let header = String(decoding: try facts.protectedHeader, as: UTF8.self)
    for form in [header + " ", header.replacing("\"kc-epoch\"", with: "\"crit\":[],\"kc-epoch\"")] {
      envelope.protected = Array(form.utf8).base64URL
      let error = await Self.refusal(envelope, facts, kek)
      #expect(error == KeyCustodyError(.integrityFailure, .otherEnvelope("form"), ""))
    }
    for text in ["", "!!!", "e30", Array("null".utf8).base64URL] {
      envelope.protected = text
      let error = await Self.refusal(envelope, facts, kek)
      #expect(error?.code == .integrityFailure)
      #expect(throws: KeyCustodyError(.integrityFailure, .damaged, "")) { try envelope.peek() }
    }
  }

  @Test("Every altered, cut or malformed member is an integrity failure")
  func alteredMembers() async throws {
    let kek = try SoftwareKey.generate(.aes(bits: 256), random: SystemRandom())
    let facts = try Self.facts()
    let material = try RootKey.generateMaterial(random: SystemRandom())
    let envelope = try await Self.seal(material, facts, kek)
    let members: [WritableKeyPath<KeyEnvelope, String>] = [
      \.protected, \.encryptedKey, \.iv, \.ciphertext, \.tag,
    ]
    for member in members {
      let text = envelope[keyPath: member]
      var forms = ["", "A", "====", text + "=", text + "A", text + "AAAA", String(text.dropLast()), "ä", text + "\n"]
      let bytes = try #require([UInt8](base64URL: text))
      for index in bytes.indices {
        var altered = bytes
        altered[index] ^= 0x10
        forms.append(altered.base64URL)
      }
      forms += [Array(bytes.dropLast()).base64URL, (bytes + [0]).base64URL]
      for form in forms {
        var altered = envelope
        altered[keyPath: member] = form
        let error = await Self.refusal(altered, facts, kek)
        #expect(error?.code == .integrityFailure, "\(form)")
      }
    }
  }

  @Test("A root key that is not 32 bytes, a content key of another length and a failing KEK are refused")
  func lengths() async throws {
    let kek = try SoftwareKey.generate(.aes(bits: 256), random: SystemRandom())
    let facts = try Self.facts()
    await #expect(throws: KeyCustodyError(.invalidInput, .wrongSize, "")) {
      try await Self.seal(SecretBytes(copying: [1, 2, 3]), facts, kek)
    }
    let material = try RootKey.generateMaterial(random: SystemRandom())
    let envelope = try await Self.seal(material, facts, kek)
    await #expect(throws: KeyCustodyError(.integrityFailure, .notAuthentic, "")) {
      _ = try await envelope.open(expecting: facts) { (_) async throws(KeyCustodyError) in
        SecretBytes(copying: [UInt8](repeating: 0, count: 16))
      }
    }
    let off = KeyCustodyError(.disabled, .init("key-disabled"), "Off.")
    await #expect(throws: off) {
      _ = try await envelope.open(expecting: facts) { (_) async throws(KeyCustodyError) in throw off }
    }
  }

  @Test("RFC 7520, section 5.2: the content of the RSA-OAEP and A256GCM sample opens under its content key")
  func rfc7520() throws {
    let parts = FlattenedJWE.Parts(
      encryptedKey: [1], iv: try #require([UInt8](base64URL: RFC7520.iv)),
      ciphertext: try #require([UInt8](base64URL: RFC7520.ciphertext)),
      tag: try #require([UInt8](base64URL: RFC7520.tag)))
    let contentKey = try #require([UInt8](base64URL: RFC7520.contentKey))
    let opened = try FlattenedJWE.open(
      parts, protected: RFC7520.protected, with: SecretBytes(copying: contentKey))
    let text = opened.withBytes { bytes in String(decoding: (0..<bytes.byteCount).map { bytes[$0] }, as: UTF8.self) }
    #expect(text.hasPrefix("You can trust us to stick with you through thick and thin"))
  }
}
