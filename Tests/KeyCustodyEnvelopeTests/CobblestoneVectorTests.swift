import KeyCustody
import KeyCustodyCrypto
import Testing

@testable import KeyCustodyEnvelope

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

@Suite struct CobblestoneVectorTests {
  private static func rootKey(_ key: [UInt8]) -> RootKey {
    RootKey(
      object: SecretBytes(copying: key), record: SecretBytes(copying: [UInt8](repeating: 0, count: 32)),
      commitment: [UInt8](repeating: 5, count: 32))
  }

  /// Opens a bare ciphertext in pieces, keeping what came out before an error; also by random access when it is whole.
  private static func open(_ bare: [UInt8], key: [UInt8], context: [UInt8], pieceSize: Int) throws -> [UInt8] {
    let key = rootKey(key)
    let sealed = SealedHeader(kind: .object, rootKey: key.id).bytes + bare
    var opener = ObjectLayerOpener(key: key, context: context)
    var content: [UInt8] = []
    for start in stride(from: 0, to: sealed.count, by: pieceSize) {
      let end = min(start + pieceSize, sealed.count)
      try opener.update(unsafe sealed.span.bytes.extracting(start..<end), into: &content)
    }
    try opener.finish(into: &content)
    return content
  }

  private static func read(_ bare: [UInt8], key: [UInt8], context: [UInt8]) async throws -> [UInt8] {
    let key = rootKey(key)
    let sealed = SealedHeader(kind: .object, rootKey: key.id).bytes + bare
    let reader = try await ObjectLayerReader(
      over: MemoryBytes(bytes: sealed), key: key, source: nil, layer: .service, context: context)
    return try await reader.read(at: 0, count: Int(reader.size))
  }

  private static func check(
    _ name: String, key: [UInt8], context: [UInt8], sealed: [UInt8], isValid: Bool, hash: String?,
    _ algorithm: HashAlgorithm
  ) async throws {
    guard key.count == RootKey.materialLength else {
      #expect(!isValid)
      #expect(throws: KeyCustodyError.self) { try RootKey(material: SecretBytes(copying: key)) }
      return
    }
    guard isValid else {
      for size in [1000, 16_384, Int.max / 2] {
        #expect(refuses { _ = try open(sealed, key: key, context: context, pieceSize: size) }, "\(name)")
      }
      let error = await #expect(throws: KeyCustodyError.self, "\(name)") {
        try await read(sealed, key: key, context: context)
      }
      #expect(error?.code == .integrityFailure)
      return
    }
    let content = try open(sealed, key: key, context: context, pieceSize: 50_000)
    #expect(try Hashing.digest(algorithm, content).hexadecimal == hash, "\(name)")
    #expect(try await read(sealed, key: key, context: context) == content, "\(name)")
    // With the vector's salt, sealing gives the vector's bytes.
    var sealer = try ObjectLayerSealer(
      key: rootKey(key), context: context, random: FixedRandom(Array(sealed.prefix(24))))
    var again: [UInt8] = []
    try sealer.update(unsafe content.span.bytes, into: &again)
    try sealer.finish(into: &again)
    #expect(Array(again.dropFirst(SealedHeader.length)) == sealed, "\(name)")
  }

  @Test("Cobblestone-256 gives a published sample, typed in")
  func sample() async throws {
    // Wycheproof's case 9, "short message with non-empty context string".
    try await Self.check(
      "sample", key: Array("YELLOW SUBMARINE YELLOW SUBMARIN".utf8), context: Array("test context".utf8),
      sealed: try hex(Self.sampleCiphertext), isValid: true,
      hash: try Hashing.digest(.sha256, Array("chunked".utf8)).hexadecimal,
      .sha256)
  }
  private static let sampleCiphertext =
    "dbedaefc1c35dc6c0f22b743b03e488747166a51f33479e7ceb8b7e11cc0d2710f624a127501bc4a"
    + "ea7d0af6f83cfe359b9e69415aa537f36adf86eb35b070475baa039bb7791432adbca49578bbd3"

  private struct Published: Decodable {
    struct Vector: Decodable {
      let name: String
      let aead: String
      let expect: String
      let aeadKey: String?
      let baseNonce: String?
      let ciphertext: String?
      let compressed: Bool?
      let hash: String?
      private enum CodingKeys: String, CodingKey {
        case name, aead, expect, ciphertext, compressed
        case aeadKey = "aead_key"
        case baseNonce = "base_nonce"
        case hash = "payload_sha256"
      }
    }
    let vectors: [Vector]
  }

  /// Opens chunks under a key and nonce that are given, as the specification's raw mode does.
  private static func openRaw(_ sealed: ArraySlice<UInt8>, key: [UInt8], nonce: [UInt8]) throws -> [UInt8] {
    var chunks = ChunkCipher(cipher: try AES256GCM(key: unsafe key.span.bytes), baseNonce: unsafe nonce.span.bytes)
    var content: [UInt8] = []
    var rest = sealed
    var index: UInt64 = 0
    while rest.count >= Cobblestone.sealedChunkLength {
      let chunk = Array(rest.prefix(Cobblestone.sealedChunkLength))
      try chunks.open(unsafe chunk.span.bytes, index: index, into: &content)
      rest = rest.dropFirst(Cobblestone.sealedChunkLength)
      index += 1
    }
    guard rest.count >= AES256GCM.tagLength else { throw truncated("The object") }
    try chunks.open(unsafe Array(rest).span.bytes, index: index, into: &content)
    return content
  }

  @Test("Chunks agree with the C2SP vectors as pyca/cryptography carries them")
  func published() throws {
    let name = "c2sp/pyca-chunked-encryption-vectors.json"
    guard let data = try VectorFiles.read(name) else { return }
    // The file was made with an earlier draft that derived by SHA-256, so its headers fit no published version; the
    // chunks, under the key and nonce it names, do. Cases without a key are about headers only.
    let vectors = try JSONDecoder().decode(Published.self, from: data).vectors
    var (valid, invalid) = (0, 0)
    for vector in vectors where vector.aead == "AEAD_AES_256_GCM" {
      guard let key = vector.aeadKey, let nonce = vector.baseNonce else { continue }
      var sealed = Array(try #require(Data(base64Encoded: vector.ciphertext ?? "")))
      if vector.compressed == true { sealed = try Inflate.decompress(sealed) }
      let (keyBytes, nonceBytes) = (try hex(key), try hex(nonce))
      if vector.expect == "success" {
        let content = try Self.openRaw(sealed.dropFirst(56), key: keyBytes, nonce: nonceBytes)
        #expect(try Hashing.sha256(content).hexadecimal == vector.hash, "\(vector.name)")
        valid += 1
      } else {
        #expect(throws: KeyCustodyError.self, "\(vector.name)") {
          try Self.openRaw(sealed.dropFirst(56), key: keyBytes, nonce: nonceBytes)
        }
        invalid += 1
      }
    }
    VectorFiles.report(
      name, valid: valid, invalid: invalid, skipped: vectors.count - valid - invalid,
      reason: "of other ciphers, or of a draft's headers")
  }

  private struct Wycheproof: Decodable {
    struct Group: Decodable { let tests: [Case] }
    struct Case: Decodable {
      let tcId: Int
      let comment: String
      let key: String
      let ctx: String
      let ct: String
      let msgSha512: String?
      let result: String
    }
    let testGroups: [Group]
    let numberOfTests: Int
  }

  @Test("Cobblestone-256 agrees with Wycheproof, in streams, by random access and in sealing")
  func wycheproof() async throws {
    let name = "wycheproof/c2sp_chunked_encryption_aes_256_gcm_test.json"
    guard let data = try VectorFiles.read(name) else { return }
    let file = try JSONDecoder().decode(Wycheproof.self, from: data)
    let cases = file.testGroups.flatMap(\.tests)
    for test in cases {
      let compressed = try hex(test.ct)
      try await Self.check(
        "\(test.tcId) \(test.comment)", key: try hex(test.key), context: try hex(test.ctx),
        sealed: compressed.isEmpty ? [] : try Inflate.decompress(compressed), isValid: test.result == "valid",
        hash: test.msgSha512, .sha512)
    }
    #expect(cases.count == file.numberOfTests)
    let valid = cases.count { $0.result == "valid" }
    VectorFiles.report(name, valid: valid, invalid: cases.count - valid)
  }
}
