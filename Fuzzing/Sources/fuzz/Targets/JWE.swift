@testable import KeyCustody
@testable import KeyCustodyCrypto
@testable import KeyCustodyEnvelope

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

extension FuzzTarget {
  private static let kek = secret(7)
  private static let facts = made {
    KeyEnvelopeFacts(
      kid: "https://kv1.vault.example:8443/keys/cmk/000102030405060708090a0b0c0d0e0f", algorithm: .aes256KW,
      resource: try ResourceID("bot-1"), layer: .customer, group: .longTerm, epoch: 3)
  }
  private static let material = [UInt8](repeating: 9, count: 32)
  static let sampleEnvelope: KeyEnvelope = {
    let sealed = immediately { () async -> KeyEnvelope? in
      try? await KeyEnvelope.seal(SecretBytes(copying: material), facts: facts, random: PatternRandom(number: 3)) {
        (secret: borrowing SecretBytes) async throws(KeyCustodyError) in
        try kek.withBytes { (key) throws(KeyCustodyError) in try AES256KeyWrap.wrap(secret, key: key) }
      }
    }
    guard let sealed else { violated("setting up: an envelope does not seal") }
    return sealed
  }()

  private static func read(_ input: [UInt8]) -> KeyEnvelope? {
    if input[0] & 1 == 0 {
      return try? JSONDecoder().decode(KeyEnvelope.self, from: Data(input.dropFirst()))
    }
    // The members as lines: the mutator then works on them instead of on JSON.
    let lines = input.dropFirst().split(separator: 0x0a, omittingEmptySubsequences: false).map {
      String(decoding: $0, as: UTF8.self)
    }
    guard lines.count == 5 else { return nil }
    return KeyEnvelope(
      protected: lines[0], encryptedKey: lines[1], iv: lines[2], ciphertext: lines[3], tag: lines[4])
  }

  private static func lines(_ envelope: KeyEnvelope) -> [UInt8] {
    let members = [envelope.protected, envelope.encryptedKey, envelope.iv, envelope.ciphertext, envelope.tag]
    return [1] + Array(members.joined(separator: "\n").utf8)
  }

  /// Key envelopes, as JSON or as bare members: only the untouched one opens, and looking never traps.
  static let jwe = FuzzTarget(
    name: "jwe",
    seeds: {
      var other = sampleEnvelope
      var forged = facts
      forged.epoch = 4
      other.protected = made { try forged.protectedHeader.base64URL }
      let json = made { Array(try JSONEncoder().encode(sampleEnvelope)) }
      return [[0] + json, lines(sampleEnvelope), lines(other), [1] + Array("e30\n\n\n\n".utf8)]
    },
    run: { input in
      guard !input.isEmpty, let envelope = read(input) else { return }
      let opened = immediately { () async -> Result<[UInt8], any Error> in
        do {
          return .success(
            try await envelope.open(expecting: facts) { (wrapped) async throws(KeyCustodyError) in
              try kek.withBytes { (key) throws(KeyCustodyError) in try AES256KeyWrap.unwrap(wrapped, key: key) }
            }.array)
        } catch { return .failure(error) }
      }
      let content = allowing([.integrityFailure]) { try opened.get() }
      // Byte for byte: texts also count as equal that Unicode calls the same.
      let isOriginal = lines(envelope) == lines(sampleEnvelope)
      require(content == (isOriginal ? material : nil), isOriginal ? "the original does not open" : "a forgery opens")
      guard let peeked = allowing([.integrityFailure], { try envelope.peek() }),
        let header = allowing([.invalidInput], { try peeked.protectedHeader })
      else { return }
      var again = envelope
      again.protected = header.base64URL
      require(allowing([], { try again.peek() }) == peeked, "facts do not read back as they were written")
    })
}
