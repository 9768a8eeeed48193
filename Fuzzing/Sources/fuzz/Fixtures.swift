@testable import KeyCustody
@testable import KeyCustodyCrypto
@testable import KeyCustodyEnvelope

/// The same bytes at every call, so that what is sealed is the same in every run.
///
/// Each original has a number of its own: a salt that came twice under one key would let chunks of one object open in
/// another.
struct PatternRandom: RandomSource {
  let number: UInt8
  func fill(_ buffer: inout MutableRawSpan) throws(KeyCustodyError) {
    for index in 0..<buffer.byteCount {
      let byte = UInt8(truncatingIfNeeded: index &* 7 &+ 13) ^ number
      buffer.storeBytes(of: byte, toByteOffset: index, as: UInt8.self)
    }
  }
}

/// Bytes that differ from one another, the same for the same count.
func pattern(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) } }

func secret(_ byte: UInt8) -> SecretBytes { SecretBytes(copying: [UInt8](repeating: byte, count: 32)) }

func rootKey(_ byte: UInt8) -> RootKey { made { try RootKey(material: secret(byte)) } }

extension SecretBytes {
  var array: [UInt8] { withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } } }
}

enum Fixtures {
  static let context = made {
    try SealingContext(
      resource: try ResourceID("bot-1"), dataClass: try DataClass("longterm"), object: "conversations/7",
      identifiers: ["tenant": "t-1"])
  }
  static let keys = LayeredKeys(service: rootKey(1), customer: rootKey(2))
}

/// Two root keys by their names.
struct FixedKeys: RootKeySource {
  func rootKey(_ id: RootKeyID, layer: Layer) async throws(KeyCustodyError) -> RootKey {
    let key = layer == .service ? Fixtures.keys.service : Fixtures.keys.customer
    guard key.id == id else {
      throw KeyCustodyError(.integrityFailure, .unknownRootKey, "No such root key in this layer.")
    }
    return key
  }
}

/// An array as random-access bytes.
struct MemoryBytes: RandomAccessBytes {
  let bytes: [UInt8]
  var size: Int64 { Int64(bytes.count) }
  func read(at offset: Int64, count: Int) async throws(KeyCustodyError) -> [UInt8] {
    require(offset >= 0 && count >= 0, "a read of \(count) bytes at \(offset)")
    require(count <= bytes.count + (2 << 20), "a read of \(count) bytes of \(bytes.count)")
    let start = Int(min(offset, size))
    return Array(bytes[start..<min(start + count, bytes.count)])
  }
}

/// Pieces as a stream.
struct Pieces: AsyncSequence, Sendable {
  let pieces: [[UInt8]]
  struct Iterator: AsyncIteratorProtocol {
    var rest: ArraySlice<[UInt8]>
    mutating func next() async throws -> [UInt8]? { rest.popFirst() }
  }
  func makeAsyncIterator() -> Iterator { Iterator(rest: pieces[...]) }
}
