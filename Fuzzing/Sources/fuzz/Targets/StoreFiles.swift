@testable import KeyCustody
@testable import KeyCustodyCrypto
@testable import KeyCustodyFile

extension FuzzTarget {
  private static let sample = made {
    try RecordFile.encode(
      PolicyRecord(key: try RecordKey("resources/bot-1"), revision: StoreRevision(7), value: Array("{}".utf8)))
  }

  private static func readRecord(_ bytes: [UInt8]) {
    guard let record = allowing([.integrityFailure], { try RecordFile.decode(bytes, at: "a file") }) else { return }
    let written = made { try RecordFile.encode(record) }
    require(written == bytes, "a record's file is not written as it was read")
    let name = made { try RecordFileName.of(record.key) }
    let key = RecordFileName.key(of: name)
    require(key.map { record.key.description.hasPrefix($0.text) } == true, "a file's name tells another key")
    require(key?.isWhole != true || key?.text == record.key.description, "a file's name tells another key")
  }

  private static func readStore(_ bytes: [UInt8]) {
    guard
      let store = allowing(
        [.integrityFailure, .invalidInput], { try StoreFile.decode(bytes, as: .policy, at: "a file") })
    else { return }
    let written = made { try store.encoded() }
    let again = allowing([]) { try StoreFile.decode(written, as: .policy, at: "a file") }
    require(again == store, "a store's file does not read back")
  }

  /// The files of the file backend.
  ///
  /// The first byte chooses: a record's file; one whose digest is still to be added, so that what lies behind the
  /// digest is reached; a store's file.
  static let storeFiles = FuzzTarget(
    name: "store-files",
    seeds: {
      let store = made { try StoreFile(kind: .policy, uuid: pattern(16).hexadecimal, lock: nil).encoded() }
      return [[0] + sample, [1] + sample.dropLast(32), [2] + store, [1] + Array("KCPR\u{1}".utf8)]
    },
    run: { input in
      guard let mode = input.first else { return }
      let bytes = Array(input.dropFirst())
      switch mode % 3 {
      case 0: readRecord(bytes)
      case 1: readRecord(bytes + made { try Hashing.sha256(bytes) })
      default: readStore(bytes)
      }
    })
}
