import KeyCustody
import KeyCustodyCrypto
import Testing

@testable import KeyCustodyEnvelope

/// AES-GCM alone does not commit to its key: ciphertexts that open under two keys are made here, and refused.
@Suite struct TwoKeyTests {
  private let context: SealingContext
  private let materials: [[UInt8]]
  init() throws {
    context = try makeContext()
    materials = try (0..<2).map { _ in try SystemRandom().bytes(32) }
  }

  private func key(_ index: Int) throws -> RootKey { try RootKey(material: SecretBytes(copying: materials[index])) }

  private func derived(_ label: String, _ index: Int) throws -> [UInt8] {
    let material = SecretBytes(copying: materials[index])
    let secret = try material.withBytes { bytes in
      try Hashing.expand(.sha512, key: bytes, info: Array("key-custody/v1/\(label)".utf8), count: 32)
    }
    return secret.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
  }

  /// The second key's secrets under the first key's commitment: what a reader would use if commitments weren't compared.
  private func unpinned() throws -> RootKey {
    RootKey(
      object: SecretBytes(copying: try derived("object", 1)), record: SecretBytes(copying: try derived("record", 1)),
      commitment: try key(0).commitment)
  }

  private func gcm(ofRecordsUnder index: Int, nonce: [UInt8]) throws -> OpenGCM {
    var xaes = try XAESKey(SecretBytes(copying: try derived("record", index)))
    let key = try xaes.derive(NoncePrefix(unsafe nonce.span.bytes))
    return try OpenGCM(key: key.withBytes { bytes in (0..<32).map { bytes[$0] } }, nonce: Array(nonce[12...]))
  }

  @Test("The field arithmetic gives the tags that AES-256-GCM gives")
  func field() throws {
    let (key, nonce) = (try SystemRandom().bytes(32), try SystemRandom().bytes(12))
    let (extra, content) = (pattern(37), pattern(53))
    var cipher = try AES256GCM(key: unsafe key.span.bytes)
    var sealed: [UInt8] = []
    try sealed.append(count: content.count + 16) { (output: inout MutableRawSpan) throws(KeyCustodyError) in
      try cipher.seal(
        unsafe content.span.bytes, nonce: unsafe nonce.span.bytes, additionalData: unsafe extra.span.bytes,
        into: &output)
    }
    let tag = try OpenGCM(key: key, nonce: nonce).tag(extra, Array(sealed.dropLast(16)))
    #expect(tag.bytes == Array(sealed.suffix(16)))
    let some = GaloisField(pattern(16))
    #expect(some * some.inverse == .one)
  }

  @Test("A record made to be valid under two root keys opens under the one it names, never under the other")
  func record() async throws {
    let (first, second) = (try key(0), try key(1))
    let header = SealedHeader(kind: .record, rootKey: first.id)
    let nonce = try SystemRandom().bytes(24)
    let aad = context.encoded(for: .service, header: header)
    let sealed =
      header.bytes + nonce
      + OpenGCM.collision(
        try gcm(ofRecordsUnder: 0, nonce: nonce), try gcm(ofRecordsUnder: 1, nonce: nonce), extra: aad)
    func open(_ sealed: [UInt8], _ key: RootKey) throws -> [UInt8] {
      try RecordLayer.open(sealed, key: key, layer: .service, context: context)
    }
    // The forgery is real: it opens to two contents if nothing pins the key.
    let content = try open(sealed, first)
    let other = try open(sealed, try unpinned())
    #expect(content != other)
    let unknown = KeyCustodyError(.integrityFailure, .unknownRootKey, "")
    // Cold, and with the derived keys of that nonce kept.
    for _ in 0..<2 {
      #expect(throws: unknown) { try open(sealed, second) }
      #expect(try open(sealed, first) == content)
    }
    let rewritten = SealedHeader(kind: .record, rootKey: second.id).bytes + sealed.dropFirst(SealedHeader.length)
    for _ in 0..<2 {
      #expect(throws: KeyCustodyError(.integrityFailure, .notAuthentic, "")) { try open(rewritten, second) }
    }
    // Two layers, and a source that hands out the other key for the name asked for.
    let customer = try makeRootKey()
    let whole = try RecordLayer.seal(
      sealed, key: customer, layer: .customer, context: context, random: SystemRandom())
    let honest = TestKeys(LayeredKeys(service: first, customer: customer))
    let found = try await TwoLayers.openRecord(whole, keys: honest, context: context)
    #expect(found == content)
    await #expect(throws: unknown) {
      try await TwoLayers.openRecord(
        whole, keys: Substitute(service: second, customer: customer), context: context)
    }
    #expect(first.commitment != second.commitment && first.id != second.id)
  }

  @Test("An object with a chunk made to be valid under two root keys opens under the one it names, never the other")
  func object() async throws {
    let (first, second) = (try key(0), try key(1))
    let header = SealedHeader(kind: .object, rootKey: first.id)
    let salt = try SystemRandom().bytes(24)
    let encoded = context.encoded(for: .service, header: header)
    let parts = try (0..<2).map { index in
      let secret = try SecretBytes(copying: try derived("object", index)).withBytes { bytes in
        try Hashing.expand(.sha512, key: bytes, info: Cobblestone.label + salt + encoded, count: 76)
      }
      return secret.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
    }
    let gcms = try parts.map { try OpenGCM(key: Array($0[..<32]), nonce: Array($0[32..<44])) }
    let chunk = OpenGCM.collision(gcms[0], gcms[1], extra: [])
    let sealed = header.bytes + salt + Array(parts[0][44...]) + chunk
    let content = try openLayer(sealed, key: first, context: context)
    #expect(content.count == 16)
    // The chunk is valid under the other key too; salt and commitment are what refuse it.
    let other = header.bytes + salt + Array(parts[1][44...]) + chunk
    #expect(try openLayer(other, key: try unpinned(), context: context) != content)
    let altered = KeyCustodyError(.integrityFailure, .notAuthentic, "")
    #expect(throws: altered) { try openLayer(sealed, key: try unpinned(), context: context) }
    #expect(throws: KeyCustodyError(.integrityFailure, .unknownRootKey, "")) {
      try openLayer(sealed, key: second, context: context)
    }
    let rewritten = SealedHeader(kind: .object, rootKey: second.id).bytes + sealed.dropFirst(SealedHeader.length)
    #expect(throws: altered) { try openLayer(rewritten, key: second, context: context) }
    await #expect(throws: altered) {
      try await ObjectLayerReader(
        over: MemoryBytes(bytes: rewritten), key: second, layer: .service, context: context)
    }
  }
}

/// Hands out keys whatever name is asked for.
private struct Substitute: RootKeySource {
  let service: RootKey
  let customer: RootKey
  func rootKey(_ id: RootKeyID, layer: Layer) async throws(KeyCustodyError) -> RootKey {
    layer == .service ? service : customer
  }
}
