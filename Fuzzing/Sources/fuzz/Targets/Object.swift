@testable import KeyCustody
@testable import KeyCustodyEnvelope

/// What came of opening an object: what was released, and the error.
private struct Outcome {
  var released: [UInt8] = []
  var error: KeyCustodyError?
}

extension FuzzTarget {
  private static let originals: [(sealed: [UInt8], content: [UInt8])] = [0, 5, 16_384, 20_000, 33_000].enumerated().map
  {
    index, count in
    let content = pattern(count)
    let sealed = made {
      var sealed: [UInt8] = []
      var sealer = try ObjectLayerSealer(
        key: Fixtures.keys.service, layer: .service, context: Fixtures.context,
        random: PatternRandom(number: UInt8(index)))
      try sealer.update(content.span.bytes, into: &sealed)
      try sealer.finish(into: &sealed)
      return sealed
    }
    return (sealed, content)
  }

  private static func stream(_ sealed: [UInt8], piece: Int) -> Outcome {
    var outcome = Outcome()
    var opener = ObjectLayerOpener(key: Fixtures.keys.service, layer: .service, context: Fixtures.context)
    do throws(KeyCustodyError) {
      var start = 0
      while start < sealed.count {
        let end = min(start + piece, sealed.count)
        try opener.update(sealed.span.bytes.extracting(start..<end), into: &outcome.released)
        start = end
      }
      try opener.finish(into: &outcome.released)
    } catch {
      outcome.error = error
      // An error stays: nothing more comes out, whatever follows.
      let count = outcome.released.count
      let again: Void? = allowing([error.code]) { try opener.finish(into: &outcome.released) }
      require(again == nil && outcome.released.count == count, "an opener goes on after an error")
    }
    return outcome
  }

  private static func randomAccess(_ sealed: [UInt8]) -> Outcome {
    immediately { () async -> Outcome in
      var outcome = Outcome()
      do throws(KeyCustodyError) {
        let reader = try await ObjectLayerReader(
          over: MemoryBytes(bytes: sealed), key: Fixtures.keys.service, layer: .service, context: Fixtures.context)
        let half = Int(reader.size / 2)
        outcome.released = try await reader.read(at: 0, count: half)
        outcome.released += try await reader.read(at: Int64(half), count: Int(reader.size))
      } catch { outcome.error = error }
      return outcome
    }
  }

  /// One layer of an object, in pieces, as a whole and by random access: all three say the same, and release nothing
  /// that was not sealed.
  ///
  /// The first byte chooses bare input or edits of an original, the second the size of the pieces.
  static let object = FuzzTarget(
    name: "object",
    seeds: {
      originals.prefix(2).map { [0, 9] + $0.sealed } + originals.indices.map { [1 + 2 * UInt8($0), 200] }
        + [[7, 90, 4, 0, 0, 0, 1], [9, 90, 5, 0, 0, 0, 0], [5, 255, 1, 68, 64, 0, 0]]
    },
    run: { input in
      guard input.count >= 2 else { return }
      let isEdit = input[0] & 1 == 1
      let original = originals[Int(input[0] >> 1) % originals.count].sealed
      let sealed =
        isEdit
        ? EditScript.apply(input.dropFirst(2), to: original, unit: Cobblestone.sealedChunkLength)
        : Array(input.dropFirst(2))
      let piece = input[1] < 100 && sealed.count < 2000 ? Int(input[1]) + 1 : 1 + Int(input[1]) * 211
      let (pieces, whole, read) = (stream(sealed, piece: piece), stream(sealed, piece: .max / 2), randomAccess(sealed))
      for error in [pieces.error, whole.error, read.error] {
        _ = allowing(.sealedData) { if let error { throw error } }
      }
      require(pieces.released == whole.released, "pieces release something else than the whole")
      require(pieces.error == whole.error, "pieces end otherwise than the whole")
      require((read.error == nil) == (whole.error == nil), "random access says otherwise than the stream")
      require(read.error != nil || read.released == whole.released, "random access gives something else")
      let source = originals.first { sealed.count >= 68 && $0.sealed.prefix(68) == sealed.prefix(68) }
      require((source?.content ?? []).starts(with: whole.released), "something was released that was not sealed")
      let isOriginal = source?.sealed == sealed
      require((whole.error == nil) == isOriginal, isOriginal ? "an original does not open" : "a forgery opens")
    })
}
