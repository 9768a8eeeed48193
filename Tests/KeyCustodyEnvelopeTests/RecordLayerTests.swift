import KeyCustody
import KeyCustodyCrypto
import Testing

@testable import KeyCustodyEnvelope

@Suite struct RecordLayerTests {
  private let key: RootKey
  private let context: SealingContext
  init() throws {
    key = try makeRootKey()
    context = try makeContext()
  }

  private func seal(_ content: [UInt8], layer: Layer = .service) throws -> [UInt8] {
    try RecordLayer.seal(content, key: key, layer: layer, context: context, random: SystemRandom())
  }

  @Test("A record opens to what was sealed", arguments: [0, 1, 15, 16, 17, 1000, 65_536, 1 << 20])
  func roundTrip(count: Int) throws {
    let content = pattern(count)
    let sealed = try seal(content)
    #expect(sealed.count == count + RecordLayer.overhead)
    #expect(try RecordLayer.open(sealed, key: key, layer: .service, context: context) == content)
    #expect(count < 16 || !sealed.indices.contains { sealed[$0...].starts(with: content.prefix(16)) })
  }

  @Test("A record has 1 MiB at most, and room for one more layer")
  func limit() throws {
    let tooBig = KeyCustodyError(.invalidInput, .wrongSize, "")
    let most = [UInt8](repeating: 0, count: 1 << 20)
    let keys = try makeLayeredKeys()
    _ = try TwoLayers.sealRecord(most, keys: keys, context: context, random: SystemRandom())
    #expect(throws: tooBig) {
      try TwoLayers.sealRecord(most + [0], keys: keys, context: context, random: SystemRandom())
    }
    #expect(throws: tooBig) { try seal([UInt8](repeating: 0, count: RecordLayer.maximumLayerLength + 1)) }
  }

  @Test("E14: every flipped bit of a record is found")
  func everyBit() throws {
    let sealed = try seal(pattern(20))
    for bit in 0..<(8 * sealed.count) {
      var altered = sealed
      altered[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(refuses { _ = try RecordLayer.open(altered, key: key, layer: .service, context: context) }, "bit \(bit)")
    }
  }

  @Test("Every truncation of a record, and anything after it, is found")
  func everyLength() throws {
    let sealed = try seal(pattern(20))
    for count in 0..<sealed.count {
      let cut = Array(sealed.prefix(count))
      #expect(refuses { _ = try RecordLayer.open(cut, key: key, layer: .service, context: context) }, "\(count) bytes")
    }
    let longer = sealed + [0]
    #expect(refuses { _ = try RecordLayer.open(longer, key: key, layer: .service, context: context) })
    let short = KeyCustodyError(.integrityFailure, .truncated, "")
    let cut = Array(sealed.prefix(RecordLayer.overhead - 1))
    #expect(throws: short) { try RecordLayer.open(cut, key: key, layer: .service, context: context) }
  }

  @Test("E14: a record opens in its own layer and context only")
  func wrongContext() throws {
    let sealed = try seal([1, 2, 3])
    let altered = KeyCustodyError(.integrityFailure, .notAuthentic, "")
    let others = [
      try makeContext(resource: "bot-2"), try makeContext(dataClass: "transient"),
      try makeContext(object: "conversations/8"), try makeContext(identifiers: [:]),
      try makeContext(identifiers: ["tenant": "t-1", "user": "u-3"]),
      try makeContext(identifiers: ["tenant": "t-1", "User": "u-2"]),
      try makeContext(identifiers: ["tenant": "u-2", "user": "t-1"]),
      try makeContext(identifiers: ["tenant": "t-1", "user": "u-2", "more": ""]),
    ]
    for other in others {
      #expect(throws: altered) { try RecordLayer.open(sealed, key: key, layer: .service, context: other) }
    }
    #expect(throws: altered) { try RecordLayer.open(sealed, key: key, layer: .customer, context: context) }
    let sameNames = try makeContext(resource: "BOT-1", dataClass: "LongTerm")
    #expect(try RecordLayer.open(sealed, key: key, layer: .service, context: sameNames) == [1, 2, 3])
  }

  @Test("A record under another root key is refused, and so is one whose header was rewritten to this key")
  func otherKey() throws {
    let other = try makeRootKey()
    let sealed = try RecordLayer.seal([1], key: other, layer: .service, context: context, random: SystemRandom())
    #expect(throws: KeyCustodyError(.integrityFailure, .unknownRootKey, "")) {
      try RecordLayer.open(sealed, key: key, layer: .service, context: context)
    }
    let rewritten = SealedHeader(kind: .record, rootKey: key.id).bytes + sealed.dropFirst(SealedHeader.length)
    #expect(throws: KeyCustodyError(.integrityFailure, .notAuthentic, "")) {
      try RecordLayer.open(rewritten, key: key, layer: .service, context: context)
    }
  }

  @Test("A sealed object does not pass for a record, nor a record for an object")
  func otherKind() throws {
    let wrong = KeyCustodyError(.invalidInput, .malformed, "")
    let object = try sealLayer([1], key: key, context: context)
    #expect(throws: wrong) { try RecordLayer.open(object, key: key, layer: .service, context: context) }
    let record = try seal(pattern(100))
    #expect(throws: wrong) { try openLayer(record, key: key, context: context) }
    // With the kind rewritten too, neither opens.
    let asRecord = SealedHeader(kind: .record, rootKey: key.id).bytes + object.dropFirst(SealedHeader.length)
    #expect(refuses { _ = try RecordLayer.open(asRecord, key: key, layer: .service, context: context) })
    let asObject = SealedHeader(kind: .object, rootKey: key.id).bytes + record.dropFirst(SealedHeader.length)
    #expect(refuses { _ = try openLayer(asObject, key: key, context: context) })
  }

  private func nonce(_ sealed: [UInt8]) -> [UInt8] { Array(sealed[12..<36]) }

  @Test("Nonces never repeat over many seals, one after another and at once; the first half stays")
  func nonces() async throws {
    let (key, context) = (key, context)
    let nonces = try await withThrowingTaskGroup(of: [[UInt8]].self) { group in
      for _ in 0..<8 {
        group.addTask {
          try (0..<500).map { _ in
            let sealed = try RecordLayer.seal(
              [7], key: key, layer: .service, context: context, random: SystemRandom())
            return Array(sealed[12..<36])
          }
        }
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
    #expect(Set(nonces).count == 4000)
    let first = try seal([1])
    let second = try seal([1])
    #expect(nonce(first).prefix(12) == nonce(second).prefix(12))
    #expect(nonce(first) != nonce(second))
  }

  @Test("A sealer ends after 2^32 records or 2^48 bytes")
  func renewal() throws {
    func sealer(records: UInt64, bytes: UInt64) throws -> DerivedSealer {
      var xaes = try XAESKey(SecretBytes(copying: [UInt8](repeating: 1, count: 32)))
      let prefix = NoncePrefix(unsafe [UInt8](repeating: 2, count: 12).span.bytes)
      return DerivedSealer(
        cipher: try xaes.cipher(prefix, for: .sealing), prefix: prefix, records: records, bytes: bytes)
    }
    var sealer1 = try sealer(records: (1 << 32) - 1, bytes: 0)
    let had = sealer1.has(roomFor: 1)
    let nonce = sealer1.nextNonce(for: 1)
    let has = sealer1.has(roomFor: 1)
    #expect(had && !has)
    let last = (nonce[0], nonce[1], nonce[2])
    #expect(last == (0, 0, 0xffff_ffff))
    let sealer2 = try sealer(records: 0, bytes: (1 << 48) - 10)
    let room = (sealer2.has(roomFor: 10), sealer2.has(roomFor: 11))
    #expect(room == (true, false))
  }

  @Test("Records of many sealers open with one key, whatever is still kept of them")
  func manySealers() throws {
    let material = SecretBytes(copying: [UInt8](repeating: 9, count: 32))
    let sealed = try (0..<30).map { index in
      // Each key is a lease of its own, and so has a sealer of its own.
      try RecordLayer.seal(
        [UInt8(index)], key: try RootKey(material: material), layer: .service, context: context,
        random: SystemRandom())
    }
    #expect(Set(sealed.map { nonce($0).prefix(12) }).count == 30)
    let key = try RootKey(material: material)
    for _ in 0..<3 {
      for (index, record) in sealed.enumerated() {
        #expect(try RecordLayer.open(record, key: key, layer: .service, context: context) == [UInt8(index)])
      }
    }
  }
}
