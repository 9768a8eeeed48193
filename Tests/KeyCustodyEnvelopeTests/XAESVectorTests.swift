import KeyCustody
import KeyCustodyCrypto
import Testing

@testable import KeyCustodyEnvelope

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

@Suite struct XAESVectorTests {
  /// XAES-256-GCM with a nonce of the caller's, as the vectors have it.
  static func seal(_ content: [UInt8], key: [UInt8], nonce: [UInt8], aad: [UInt8]) throws -> [UInt8] {
    var xaes = try XAESKey(SecretBytes(copying: key))
    var cipher = try xaes.cipher(NoncePrefix(unsafe nonce.span.bytes), for: .both)
    let half = Array(nonce[12...])
    var sealed: [UInt8] = []
    try sealed.append(count: content.count + 16) { (output: inout MutableRawSpan) throws(KeyCustodyError) in
      try cipher.seal(
        unsafe content.span.bytes, nonce: unsafe half.span.bytes, additionalData: unsafe aad.span.bytes, into: &output)
    }
    return sealed
  }

  struct Sample: Sendable, Decodable {
    let key: String
    let nonce: String
    let derived: String
    let plaintext: String
    let aad: String
    let ciphertext: String
    private enum CodingKeys: String, CodingKey {
      case key = "K"
      case nonce = "N_ascii"
      case derived = "Kx"
      case plaintext = "plaintext_ascii"
      case aad = "aad_ascii"
      case ciphertext
    }
    init(_ key: String, _ derived: String, _ aad: String, _ ciphertext: String) {
      (self.key, self.derived, self.aad, self.ciphertext) = (key, derived, aad, ciphertext)
      (nonce, plaintext) = ("ABCDEFGHIJKLMNOPQRSTUVWX", "XAES-256-GCM")
    }

    func check() throws {
      var xaes = try XAESKey(SecretBytes(copying: try hex(key)))
      let prefix = NoncePrefix(unsafe Array(nonce.utf8).span.bytes)
      let found = try xaes.derive(prefix).withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
      #expect(found.hexadecimal == derived)
      let sealed = try XAESVectorTests.seal(
        Array(plaintext.utf8), key: try hex(key), nonce: Array(nonce.utf8), aad: Array(aad.utf8))
      #expect(sealed.hexadecimal == ciphertext)
    }
  }

  /// The two vectors of c2sp.org/XAES-256-GCM: without and with a carry in CMAC's subkey.
  static let samples = [
    Sample(
      String(repeating: "01", count: 32), "c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b", "",
      "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
    Sample(
      String(repeating: "03", count: 32), "e9c621d4cdd9b11b00a6427ad7e559aeedd66b3857646677748f8ca796cb3fd8",
      "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
  ]

  @Test("XAES-256-GCM gives the specification's samples", arguments: samples)
  func sample(_ sample: Sample) throws { try sample.check() }

  private struct File: Decodable {
    struct Accumulated: Decodable { let n10000: String }
    let vectors: [Sample]
    let accumulated: Accumulated
  }

  @Test("XAES-256-GCM agrees with the published accumulated hash of 10,000 random inputs")
  func file() throws {
    let name = "c2sp/xaes-256-gcm.json"
    guard let data = try VectorFiles.read(name) else { return }
    let file = try JSONDecoder().decode(File.self, from: data)
    for vector in file.vectors { try vector.check() }
    var random = Shake128()
    var hash = Shake128()
    for _ in 0..<10_000 {
      let (key, nonce) = (random.squeeze(32), random.squeeze(24))
      let plaintext = random.squeeze(Int(random.squeeze(1)[0]))
      let aad = random.squeeze(Int(random.squeeze(1)[0]))
      hash.absorb(try Self.seal(plaintext, key: key, nonce: nonce, aad: aad))
    }
    #expect(hash.squeeze(32).hexadecimal == file.accumulated.n10000)
    VectorFiles.report(name, valid: file.vectors.count + 10_000, invalid: 0)
  }

  @Test("The random stream of the accumulated test begins as published")
  func shake() {
    var shake = Shake128()
    #expect(shake.squeeze(16).hexadecimal == "7f9c2ba4e88f827d616045507605853e")
  }
}
