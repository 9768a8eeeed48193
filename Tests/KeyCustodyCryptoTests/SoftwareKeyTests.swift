import KeyCustody
import KeyCustodyCrypto
import Testing

/// Every operation of a software key, over every type.
struct SoftwareKeyTests {
  private static let signing: [(KeyType, SignatureAlgorithm)] = KeyType.offered.flatMap { type in
    SignatureAlgorithm.fitting(type).map { (type, $0) }
  }

  private func key(_ type: KeyType) throws -> SoftwareKey {
    do throws(KeyCustodyError) { return try SoftwareKey.generate(type, random: SystemRandom()) } catch {
      Issue.record("\(error.debugDescription)")
      throw error
    }
  }

  @Test("A key written and read again is the same key", arguments: KeyType.offered)
  func serialization(type: KeyType) throws {
    let made = try key(type)
    do throws(KeyCustodyError) {
      let again = try SoftwareKey.read(try made.serialized(), as: type)
      #expect(try again.fingerprint() == made.fingerprint())
      #expect(try again.publicKey() == made.publicKey())
    } catch { Issue.record("\(error.debugDescription)") }
  }

  @Test("What a key signs its public key verifies, and nothing else", arguments: signing)
  func signatures(type: KeyType, algorithm: SignatureAlgorithm) throws {
    do throws(KeyCustodyError) {
      let made = try SoftwareKey.generate(type, random: SystemRandom())
      var digest = try SystemRandom().bytes(algorithm.digestLength)
      var signature = try made.sign(digest, algorithm)
      let publicKey = try PublicKey(spki: try made.publicKey() ?? [])
      #expect(try publicKey.verify(signature, digest: digest, algorithm))
      digest[0] ^= 1
      #expect(try !publicKey.verify(signature, digest: digest, algorithm))
      digest[0] ^= 1
      signature[signature.count - 1] ^= 1
      #expect(try !publicKey.verify(signature, digest: digest, algorithm))
    } catch { Issue.record("\(error.debugDescription)") }
  }
}
