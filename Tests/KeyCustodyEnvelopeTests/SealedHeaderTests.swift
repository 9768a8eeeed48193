import KeyCustody
import KeyCustodyEnvelope
import Testing

@Suite struct SealedHeaderTests {
  private let id: RootKeyID
  init() throws { id = try RootKeyID("0123456789abcdef") }

  @Test("A header is 12 bytes: KC, kind, format number, key id")
  func layout() throws {
    let record = SealedHeader(kind: .record, rootKey: id)
    #expect(record.bytes == [0x4b, 0x43, 0x52, 1, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef])
    let object = SealedHeader(kind: .object, rootKey: id)
    #expect(object.bytes[2] == UInt8(ascii: "O"))
    for header in [record, object] { #expect(try SealedHeader(parsing: header.bytes + [9, 9]) == header) }
    #expect(record.bytes.count == SealedHeader.length)
  }

  @Test("A header that is too short is truncated", arguments: 0..<12)
  func short(count: Int) {
    let bytes = SealedHeader(kind: .record, rootKey: id).bytes.prefix(count)
    #expect(throws: KeyCustodyError(.integrityFailure, .truncated, "")) { try SealedHeader(parsing: bytes) }
  }

  @Test("What is not sealed data is called malformed", arguments: [0, 1, 2])
  func foreign(index: Int) {
    var bytes = SealedHeader(kind: .record, rootKey: id).bytes
    bytes[index] ^= 0x20
    #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) { try SealedHeader(parsing: bytes) }
  }

  @Test("Another format number is named, and so is the one that is known", arguments: [0, 2, 255] as [UInt8])
  func format(number: UInt8) throws {
    var bytes = SealedHeader(kind: .record, rootKey: id).bytes
    bytes[3] = number
    let error = try #require(throws: KeyCustodyError.self) { try SealedHeader(parsing: bytes) }
    #expect(error == KeyCustodyError(.unsupported, .unknownFormat, ""))
    #expect(error.message.contains("format \(number)") && error.message.contains("knows format 1"))
  }

  @Test("A root key's name reads back, and nothing else is a name")
  func names() throws {
    #expect(id.description == "0123456789abcdef")
    #expect(try RootKeyID(bytes: id.bytes) == id)
    #expect(try RootKeyID("0123456789ABCDEF") == id)
    for text in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeg"] {
      #expect(throws: KeyCustodyError(.invalidInput, .badName, "")) { try RootKeyID(text) }
    }
    #expect(throws: KeyCustodyError(.invalidInput, .wrongSize, "")) { try RootKeyID(bytes: [1, 2]) }
  }
}
