@testable import KeyCustody
@testable import KeyCustodyEnvelope

extension FuzzTarget {
  /// The header of everything sealed: it parses exactly when its bytes are as the format says, and is written back.
  static let header = FuzzTarget(
    name: "header",
    seeds: {
      SealedHeader.Kind.allCases.map { SealedHeader(kind: $0, rootKey: Fixtures.keys.service.id).bytes + [0, 1] }
        + [[0x4b, 0x43, 0x52, 2, 0, 0, 0, 0, 0, 0, 0, 0], [0x4b, 0x43]]
    },
    run: { input in
      do throws(KeyCustodyError) {
        let header = try SealedHeader(parsing: input)
        require(header.bytes == Array(input.prefix(12)), "a header is not written as it was read")
        require(input[3] == SealedHeader.formatNumber, "another format was read")
        require(Array(header.rootKey.bytes) == Array(input[4..<12]), "another key's name")
        let name = try RootKeyID(header.rootKey.description)
        require(name == header.rootKey, "a key's name does not read back")
      } catch {
        let isOurs = input.count >= 12 && input.starts(with: [0x4b, 0x43]) && [0x52, 0x4f].contains(input[2])
        let expected: KeyCustodyError.Code =
          input.count < 12 ? .integrityFailure : isOurs ? .unsupported : .invalidInput
        require(error.code == expected, "\(error) instead of \(expected)")
        require(expected != .unsupported || input[3] != 1, "our own format was called unknown")
        require(expected != .unsupported || error.message.contains("format \(input[3])"), "the format is not named")
      }
    })
}
