import KeyCustody
import KeyCustodyCrypto
import Testing

@testable import KeyCustodyEnvelope

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Everything that can be done to key envelopes.
///
/// Each test prints how much it tried.
@Suite struct EnvelopeTamperTests {
  private static var members: [WritableKeyPath<KeyEnvelope, String>] {
    [\.protected, \.encryptedKey, \.iv, \.ciphertext, \.tag]
  }

  private static func facts(_ index: Int) throws -> KeyEnvelopeFacts {
    KeyEnvelopeFacts(
      kid: "https://kv\(index % 3).vault.example/keys/cmk/000102030405060708090a0b0c0d0e0f", algorithm: .aes256KW,
      resource: try ResourceID("bot-\(index / 4)"), layer: index % 2 == 0 ? .customer : .service,
      group: index % 4 < 2 ? .longTerm : .transient, epoch: index)
  }

  private static func makeAll(
    _ count: Int, _ kek: SoftwareKey
  ) async throws -> [(facts: KeyEnvelopeFacts, envelope: KeyEnvelope)] {
    var all: [(facts: KeyEnvelopeFacts, envelope: KeyEnvelope)] = []
    for index in 0..<count {
      let facts = try Self.facts(index)
      let material = try RootKey.generateMaterial(random: SystemRandom())
      all.append((facts, try await KeyEnvelopeTests.seal(material, facts, kek)))
    }
    return all
  }

  @Test("All 89,700 swaps of 300 key envelopes: nothing opens, and each refusal is an integrity failure")
  func swaps() async throws {
    let kek = try SoftwareKey.generate(.aes(bits: 256), random: SystemRandom())
    let all = try await Self.makeAll(300, kek)
    var refused = 0
    for (index, taken) in all.enumerated() {
      for (place, expected) in all.enumerated() {
        let error = await KeyEnvelopeTests.refusal(taken.envelope, expected.facts, kek)
        if index == place {
          #expect(error == nil)
        } else if error?.code == .integrityFailure {
          refused += 1
        }
      }
    }
    #expect(refused == 89_700)
    print("key envelopes: \(refused) swaps: 0 opened")
  }

  @Test("One member of an envelope in place of another's, of 40 envelopes: nothing opens")
  func mixed() async throws {
    let kek = try SoftwareKey.generate(.aes(bits: 256), random: SystemRandom())
    let all = try await Self.makeAll(40, kek)
    var tried = 0
    for (index, taken) in all.enumerated() {
      for (place, other) in all.enumerated() where index != place {
        for member in Self.members {
          var mixed = taken.envelope
          mixed[keyPath: member] = other.envelope[keyPath: member]
          let error = await KeyEnvelopeTests.refusal(mixed, taken.facts, kek)
          #expect(error?.code == .integrityFailure, "\(index), \(place)")
          tried += 1
        }
      }
    }
    print("key envelopes: \(tried) members exchanged: 0 opened")
  }

  @Test("Every bit of every member flipped, in its bytes and in its text; every truncation: nothing opens")
  func bits() async throws {
    let kek = try SoftwareKey.generate(.aes(bits: 256), random: SystemRandom())
    let (facts, envelope) = try #require(try await Self.makeAll(1, kek).first)
    var tried = 0
    func check(_ altered: KeyEnvelope, _ what: String) async {
      let error = await KeyEnvelopeTests.refusal(altered, facts, kek)
      #expect(error?.code == .integrityFailure, "\(what)")
      tried += 1
    }
    for member in Self.members {
      let text = Array(envelope[keyPath: member].utf8)
      let bytes = try #require([UInt8](base64URL: envelope[keyPath: member]))
      for bit in 0..<(8 * bytes.count) {
        var flipped = bytes
        flipped[bit / 8] ^= 1 << UInt8(bit % 8)
        var altered = envelope
        altered[keyPath: member] = flipped.base64URL
        await check(altered, "bit \(bit)")
      }
      for bit in 0..<(8 * text.count) {
        var flipped = text
        flipped[bit / 8] ^= 1 << UInt8(bit % 8)
        var altered = envelope
        altered[keyPath: member] = String(decoding: flipped, as: UTF8.self)
        await check(altered, "bit \(bit) of the text")
      }
      for count in 0..<text.count {
        var altered = envelope
        altered[keyPath: member] = String(decoding: text.prefix(count), as: UTF8.self)
        await check(altered, "\(count) letters")
      }
    }
    print("key envelope: \(tried) flips and truncations: 0 opened")
  }

  @Test("Every byte of an envelope's JSON changed: it does not decode, or does not open, or is the same envelope")
  func json() async throws {
    let kek = try SoftwareKey.generate(.aes(bits: 256), random: SystemRandom())
    let (facts, envelope) = try #require(try await Self.makeAll(1, kek).first)
    let json = Array(try JSONEncoder().encode(envelope))
    var (undecodable, refused) = (0, 0)
    for position in json.indices {
      for bit in 0..<8 {
        var altered = json
        altered[position] ^= 1 << UInt8(bit)
        guard let read = try? JSONDecoder().decode(KeyEnvelope.self, from: Data(altered)) else {
          undecodable += 1
          continue
        }
        let error = await KeyEnvelopeTests.refusal(read, facts, kek)
        #expect(error?.code == .integrityFailure || read == envelope, "byte \(position)")
        refused += 1
      }
    }
    #expect(undecodable > 0 && refused > 0)
    print("key envelope as JSON: \(8 * json.count) flips, \(undecodable) not JSON, \(refused) refused: 0 opened")
  }

  @Test("A header of other bytes that a text takes for the same is refused, and the KEK is not asked")
  func lookalike() async throws {
    let kek = try SoftwareKey.generate(.aes(bits: 256), random: SystemRandom())
    var facts = try Self.facts(0)
    // Wherever a group of three bytes ends, one of these does, and so there is a K.
    facts.kid = "https://kv.vault.example/keys/JJJ/000102030405060708090a0b0c0d0e0f"
    var envelope = try await KeyEnvelopeTests.seal(try RootKey.generateMaterial(random: SystemRandom()), facts, kek)
    let protected = envelope.protected
    try #require(protected.contains("K"))
    // The sign of the kelvin.
    envelope.protected = protected.replacing("K", with: "\u{212a}")
    #expect(envelope.protected == protected, "as texts they are the same")
    var asked = 0
    await #expect(throws: KeyCustodyError.self) {
      _ = try await envelope.open(expecting: facts) { (_) throws(KeyCustodyError) in
        asked += 1
        throw KeyCustodyError(.fault, .internalFault, "The KEK was asked.")
      }
    }
    #expect(asked == 0)
  }
}
