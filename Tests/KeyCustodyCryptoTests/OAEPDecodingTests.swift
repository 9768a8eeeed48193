import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import Testing

/// The OAEP decoding of a block that a device decrypted without it (RFC 8017, section 7.1.2, step 3).
@Suite(.disabled(if: FIPSRun.isOn, "FIPS mode refuses it: FIPSAllowListTests holds that"))
struct OAEPDecodingTests {
  private static let algorithms = [WrapAlgorithm.rsaOAEP256]

  @Test("A block put together by RFC 8017's encoding decodes to its message", arguments: algorithms, [16, 32, 64, 190])
  func decodes(algorithm: WrapAlgorithm, length: Int) throws {
    let message = try SystemRandom().bytes(length)
    let block = try encode(message, count: 256)
    #expect(try decodeOAEP(SecretBytes(copying: block), algorithm).array == message)
  }

  @Test("A block with any one byte changed is refused, with one error for all")
  func changed() throws {
    let message = try SystemRandom().bytes(32)
    let block = try encode(message, count: 256)
    var refused = 0
    for index in block.indices {
      var changed = block
      changed[index] ^= 1
      // OAEP authenticates its padding, not the message: a change there can go unseen, but never gives the message.
      do throws(KeyCustodyError) {
        let found = try decodeOAEP(SecretBytes(copying: changed), .rsaOAEP256).array
        #expect(found != message)
      } catch {
        #expect(error == .notAuthenticWrap)
        refused += 1
      }
    }
    #expect(refused >= 256 - 32)
    for count in [1, 65, 255] {
      #expect(throws: KeyCustodyError.notAuthenticWrap) {
        _ = try decodeOAEP(SecretBytes(copying: Array(block.suffix(count))), .rsaOAEP256).array
      }
    }
    #expect(throws: KeyCustodyError.notAuthenticWrap) {
      _ = try decodeOAEP(SecretBytes(copying: block), .rsaOAEP).array
    }
    #expect(throws: KeyCustodyError(.unsupported, .notOffered, "")) {
      _ = try decodeOAEP(SecretBytes(copying: block), .aes256KW).array
    }
  }

  /// EME-OAEP encoding with SHA-256 and an empty label (RFC 8017, section 7.1.1, step 2).
  private func encode(_ message: [UInt8], count: Int) throws -> [UInt8] {
    let labelHash = try Hashing.sha256([])
    let padding = [UInt8](repeating: 0, count: count - message.count - 2 * 32 - 2)
    let data = labelHash + padding + [1] + message
    let seed = try SystemRandom().bytes(32)
    let maskedData = zip(data, try mask(seed, data.count)).map { $0 ^ $1 }
    let maskedSeed = zip(seed, try mask(maskedData, 32)).map { $0 ^ $1 }
    return [0] + maskedSeed + maskedData
  }

  /// MGF1 with SHA-256 (RFC 8017, appendix B.2.1).
  private func mask(_ seed: [UInt8], _ count: Int) throws -> [UInt8] {
    var mask: [UInt8] = []
    var counter: UInt8 = 0
    while mask.count < count {
      mask += try Hashing.sha256(seed + [0, 0, 0, counter])
      counter += 1
    }
    return Array(mask.prefix(count))
  }
}
