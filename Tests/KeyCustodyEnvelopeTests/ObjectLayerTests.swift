import KeyCustody
import Testing

@testable import KeyCustodyEnvelope

@Suite struct ObjectLayerTests {
  private let key: RootKey
  private let context: SealingContext
  init() throws {
    key = try makeRootKey()
    context = try makeContext()
  }

  static let sizes = [
    0, 1, 15, 16, 16_367, 16_383, 16_384, 16_385, 16_400, 32_767, 32_768, 32_769, 100_000, (2 << 20) + 1,
  ]

  @Test("An object opens to what was sealed, and has the length the format says", arguments: sizes)
  func roundTrip(count: Int) throws {
    let content = pattern(count)
    let sealed = try sealLayer(content, key: key, context: context)
    #expect(sealed.count == 12 + count + 56 + 16 * (count / 16_384 + 1))
    #expect(try openLayer(sealed, key: key, context: context) == content)
  }

  @Test("Odd pieces give what the whole gives", arguments: [1, 7, 67, 68, 69, 16_383, 16_384, 16_385, 16_400, 40_001])
  func pieces(size: Int) throws {
    let content = pattern(size < 10 ? 17_000 : 90_000)
    let sealed = try sealLayer(content, key: key, context: context, pieceSize: size)
    #expect(try openLayer(sealed, key: key, context: context) == content)
    #expect(try openLayer(sealed, key: key, context: context, pieceSize: size) == content)
    // With the same salt, pieces and whole are the same bytes.
    let salt = [UInt8](repeating: 3, count: 24)
    var outputs: [[UInt8]] = [[], []]
    for (index, pieceSize) in [size, content.count].enumerated() {
      var sealer = try ObjectLayerSealer(key: key, layer: .service, context: context, random: FixedRandom(salt))
      for start in stride(from: 0, to: content.count, by: pieceSize) {
        let end = min(start + pieceSize, content.count)
        try sealer.update(unsafe content.span.bytes.extracting(start..<end), into: &outputs[index])
      }
      try sealer.finish(into: &outputs[index])
    }
    #expect(outputs[0] == outputs[1])
  }

  @Test("Reading anywhere gives what the whole gives", arguments: sizes)
  func randomAccess(count: Int) async throws {
    let content = pattern(count)
    let sealed = try sealLayer(content, key: key, context: context)
    let reader = try await ObjectLayerReader(
      over: MemoryBytes(bytes: sealed), key: key, layer: .service, context: context)
    #expect(reader.size == Int64(count))
    var generator = SystemRandomNumberGenerator()
    var reads = [(0, count), (0, count + 10), (count, 10), (count + 5, 5), (max(0, count - 1), 2)]
    reads += [(16_383, 2), (16_384, 16_384), (10, 16_384 * 2)]
    reads += (0..<20).map { _ in
      (Int.random(in: 0...count, using: &generator), Int.random(in: 0...50_000, using: &generator))
    }
    for (offset, length) in reads {
      let expected = Array(content.dropFirst(offset).prefix(length))
      let found = try await reader.read(at: Int64(offset), count: length)
      #expect(found == expected, "\(length) at \(offset)")
    }
    await #expect(throws: KeyCustodyError(.invalidInput, .wrongSize, "")) { try await reader.read(at: -1, count: 1) }
    await #expect(throws: KeyCustodyError(.invalidInput, .wrongSize, "")) { try await reader.read(at: 0, count: -1) }
  }

  @Test("E14: every altered byte of an object is found, in a stream and by random access", arguments: [0, 5, 16_384])
  func everyByte(count: Int) async throws {
    let sealed = try sealLayer(pattern(count), key: key, context: context)
    // Of a full chunk, every 97th byte and its ends.
    let positions = sealed.indices.filter { sealed.count < 1000 || $0 < 200 || $0 > 16_400 || $0 % 97 == 0 }
    for position in positions {
      var altered = sealed
      altered[position] ^= 1 << UInt8(position % 8)
      #expect(refuses { _ = try openLayer(altered, key: key, context: context) }, "byte \(position)")
      let error = await #expect(throws: KeyCustodyError.self, "byte \(position)") {
        let reader = try await ObjectLayerReader(
          over: MemoryBytes(bytes: altered), key: key, layer: .service, context: context)
        _ = try await reader.read(at: 0, count: count + 1)
      }
      #expect(error.map { [.integrityFailure, .invalidInput, .unsupported].contains($0.code) } == true)
    }
  }

  @Test("Every truncation of an object is found, and so is anything after it")
  func everyLength() async throws {
    let content = pattern(16_384 + 3)
    let sealed = try sealLayer(content, key: key, context: context)
    let chunkEnd = Cobblestone.preludeLength + Cobblestone.sealedChunkLength
    let lengths = Array(0..<200) + Array((chunkEnd - 20)..<sealed.count) + [1000, 8000]
    for length in lengths {
      let cut = Array(sealed.prefix(length))
      #expect(refuses { _ = try openLayer(cut, key: key, context: context) }, "\(length) bytes")
      await #expect(throws: KeyCustodyError.self, "\(length) bytes") {
        try await ObjectLayerReader(over: MemoryBytes(bytes: cut), key: key, layer: .service, context: context)
      }
    }
    let cutAtChunk = Array(sealed.prefix(chunkEnd))
    #expect(throws: KeyCustodyError(.integrityFailure, .truncated, "")) {
      try openLayer(cutAtChunk, key: key, context: context)
    }
    for extra in [1, 16, 16_400] {
      let longer = sealed + [UInt8](repeating: 0, count: extra)
      #expect(refuses { _ = try openLayer(longer, key: key, context: context) })
      await #expect(throws: KeyCustodyError.self) {
        try await ObjectLayerReader(over: MemoryBytes(bytes: longer), key: key, layer: .service, context: context)
      }
    }
  }

  @Test("E14: an object opens in its own layer, context and key only")
  func wrongContext() throws {
    let sealed = try sealLayer([1, 2, 3], key: key, context: context)
    let altered = KeyCustodyError(.integrityFailure, .notAuthentic, "")
    let others = [
      try makeContext(resource: "bot-2"), try makeContext(dataClass: "transient"), try makeContext(object: "other"),
      try makeContext(identifiers: ["tenant": "t-2", "user": "u-2"]),
    ]
    for other in others { #expect(throws: altered) { try openLayer(sealed, key: key, context: other) } }
    #expect(throws: altered) { try openLayer(sealed, key: key, layer: .customer, context: context) }
    let otherKey = try makeRootKey()
    #expect(throws: KeyCustodyError(.integrityFailure, .unknownRootKey, "")) {
      try openLayer(sealed, key: otherKey, context: context)
    }
    let rewritten = SealedHeader(kind: .object, rootKey: otherKey.id).bytes + sealed.dropFirst(SealedHeader.length)
    #expect(throws: altered) { try openLayer(rewritten, key: otherKey, context: context) }
  }

  @Test("Chunks can't be swapped, repeated or dropped")
  func chunks() throws {
    let sealed = try sealLayer(pattern(3 * 16_384 + 9), key: key, context: context)
    let (start, length) = (Cobblestone.preludeLength, Cobblestone.sealedChunkLength)
    let prelude = sealed[..<start]
    let parts = (0..<3).map { sealed[(start + $0 * length)..<(start + ($0 + 1) * length)] }
    let last = sealed[(start + 3 * length)...]
    let forms: [[ArraySlice<UInt8>]] = [
      [parts[1], parts[0], parts[2], last], [parts[0], parts[0], parts[2], last], [parts[0], parts[2], last],
      [parts[0], parts[1], parts[2]], [parts[0], parts[1], parts[2], parts[2], last], [last],
    ]
    for form in forms {
      let altered = Array(prelude) + form.flatMap { $0 }
      #expect(refuses { _ = try openLayer(altered, key: key, context: context) })
    }
  }

  @Test("What comes out before an error is authentic, and the error stays")
  func errorsStay() throws {
    let content = pattern(2 * 16_384 + 100)
    var sealed = try sealLayer(content, key: key, context: context)
    sealed[Cobblestone.preludeLength + Cobblestone.sealedChunkLength + 5] ^= 1
    var opener = ObjectLayerOpener(key: key, layer: .service, context: context)
    var output: [UInt8] = []
    let altered = KeyCustodyError(.integrityFailure, .notAuthentic, "")
    #expect(throws: altered) { try opener.update(unsafe sealed.span.bytes, into: &output) }
    #expect(output == Array(content.prefix(16_384)))
    #expect(throws: altered) { try opener.update(unsafe sealed.span.bytes, into: &output) }
    #expect(throws: altered) { try opener.finish(into: &output) }
    #expect(output.count == 16_384)
  }

  @Test("After its end neither a sealer nor an opener goes on")
  func ended() throws {
    let wrongState = KeyCustodyError(.invalidInput, .wrongState, "")
    var sealer = try ObjectLayerSealer(key: key, layer: .service, context: context, random: SystemRandom())
    var sealed: [UInt8] = []
    try sealer.finish(into: &sealed)
    #expect(throws: wrongState) { try sealer.update(RawSpan(), into: &sealed) }
    #expect(throws: wrongState) { try sealer.finish(into: &sealed) }
    var opener = ObjectLayerOpener(key: key, layer: .service, context: context)
    var content: [UInt8] = []
    try opener.update(unsafe sealed.span.bytes, into: &content)
    try opener.finish(into: &content)
    #expect(throws: wrongState) { try opener.update(RawSpan(), into: &content) }
    #expect(throws: wrongState) { try opener.finish(into: &content) }
  }

  @Test("A sealer is closed for good by any error; what may open it again is the same root key, after its lease's end")
  func closedByErrors() throws {
    let content = pattern(40_000)
    var sealed: [UInt8] = []
    var sealer = try ObjectLayerSealer(key: key, layer: .service, context: context, random: SystemRandom())
    let mismatch = KeyCustodyError(.integrityFailure, .commitmentMismatch, "")
    let other = try makeRootKey()
    #expect(throws: mismatch) { try sealer.renew(other) }
    #expect(throws: mismatch) { try sealer.update(unsafe content.span.bytes, into: &sealed) }
    #expect(throws: mismatch) { try sealer.renew(key) }
    #expect(throws: mismatch) { try sealer.finish(into: &sealed) }
    #expect(sealed.isEmpty)

    sealer = try ObjectLayerSealer(key: key, layer: .service, context: context, random: SystemRandom())
    let ended = KeyCustodyError(.unavailable, .leaseEnded, "")
    try sealer.update(unsafe content.span.bytes, into: &sealed)
    let count = sealed.count
    key.suspendLease()
    #expect(throws: ended) { try sealer.update(unsafe content.span.bytes, into: &sealed) }
    key.extendLease(until: .seconds(60), renewal: .seconds(30)) {}
    #expect(throws: ended) { try sealer.update(unsafe content.span.bytes, into: &sealed) }
    #expect(throws: ended) { try sealer.finish(into: &sealed) }
    #expect(sealed.count == count)
    try sealer.renew(key)
    try sealer.update(unsafe content.span.bytes, into: &sealed)
    try sealer.finish(into: &sealed)
    #expect(try openLayer(sealed, key: key, context: context) == content + content)
  }

  @Test("Two objects never share a salt, nor any bytes after the header")
  func salts() throws {
    let first = try sealLayer(pattern(64), key: key, context: context)
    let second = try sealLayer(pattern(64), key: key, context: context)
    #expect(first.prefix(12) == second.prefix(12))
    #expect(first[12..<36] != second[12..<36])
    #expect(first[36..<68] != second[36..<68])
  }
}
