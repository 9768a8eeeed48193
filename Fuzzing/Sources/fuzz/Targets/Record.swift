@testable import KeyCustody
@testable import KeyCustodyEnvelope

extension FuzzTarget {
  private static let contents = [[], Array("a record".utf8), pattern(224)]
  /// The same content sealed as two layers and as one.
  private static let records: [(sealed: [UInt8], content: [UInt8])] = contents.enumerated().map { index, content in
    let keys = LayeredKeys(service: rootKey(1), customer: rootKey(2))
    let sealed = made {
      try TwoLayers.sealRecord(
        content, keys: keys, context: Fixtures.context, random: PatternRandom(number: 20 + UInt8(index)))
    }
    return (sealed, content)
  }
  private static let singles: [(sealed: [UInt8], content: [UInt8])] = contents.enumerated().map { index, content in
    let sealed = made {
      try RecordLayer.seal(
        content, key: rootKey(1), layer: .service, context: Fixtures.context,
        random: PatternRandom(number: 30 + UInt8(index)))
    }
    return (sealed, content)
  }

  /// Sealed records: nothing opens but what was sealed, whole or edited, one layer or two.
  ///
  /// The first byte chooses: bare input or edits of an original, one layer or two.
  static let record = FuzzTarget(
    name: "record",
    seeds: {
      records.map { [0] + $0.sealed } + singles.map { [2] + $0.sealed } + [[1, 2], [3, 2], [5, 0, 0, 0, 0, 1]]
    },
    run: { input in
      guard let mode = input.first else { return }
      let originals = mode & 2 == 0 ? records : singles
      var sealed = Array(input.dropFirst())
      if mode & 1 == 1 {
        let original = originals[Int(mode >> 2) % originals.count].sealed
        sealed = EditScript.apply(input.dropFirst(), to: original, unit: 16)
      }
      let opened: [UInt8]?
      if mode & 2 == 0 {
        let bytes = sealed
        let result = immediately { () async -> Result<[UInt8], any Error> in
          do {
            return .success(try await TwoLayers.openRecord(bytes, keys: FixedKeys(), context: Fixtures.context))
          } catch { return .failure(error) }
        }
        opened = allowing(.sealedData) { try result.get() }
      } else {
        opened = allowing(.sealedData) {
          try RecordLayer.open(sealed, key: Fixtures.keys.service, layer: .service, context: Fixtures.context)
        }
      }
      let original = originals.first { $0.sealed == sealed }
      require(opened == original?.content, opened == nil ? "an original does not open" : "a forgery opens")
    })
}
