@testable import KeyCustody
@testable import KeyCustodyEnvelope

extension FuzzTarget {
  private static let originals: [(sealed: [UInt8], content: [UInt8])] = [0, 40, 16_300].enumerated().map {
    index, count in
    let content = pattern(count)
    let sealed = immediately { () async -> [UInt8]? in
      var sealed: [UInt8] = []
      let stream = TwoLayers.sealStream(
        Pieces(pieces: [content]), keys: Fixtures.keys, context: Fixtures.context,
        random: PatternRandom(number: 50 + UInt8(index)))
      do { for try await piece in stream { sealed += piece } } catch { return nil }
      return sealed
    }
    guard let sealed else { violated("setting up: an object does not seal") }
    return (sealed, content)
  }

  /// Both layers of an object, as a stream and by random access.
  ///
  /// The first byte chooses bare input or edits of an original, the second the size of the pieces.
  static let layers = FuzzTarget(
    name: "layers",
    seeds: {
      originals.prefix(2).map { [0, 9] + $0.sealed } + originals.indices.map { [1 + 2 * UInt8($0), 200] }
        + [[3, 90, 0, 80, 0, 0, 1], [5, 90, 1, 68, 64, 0, 0]]
    },
    run: { input in
      guard input.count >= 2 else { return }
      let original = originals[Int(input[0] >> 1) % originals.count].sealed
      let sealed =
        input[0] & 1 == 1
        ? EditScript.apply(input.dropFirst(2), to: original, unit: 32) : Array(input.dropFirst(2))
      let piece = 1 + Int(input[1]) * (sealed.count > 1000 ? 211 : 1)
      let pieces = stride(from: 0, to: sealed.count, by: piece).map {
        Array(sealed[$0..<min($0 + piece, sealed.count)])
      }
      let (released, error) = immediately { () async -> ([UInt8], (any Error)?) in
        var released: [UInt8] = []
        do {
          let stream = TwoLayers.openStream(Pieces(pieces: pieces), keys: FixedKeys(), context: Fixtures.context)
          for try await piece in stream { released += piece }
        } catch { return (released, error) }
        return (released, nil)
      }
      let read = immediately { () async -> Result<[UInt8], any Error> in
        do {
          let reader = try await TwoLayers.reader(
            over: MemoryBytes(bytes: sealed), keys: FixedKeys(), context: Fixtures.context)
          return .success(try await reader.read(at: 0, count: Int(reader.size)))
        } catch { return .failure(error) }
      }
      _ = allowing(.sealedData) { if let error { throw error } }
      let readContent = allowing(.sealedData) { try read.get() }
      let found = originals.first { $0.sealed == sealed }
      require((error == nil) == (found != nil), found == nil ? "a forgery opens" : "an original does not open")
      require((readContent == nil) == (found == nil), "random access says otherwise than the stream")
      if let found { require(released == found.content && readContent == found.content, "another content") }
      // The prelude of the outer layer names the only original whose bytes may come out.
      let source = originals.first { sealed.count >= 68 && $0.sealed.prefix(68) == sealed.prefix(68) }
      require((source?.content ?? []).starts(with: released), "something was released that was not sealed")
    })
}
