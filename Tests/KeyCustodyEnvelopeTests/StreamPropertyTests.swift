import KeyCustody
import Testing

@testable import KeyCustodyEnvelope

/// What holds for contents and pieces of every size.
///
/// Sizes are random around the ends of chunks; the seed is printed.
@Suite struct StreamPropertyTests {
  private let keys: LayeredKeys
  private let source: TestKeys
  private let context: SealingContext
  init() throws {
    keys = try makeLayeredKeys()
    source = TestKeys(keys)
    context = try makeContext()
  }

  private static let fixedSizes = [0, 1, 15, 16, 17, 16_383, 16_384, 16_385, 32_767, 32_768, 32_769, 65_536]

  private func seal(_ content: [UInt8], pieces: [[UInt8]], salt: UInt8) throws -> [UInt8] {
    var sealer = try ObjectLayerSealer(
      key: keys.service, layer: .service, context: context,
      random: FixedRandom([UInt8](repeating: salt, count: 24)))
    var sealed: [UInt8] = []
    for piece in pieces { try sealer.update(unsafe piece.span.bytes, into: &sealed) }
    try sealer.finish(into: &sealed)
    return sealed
  }

  @Test("Pieces of any size seal to what the whole seals to, and open to what the whole opens to")
  func streamingEqualsWhole() throws {
    var generator = SeededGenerator.announced("streaming equals whole")
    let sizes = Self.fixedSizes + (0..<60).map { _ in generator.size() }
    for size in sizes {
      let content = pattern(size)
      let whole = try seal(content, pieces: [content], salt: 1)
      #expect(try seal(content, pieces: generator.cut(content), salt: 1) == whole, "\(size) bytes")
      var opener = ObjectLayerOpener(key: keys.service, layer: .service, context: context)
      var opened: [UInt8] = []
      for piece in generator.cut(whole) { try opener.update(unsafe piece.span.bytes, into: &opened) }
      #expect(opened.count % Cobblestone.chunkLength == 0, "whole chunks come out before the end")
      try opener.finish(into: &opened)
      #expect(opened == content, "\(size) bytes")
    }
    print("streaming equals whole: \(sizes.count) sizes")
  }

  @Test("Two layers in a stream, by random access and as the whole give the same content")
  func randomAccessEqualsWhole() async throws {
    var generator = SeededGenerator.announced("random access equals whole")
    let sizes = Self.fixedSizes + (0..<25).map { _ in generator.size() }
    var reads = 0
    for size in sizes {
      let content = pattern(size)
      let stream = TwoLayers.sealStream(
        ListedPieces(generator.cut(content)), keys: keys, context: context, random: SystemRandom())
      let sealed = try await stream.collected()
      let opened = try await TwoLayers.openStream(
        ListedPieces(generator.cut(sealed)), keys: source, context: context
      ).collected()
      #expect(opened == content, "\(size) bytes")
      let reader = try await TwoLayers.reader(
        over: MemoryBytes(bytes: sealed), keys: source, context: context)
      #expect(reader.size == Int64(size))
      for _ in 0..<12 {
        let offset = Bool.random(using: &generator) ? min(generator.size(), size) : Int.random(in: 0...size)
        let count = generator.size()
        let found = try await reader.read(at: Int64(offset), count: count)
        #expect(found == Array(content.dropFirst(offset).prefix(count)), "\(count) at \(offset) of \(size)")
        reads += 1
      }
    }
    print("random access equals whole: \(sizes.count) sizes, \(reads) reads")
  }

  @Test("A stream cut at any byte releases authentic whole chunks alone, and never ends without an error")
  func everyCut() throws {
    let content = pattern(Cobblestone.chunkLength + 300)
    let sealed = try sealLayer(content, key: keys.service, context: context)
    let (prelude, chunk) = (Cobblestone.preludeLength, Cobblestone.sealedChunkLength)
    var byReason: [KeyCustodyError.Reason: Int] = [:]
    for count in 0..<sealed.count {
      var opener = ObjectLayerOpener(key: keys.service, layer: .service, context: context)
      var released: [UInt8] = []
      try opener.update(unsafe sealed.span.bytes.extracting(0..<count), into: &released)
      let whole = max(0, count - prelude) / chunk * Cobblestone.chunkLength
      #expect(released.count == whole && content.starts(with: released), "cut at \(count)")
      var refusal: KeyCustodyError?
      do throws(KeyCustodyError) { try opener.finish(into: &released) } catch { refusal = error }
      #expect(released.count == whole, "nothing more comes out at the end, cut at \(count)")
      let error = try #require(refusal, "cut at \(count)")
      #expect(error.code == .integrityFailure)
      // Where a tag's worth of bytes is left, the rest passes for a last chunk that was altered; before that, what
      // is missing can be told.
      let left = count < prelude ? 0 : (count - prelude) % chunk
      #expect(error.reason == .truncated, "cut at \(count), \(left) bytes into a chunk")
      byReason[error.reason, default: 0] += 1
    }
    #expect(byReason.keys.allSatisfy { $0 == .truncated || $0 == .notAuthentic })
    let counts = byReason.map { "\($0.value) \($0.key)" }.sorted().joined(separator: ", ")
    print("a stream cut at \(sealed.count) places: \(counts), 0 complete")
  }

  @Test("A stream cut within a chunk says that its end may be missing")
  func cutWithinChunk() throws {
    let sealed = try sealLayer(pattern(20_000), key: keys.service, context: context)
    // By then the prelude has shown that key and context are right: what is left is damage or a missing end.
    let error = try #require(throws: KeyCustodyError.self) {
      try openLayer(Array(sealed.prefix(10_000)), key: keys.service, context: context)
    }
    #expect(error.code == .integrityFailure)
    #expect(error.reason == .truncated && error.message.contains("cut off"))
  }

  @Test("A stream of two layers cut anywhere releases a prefix of the content and ends in an error")
  func cutStreams() async throws {
    var generator = SeededGenerator.announced("streams cut")
    let content = pattern(40_000)
    let stream = TwoLayers.sealStream(
      ListedPieces([content]), keys: keys, context: context, random: SystemRandom())
    let sealed = try await stream.collected()
    let places = [0, 11, 12, 67, 68, 200] + (0..<300).map { _ in Int.random(in: 0..<sealed.count, using: &generator) }
    for place in places {
      let cut = generator.cut(Array(sealed.prefix(place)))
      var released: [UInt8] = []
      await #expect(throws: KeyCustodyError.self, "cut at \(place)") {
        for try await piece in TwoLayers.openStream(ListedPieces(cut), keys: source, context: context) {
          released += piece
        }
      }
      #expect(released.count < content.count && content.starts(with: released), "cut at \(place)")
      await #expect(throws: KeyCustodyError.self, "cut at \(place)") {
        try await TwoLayers.reader(
          over: MemoryBytes(bytes: Array(sealed.prefix(place))), keys: source, context: context)
      }
    }
    print("streams of two layers cut at \(places.count) places: 0 complete")
  }
}

/// Pieces as they are given.
private struct ListedPieces: AsyncSequence, Sendable {
  let pieces: [[UInt8]]
  init(_ pieces: [[UInt8]]) { self.pieces = pieces }
  struct Iterator: AsyncIteratorProtocol {
    var rest: ArraySlice<[UInt8]>
    mutating func next() async throws -> [UInt8]? { rest.popFirst() }
  }
  func makeAsyncIterator() -> Iterator { Iterator(rest: pieces[...]) }
}
