import KeyCustody
import Testing

@testable import KeyCustodyEnvelope

@Suite struct TwoLayersTests {
  private let keys: LayeredKeys
  private let source: TestKeys
  private let context: SealingContext
  private let random = SystemRandom()
  init() throws {
    keys = try makeLayeredKeys()
    source = TestKeys(keys)
    context = try makeContext()
  }

  private func sealObject(_ content: [UInt8], pieceSize: Int = 70_000) async throws -> [UInt8] {
    try await TwoLayers.sealStream(
      Pieces(content, size: pieceSize), keys: keys, context: context, random: random
    ).collected()
  }
  private func openObject(
    _ sealed: [UInt8], _ source: TestKeys? = nil, context: SealingContext? = nil, pieceSize: Int = 33_333
  ) async throws -> [UInt8] {
    try await TwoLayers.openStream(
      Pieces(sealed, size: pieceSize), keys: source ?? self.source, context: context ?? self.context
    ).collected()
  }

  @Test("E2: a record has two layers, each under its own key, the customer's outside", arguments: [0, 100, 1 << 20])
  func record(count: Int) async throws {
    let content = pattern(count)
    let sealed = try TwoLayers.sealRecord(content, keys: keys, context: context, random: random)
    #expect(sealed.count == count + 2 * RecordLayer.overhead)
    #expect(try SealedHeader(parsing: sealed).rootKey == keys.customer.id)
    let inner = try RecordLayer.open(sealed, key: keys.customer, layer: .customer, context: context)
    #expect(try SealedHeader(parsing: inner).rootKey == keys.service.id)
    #expect(try await TwoLayers.openRecord(sealed, keys: source, context: context) == content)
  }

  @Test("E2: layers in the wrong order, or one layer alone, do not open")
  func layersSwapped() async throws {
    let swapped = LayeredKeys(service: keys.customer, customer: keys.service)
    let sealed = try TwoLayers.sealRecord([1], keys: swapped, context: context, random: random)
    await #expect(throws: KeyCustodyError(.integrityFailure, .unknownRootKey, "")) {
      try await TwoLayers.openRecord(sealed, keys: source, context: context)
    }
    let inner = try RecordLayer.seal([1], key: keys.service, layer: .customer, context: context, random: random)
    let wrongName = try RecordLayer.seal(inner, key: keys.customer, layer: .customer, context: context, random: random)
    await #expect(throws: KeyCustodyError(.integrityFailure, .notAuthentic, "")) {
      try await TwoLayers.openRecord(wrongName, keys: source, context: context)
    }
    let alone = try RecordLayer.seal([1], key: keys.customer, layer: .customer, context: context, random: random)
    await #expect(throws: KeyCustodyError.self) {
      try await TwoLayers.openRecord(alone, keys: source, context: context)
    }
  }

  @Test("The outer layer of a record is renewed; the inner stays as it was, byte for byte")
  func renewRecord() async throws {
    let sealed = try TwoLayers.sealRecord(pattern(50), keys: keys, context: context, random: random)
    let newKey = try makeRootKey()
    let renewed = try await TwoLayers.renewOuterLayer(
      ofRecord: sealed, from: OuterOnly(source), to: newKey, context: context, random: random)
    source.add(newKey, .customer)
    #expect(try SealedHeader(parsing: renewed).rootKey == newKey.id)
    #expect(
      try RecordLayer.open(renewed, key: newKey, layer: .customer, context: context)
        == RecordLayer.open(sealed, key: keys.customer, layer: .customer, context: context))
    #expect(try await TwoLayers.openRecord(renewed, keys: source, context: context) == pattern(50))
    let bare = try RecordLayer.seal([1], key: keys.customer, layer: .customer, context: context, random: random)
    await #expect(throws: KeyCustodyError.self, "plaintext is never sealed anew") {
      try await TwoLayers.renewOuterLayer(
        ofRecord: bare, from: source, to: newKey, context: context, random: random)
    }
  }

  @Test(
    "A stream opens to what was sealed, in pieces of any size",
    arguments: [0, 1, 16_383, 16_384, 300_000], [1000, 16_384, 1 << 22])
  func stream(count: Int, pieceSize: Int) async throws {
    let content = pattern(count)
    let sealed = try await sealObject(content, pieceSize: pieceSize)
    let inner = 12 + count + 56 + 16 * (count / 16_384 + 1)
    #expect(sealed.count == 12 + inner + 56 + 16 * (inner / 16_384 + 1))
    #expect(try await openObject(sealed, pieceSize: pieceSize) == content)
  }

  @Test("A stream in pieces of one byte opens", arguments: [20_000])
  func tinyPieces(count: Int) async throws {
    let sealed = try await sealObject(pattern(count), pieceSize: 1)
    #expect(try await openObject(sealed, pieceSize: 1) == pattern(count))
  }

  @Test("A stream that is cut, altered or of another context fails, and never ends quietly")
  func badStream() async throws {
    let sealed = try await sealObject(pattern(50_000))
    for length in [0, 1, 11, 12, 67, 68, 100, 16_468, 40_000, sealed.count - 1] {
      await #expect(throws: KeyCustodyError.self, "\(length) bytes") {
        try await openObject(Array(sealed.prefix(length)))
      }
    }
    var altered = sealed
    altered[20_000] ^= 4
    await #expect(throws: KeyCustodyError(.integrityFailure, .notAuthentic, "")) { try await openObject(altered) }
    let other = try makeContext(object: "other")
    await #expect(throws: KeyCustodyError(.integrityFailure, .notAuthentic, "")) {
      try await openObject(sealed, context: other)
    }
    let record = try TwoLayers.sealRecord(pattern(200), keys: keys, context: context, random: random)
    await #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) { try await openObject(record) }
  }

  @Test("Streams are pulled: nothing is read before somebody asks")
  func backPressure() async throws {
    let counter = Counter()
    let input = CountedPieces(count: 1000, counter: counter)
    let stream = TwoLayers.sealStream(input, keys: keys, context: context, random: random)
    var iterator = stream.makeAsyncIterator()
    #expect(counter.value == 0)
    _ = try await iterator.next()
    #expect((1...3).contains(counter.value))
    _ = try await iterator.next()
    #expect(counter.value <= 5)
  }

  @Test("E8: a revocation stops a long stream within a piece of 1 MiB, in both directions")
  func revocationStops() async throws {
    let content = pattern(5 << 20)
    let sealed = try await sealObject(content, pieceSize: 1 << 20)
    let denied = KeyCustodyError(.denied, .init("policy"), "Revoked.")
    var opening = TwoLayers.openStream(Pieces(sealed, size: 1 << 20), keys: source, context: context)
      .makeAsyncIterator()
    _ = try await opening.next()
    source.refuse(denied)
    var more = 0
    await #expect(throws: denied) { while try await opening.next() != nil { more += 1 } }
    #expect(more <= 2)
    await #expect(throws: denied, "and it stays stopped") { try await opening.next() }

    var sealing = TwoLayers.sealStream(
      Pieces(content, size: 1 << 20), keys: keys, renewingFrom: source, context: context, random: random
    ).makeAsyncIterator()
    keys.customer.destroy()
    await #expect(throws: denied) { while try await sealing.next() != nil {} }
  }

  @Test("E8: sealing asks again when a lease is suspended; granted again, it goes on, and denied, it stops")
  func suspendedLeases() async throws {
    let keys = keys
    let extend: @Sendable (Int) -> Void = { _ in
      for key in [keys.service, keys.customer] { key.extendLease(until: .seconds(60), renewal: .seconds(30)) {} }
    }
    extend(0)
    source.onQuestion(extend)
    let content = pattern(3 << 20)
    let stream = TwoLayers.sealStream(
      Pieces(content, size: 1 << 20), keys: keys, renewingFrom: source, context: context, random: random)
    var sealed: [UInt8] = []
    var pieces = 0
    for try await piece in stream {
      sealed += piece
      pieces += 1
      #expect(source.questions == pieces - 1, "a living lease is not asked for, a suspended one once")
      (pieces.isMultiple(of: 2) ? keys.service : keys.customer).suspendLease()
    }
    #expect(pieces > 2)
    #expect(try await openObject(sealed) == content)

    let denied = KeyCustodyError(.denied, .init("policy"), "Revoked.")
    for suspended in [keys.service, keys.customer] {
      source.refuse(nil)
      extend(0)
      var sealing = stream.makeAsyncIterator()
      #expect(try await sealing.next()?.isEmpty == false)
      source.onQuestion { _ in }
      source.refuse(denied)
      suspended.suspendLease()
      await #expect(throws: denied) { try await sealing.next() }
      extend(0)
      await #expect(throws: denied, "and it stays stopped") { try await sealing.next() }
    }
  }

  @Test("A stream that can't ask again ends when its lease is suspended")
  func suspendedForGood() async throws {
    var sealing = TwoLayers.sealStream(
      Pieces(pattern(3 << 20), size: 1 << 20), keys: keys, context: context, random: random
    ).makeAsyncIterator()
    _ = try await sealing.next()
    keys.service.suspendLease()
    await #expect(throws: KeyCustodyError(.unavailable, .leaseEnded, "")) { try await sealing.next() }
  }

  @Test("A lease that is renewed in the middle of streams does not disturb them")
  func renewedLeases() async throws {
    let (service, customer) = (pattern(32), pattern(33).suffix(32))
    let make: @Sendable () throws -> LayeredKeys = {
      LayeredKeys(
        service: try RootKey(material: SecretBytes(copying: service)),
        customer: try RootKey(material: SecretBytes(copying: Array(customer))))
    }
    let source = TestKeys(try make())
    let content = pattern(4 << 20)
    let keys = try make()
    // Before each answer the keys that are out are destroyed and replaced.
    let current = Current(keys)
    source.onQuestion { _ in
      guard let fresh = try? make() else { return }
      current.replace(fresh)
      source.add(fresh.service, .service)
      source.add(fresh.customer, .customer)
    }
    var sealed: [UInt8] = []
    let stream = TwoLayers.sealStream(
      Pieces(content, size: 200_000), keys: keys, renewingFrom: source, context: context, random: random)
    for try await piece in stream {
      sealed += piece
      current.destroy()
    }
    #expect(source.questions > 20)
    #expect(try await openObject(sealed, source, pieceSize: 600_000) == content)
  }

  @Test("A source that always answers with ended leases does not keep a stream waiting for ever")
  func endedLeases() async throws {
    let sealed = try await sealObject(pattern(100))
    keys.service.destroy()
    await #expect(throws: KeyCustodyError(.unavailable, .leaseEnded, "")) { try await openObject(sealed) }
    await #expect(throws: KeyCustodyError(.unavailable, .leaseEnded, "")) {
      try await TwoLayers.reader(over: MemoryBytes(bytes: sealed), keys: source, context: context)
    }
    await #expect(throws: KeyCustodyError(.unavailable, .leaseEnded, "")) {
      try await TwoLayers.sealStream(
        Pieces([1], size: 1), keys: keys, renewingFrom: source, context: context, random: random
      ).collected()
    }
  }

  @Test("A reader over both layers reads anywhere", arguments: [0, 1, 16_383, 16_384, 200_000])
  func reader(count: Int) async throws {
    let content = pattern(count)
    let sealed = try await sealObject(content)
    let reader = try await TwoLayers.reader(over: MemoryBytes(bytes: sealed), keys: source, context: context)
    #expect(reader.size == Int64(count))
    for (offset, length) in [(0, count), (count / 2, 4096), (16_000, 1000), (max(0, count - 10), 100)] {
      let found = try await reader.read(at: Int64(offset), count: length)
      #expect(found == Array(content.dropFirst(offset).prefix(length)))
    }
    source.refuse(KeyCustodyError(.disabled, .init("key-disabled"), "Off."))
    await #expect(throws: KeyCustodyError(.disabled, .init("key-disabled"), "")) {
      try await reader.read(at: 0, count: 1)
    }
    source.refuse(nil)
    let again = try await reader.read(at: 0, count: 1)
    #expect(again == Array(content.prefix(1)))
  }
}

/// Refuses every question for the inner layer's key.
struct OuterOnly: RootKeySource {
  let base: TestKeys
  init(_ base: TestKeys) { self.base = base }
  func rootKey(_ id: RootKeyID, layer: Layer) async throws(KeyCustodyError) -> RootKey {
    guard layer == .customer else { throw KeyCustodyError(.denied, .init("inner"), "Not for this job.") }
    return try await base.rootKey(id, layer: layer)
  }
}
