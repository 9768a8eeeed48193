import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import Testing

@testable import KeyCustodyEnvelope

/// Every secret that the searched process must have had, by eight-byte windows.
struct Secrets {
  private(set) var windows: [UInt64] = []
  /// To which secret each window belongs.
  private(set) var names: [String] = []

  /// Adds every window of a secret.
  mutating func add(_ name: String, _ bytes: [UInt8]) {
    guard bytes.count >= 8 else { return }
    for start in 0...(bytes.count - 8) {
      let window = (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[start + $1]) << UInt64(8 * $1) }
      // Leading zeros of a number would be found anywhere.
      guard window.nonzeroBitCount > 8 else { continue }
      windows.append(window)
      names.append(name)
    }
  }

  /// Adds a number of a private key, as DER and OpenSSL's words have it.
  mutating func addNumber(_ name: String, _ bytes: [UInt8]) {
    add(name, bytes)
    add(name, bytes.reversed())
  }

  /// What is derived from the draws of a process: root keys first, whichever those are.
  ///
  /// - Parameter isPublic: tells the draws that are stored in clear, like salts.
  mutating func addDraws(_ lengths: [Int], seed: UInt64, isPublic: ([UInt8]) -> Bool) throws {
    let draws = lengths.enumerated().map { NumberedRandom.draw($0.offset, $0.element, seed: seed) }
    let prefixes = draws.filter { $0.count == NoncePrefix.length }
    let salts = draws.filter { $0.count == Cobblestone.saltLength }
    for (number, draw) in draws.enumerated() where draw.count == 32 && !isPublic(draw) {
      add("32 random bytes, draw \(number)", draw)
      let object = try derived(draw, "object")
      let record = try derived(draw, "record")
      let id = RootKeyID(commitment: try derived(draw, "commitment").array)
      add("object key of draw \(number)", object.array)
      add("record key of draw \(number)", record.array)
      var xaes = try XAESKey(record)
      for prefix in prefixes {
        let key = try xaes.derive(NoncePrefix(unsafe prefix.span.bytes))
        add("nonce-derived key of draw \(number)", key.array)
      }
      for salt in salts {
        for layer in Layer.allCases {
          let context = try SealingContext(
            resource: ResourceID("notes"), dataClass: DataClass("long-term"), object: "file", identifiers: [:])
          let info =
            Cobblestone.label + salt
            + context.encoded(for: layer, header: SealedHeader(kind: .object, rootKey: id))
          let key = try object.withBytes { (bytes) throws(KeyCustodyError) in
            try Hashing.expand(.sha512, key: bytes, info: info, count: 32)
          }
          add("chunk key of draw \(number)", key.array)
        }
      }
    }
  }

  private func derived(_ draw: [UInt8], _ label: String) throws -> SecretBytes {
    try Hashing.expand(.sha512, key: unsafe draw.span.bytes, info: Array("key-custody/v1/\(label)".utf8), count: 32)
  }

  /// The private numbers of a PKCS#8 RSA key, or the scalar of an EC key.
  mutating func addPrivateKey(_ name: String, _ der: [UInt8]) throws {
    var outer = DERReader(der)
    var info = DERReader(try outer.next(0x30))
    _ = try info.next(0x02)
    _ = try info.next(0x30)
    var octets = DERReader(try info.next(0x04))
    var key = DERReader(try octets.next(0x30))
    _ = try key.next(0x02)
    if name == "EC" { return addNumber("EC scalar", try key.next(0x04)) }
    // Modulus and public exponent are public.
    _ = try key.next(0x02)
    _ = try key.next(0x02)
    for part in ["exponent", "prime p", "prime q", "d mod p-1", "d mod q-1", "coefficient"] {
      addNumber("RSA \(part)", try key.next(0x02))
    }
  }
}

/// Reads DER, element by element.
private struct DERReader {
  private var bytes: ArraySlice<UInt8>
  init(_ bytes: [UInt8]) { self.bytes = bytes[...] }

  mutating func next(_ tag: UInt8) throws -> [UInt8] {
    let found = bytes.popFirst()
    try #require(found == tag)
    let first = bytes.popFirst()
    var count = Int(try #require(first))
    if count > 0x80 {
      let digits = count & 0x7f
      count = bytes.prefix(digits).reduce(0) { $0 << 8 | Int($1) }
      bytes = bytes.dropFirst(digits)
    }
    defer { bytes = bytes.dropFirst(count) }
    return Array(bytes.prefix(count))
  }
}

extension SecretBytes {
  /// A copy in ordinary memory, of a secret of this test's.
  var array: [UInt8] {
    withBytes { bytes in (0..<bytes.byteCount).map { unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) } }
  }
}
