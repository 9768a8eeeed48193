import KeyCustody
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Published test vectors: in the folder that `KEYCUSTODY_VECTORS` names, or in `../shared/vectors` beside the package.
enum VectorFiles {
  /// A file's content; `nil`, and a line that says so, when it is not there.
  static func read(_ name: String) throws -> Data? {
    let beside = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../shared/vectors")
    let folder = ProcessInfo.processInfo.environment["KEYCUSTODY_VECTORS"].map { URL(filePath: $0) } ?? beside
    let file = folder.appending(path: name)
    guard FileManager.default.fileExists(atPath: file.path(percentEncoded: false)) else {
      print("vectors|\(name)|not present, skipped")
      return nil
    }
    return try Data(contentsOf: file)
  }

  /// Says what ran of a file, for the table of `make vectors`; nothing is a failure.
  static func report(_ name: String, valid: Int, invalid: Int, skipped: Int = 0, reason: String = "") {
    print("vectors|\(name)|\(valid)|\(invalid)|\(skipped)|\(skipped == 0 ? "" : "\(skipped) \(reason)")")
    #expect(valid + invalid > 0, "\(name) is there, and none of it ran")
  }
}

struct BadVector: Error {}

func hex(_ text: String) throws -> [UInt8] {
  guard let bytes = [UInt8](hexadecimal: text) else { throw BadVector() }
  return bytes
}

/// Decompresses zlib data (RFC 1950 and 1951), as the vector files hold long ciphertexts.
struct Inflate {
  private let input: [UInt8]
  private var position = 2
  private var bitBuffer: UInt32 = 0
  private var bitCount: UInt32 = 0
  private var output: [UInt8] = []

  static func decompress(_ input: [UInt8]) throws -> [UInt8] {
    var inflate = Inflate(input: input)
    return try inflate.run()
  }

  private init(input: [UInt8]) { self.input = input }

  private mutating func run() throws -> [UInt8] {
    var isLast = false
    while !isLast {
      isLast = try bits(1) == 1
      switch try bits(2) {
      case 0: try stored()
      case 1:
        let lengths = (0..<288).map { $0 < 144 ? 8 : $0 < 256 ? 9 : $0 < 280 ? 7 : 8 }
        try compressed(Huffman(lengths), Huffman([Int](repeating: 5, count: 30)))
      case 2: try dynamic()
      default: throw BadVector()
      }
    }
    return output
  }

  private mutating func bits(_ count: UInt32) throws -> Int {
    while bitCount < count {
      guard position < input.count else { throw BadVector() }
      bitBuffer |= UInt32(input[position]) << bitCount
      position += 1
      bitCount += 8
    }
    let value = bitBuffer & ((1 << count) - 1)
    bitBuffer >>= count
    bitCount -= count
    return Int(value)
  }

  private mutating func stored() throws {
    (bitBuffer, bitCount) = (0, 0)
    guard position + 4 <= input.count else { throw BadVector() }
    let count = Int(input[position]) | Int(input[position + 1]) << 8
    position += 4
    guard position + count <= input.count else { throw BadVector() }
    output += input[position..<(position + count)]
    position += count
  }

  private struct Huffman {
    var counts = [Int](repeating: 0, count: 16)
    var symbols: [Int] = []
    init(_ lengths: [Int]) {
      for length in lengths where length > 0 { counts[length] += 1 }
      symbols = (1..<16).flatMap { length in lengths.indices.filter { lengths[$0] == length } }
    }
  }

  private mutating func symbol(_ table: Huffman) throws -> Int {
    var (code, first, index) = (0, 0, 0)
    for length in 1..<16 {
      code |= try bits(1)
      let count = table.counts[length]
      if code - first < count { return table.symbols[index + code - first] }
      index += count
      first = (first + count) << 1
      code <<= 1
    }
    throw BadVector()
  }

  private mutating func dynamic() throws {
    let (literals, distances, codes) = (try bits(5) + 257, try bits(5) + 1, try bits(4) + 4)
    let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
    var codeLengths = [Int](repeating: 0, count: 19)
    for index in 0..<codes { codeLengths[order[index]] = try bits(3) }
    let table = Huffman(codeLengths)
    var lengths: [Int] = []
    while lengths.count < literals + distances {
      switch try symbol(table) {
      case 16:
        guard let last = lengths.last else { throw BadVector() }
        lengths += [Int](repeating: last, count: 3 + (try bits(2)))
      case 17: lengths += [Int](repeating: 0, count: 3 + (try bits(3)))
      case 18: lengths += [Int](repeating: 0, count: 11 + (try bits(7)))
      case let length: lengths.append(length)
      }
    }
    try compressed(Huffman(Array(lengths[..<literals])), Huffman(Array(lengths[literals...])))
  }

  private static let lengthBases = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
  ]
  private static let lengthBits: [UInt32] = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
  ]
  private static let distanceBases = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
    8193, 12289, 16385, 24577,
  ]

  private mutating func compressed(_ literals: Huffman, _ distances: Huffman) throws {
    while true {
      let code = try symbol(literals)
      if code < 256 {
        output.append(UInt8(code))
      } else if code == 256 {
        return
      } else {
        let length = Self.lengthBases[code - 257] + (try bits(Self.lengthBits[code - 257]))
        let index = try symbol(distances)
        let distance = Self.distanceBases[index] + (try bits(UInt32(max(0, index / 2 - 1))))
        guard distance <= output.count else { throw BadVector() }
        for _ in 0..<length { output.append(output[output.count - distance]) }
      }
    }
  }
}
