import KeyCustody
import Testing

@testable import KeyCustodyEnvelope

@Suite struct SealingContextTests {
  @Test("E14: the canonical form is a label and length-prefixed fields, identifiers ordered by bytes")
  func canonicalForm() throws {
    let context = try SealingContext(
      resource: try ResourceID("Bot-1"), dataClass: try DataClass("LongTerm"), object: "ö",
      identifiers: ["b": "2", "a": "", "ä": "x", "B": "3"])
    let header = SealedHeader(kind: .record, rootKey: try RootKeyID("0011223344556677"))
    func field(_ bytes: [UInt8]) -> [UInt8] { [0, 0, 0, UInt8(bytes.count)] + bytes }
    var expected = Array("key-custody/v1/context".utf8)
    expected += field(header.bytes) + field(Array("customer".utf8)) + field(Array("bot-1".utf8))
    expected += field(Array("longterm".utf8)) + field([0xc3, 0xb6]) + [0, 0, 0, 4]
    for (name, value) in [("B", "3"), ("a", ""), ("b", "2"), ("ä", "x")] {
      expected += field(Array(name.utf8)) + field(Array(value.utf8))
    }
    #expect(context.encoded(for: .customer, header: header) == expected)
  }

  @Test("Two contexts never encode alike: fields can't run into one another")
  func unambiguous() throws {
    let header = SealedHeader(kind: .object, rootKey: try RootKeyID("0011223344556677"))
    let pairs = [
      ["a": "bc"], ["ab": "c"], ["a": "b", "c": ""], ["a": "", "bc": ""], [:],
    ]
    let encodings = try pairs.flatMap { identifiers in
      try ["o", "oa"].map {
        try makeContext(object: $0, identifiers: identifiers).encoded(for: .service, header: header)
      }
    }
    #expect(Set(encodings).count == encodings.count)
  }

  @Test("A context refuses what is too long, too many or empty")
  func limits() throws {
    let tooBig = KeyCustodyError(.invalidInput, .wrongSize, "")
    _ = try makeContext(object: String(repeating: "o", count: 512))
    _ = try makeContext(identifiers: [String(repeating: "n", count: 128): String(repeating: "v", count: 1024)])
    _ = try makeContext(identifiers: Dictionary(uniqueKeysWithValues: (0..<32).map { ("n\($0)", "") }))
    #expect(throws: tooBig) { try makeContext(object: "") }
    #expect(throws: tooBig) { try makeContext(object: String(repeating: "ö", count: 257)) }
    #expect(throws: tooBig) { try makeContext(identifiers: ["": "v"]) }
    #expect(throws: tooBig) { try makeContext(identifiers: [String(repeating: "n", count: 129): "v"]) }
    #expect(throws: tooBig) { try makeContext(identifiers: ["n": String(repeating: "v", count: 1025)]) }
    #expect(throws: tooBig) {
      try makeContext(identifiers: Dictionary(uniqueKeysWithValues: (0..<33).map { ("n\($0)", "") }))
    }
  }
}
