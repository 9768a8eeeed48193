import KeyCustody
import KeyCustodyCrypto
import Testing

@testable import KeyCustodyEnvelope

@Suite struct RootKeyTests {
  @Test("The commitment is HKDF-Expand-SHA-512 with its label, and the id its first 8 bytes")
  func commitment() throws {
    let key = try makeRootKey(7)
    let material = SecretBytes(copying: [UInt8](repeating: 7, count: 32))
    // One block of HKDF-Expand is HMAC(key, info ‖ 1).
    let expected = try material.withBytes { bytes in
      try Hashing.hmac(.sha512, key: bytes, [Array("key-custody/v1/commitment".utf8), [1]])
    }.withBytes { bytes in (0..<32).map { bytes[$0] } }
    #expect(key.commitment == expected)
    #expect(key.id.bytes == Array(expected.prefix(8)))
  }

  @Test("A root key has 32 bytes", arguments: [0, 16, 31, 33, 64])
  func length(count: Int) {
    #expect(throws: KeyCustodyError(.integrityFailure, .wrongSize, "")) {
      try RootKey(material: SecretBytes(copying: [UInt8](repeating: 1, count: count)))
    }
  }

  @Test("E8: a destroyed key stops records, and streams and readers that are under way")
  func destroyStopsEverything() async throws {
    let key = try makeRootKey()
    let context = try makeContext()
    let ended = KeyCustodyError(.unavailable, .leaseEnded, "")
    let record = try RecordLayer.seal([1], key: key, layer: .service, context: context, random: SystemRandom())
    let content = pattern(40_000)
    let object = try sealLayer(content, key: key, context: context)
    let reader = try await ObjectLayerReader(
      over: MemoryBytes(bytes: object), key: key, layer: .service, context: context)
    var sealer = try ObjectLayerSealer(key: key, layer: .service, context: context, random: SystemRandom())
    var opener = ObjectLayerOpener(key: key, layer: .service, context: context)
    var output: [UInt8] = []
    try sealer.update(unsafe content.span.bytes, into: &output)
    output = []
    try opener.update(unsafe object.span.bytes, into: &output)
    let cipher = try key.objectCipher(salt: [1], context: [2])

    #expect(!key.isDestroyed)
    key.destroy()
    #expect(key.isDestroyed)

    #expect(throws: ended) {
      try RecordLayer.seal([1], key: key, layer: .service, context: context, random: SystemRandom())
    }
    #expect(throws: ended) { try RecordLayer.open(record, key: key, layer: .service, context: context) }
    #expect(throws: ended) { try sealLayer(content, key: key, context: context) }
    #expect(throws: ended) { try openLayer(object, key: key, context: context) }
    await #expect(throws: ended) { try await reader.read(at: 0, count: 1) }
    await #expect(throws: ended) { try await reader.read(at: 0, count: 0) }
    // Ciphers that were out are cleared themselves, not only refused.
    #expect(throws: ended) { try cipher.withChunks { _ in } }
    let before = output
    #expect(throws: ended) { try sealer.update(RawSpan(), into: &output) }
    #expect(throws: ended) { try sealer.finish(into: &output) }
    #expect(throws: ended) { try opener.update(RawSpan(), into: &output) }
    #expect(throws: ended) { try opener.finish(into: &output) }
    #expect(output == before)
    key.destroy()
  }

  @Test("A key forgets the ciphers of objects that are done")
  func forgets() throws {
    let key = try makeRootKey()
    for _ in 0..<50 { _ = try key.objectCipher(salt: [1], context: [2]) }
    #expect(key.registeredCipherCount == 0)
    let kept = try key.objectCipher(salt: [1], context: [2])
    #expect(key.registeredCipherCount == 1)
    withExtendedLifetime(kept) {}
  }

  @Test("Destroying while others work ends in lease-ended, and nothing else")
  func destroyUnderLoad() async throws {
    let key = try makeRootKey()
    let context = try makeContext()
    let content = pattern(100_000)
    let outcomes = await withTaskGroup(of: Bool.self) { group in
      for worker in 0..<8 {
        group.addTask {
          do {
            while true {
              if worker.isMultiple(of: 2) {
                let sealed = try RecordLayer.seal(
                  content, key: key, layer: .service, context: context, random: SystemRandom())
                let opened = try RecordLayer.open(sealed, key: key, layer: .service, context: context)
                guard opened == content else { return false }
              } else {
                let sealed = try sealLayer(content, key: key, context: context)
                guard try openLayer(sealed, key: key, context: context) == content else { return false }
              }
              if worker == 0 { key.destroy() }
            }
          } catch {
            return (error as? KeyCustodyError)?.reason == .leaseEnded
          }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(outcomes == [Bool](repeating: true, count: 8))
  }
}
