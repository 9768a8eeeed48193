// Seals a stream of 4 MiB as it is read, opens it as a stream, and then reads a range out of its middle.
import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyMemory
import KeyCustodyServices

/// Sealed bytes in memory.
///
/// A service puts its blob store here: all that is needed is a size and reads at an offset.
struct Blob: RandomAccessBytes {
  let bytes: [UInt8]
  var size: Int64 { Int64(bytes.count) }
  func read(at offset: Int64, count: Int) async throws(KeyCustodyError) -> [UInt8] {
    let start = min(Int(offset), bytes.count)
    return Array(bytes[start..<min(start + count, bytes.count)])
  }
}

struct Unexpected: Error, CustomStringConvertible {
  let description: String
}

func require(_ condition: Bool, _ message: String) throws {
  guard condition else { throw Unexpected(description: message) }
}

/// A byte of the content, by its position: what the example checks against.
func content(at position: Int) -> UInt8 { UInt8(truncatingIfNeeded: position &* 31 ^ position >> 9) }

/// Pieces of the content, made only when somebody asks for the next one.
func pieces(of length: Int, each pieceLength: Int) -> AsyncStream<[UInt8]> {
  let starts = stride(from: 0, to: length, by: pieceLength)
  return AsyncStream { continuation in
    for start in starts {
      continuation.yield((start..<min(start + pieceLength, length)).map(content(at:)))
    }
    continuation.finish()
  }
}

let memory: ConfigurationValue = ["plugin": "memory"]
let custody = try await KeyCustody.open(
  KeyCustodyConfiguration([
    "keyProviders": ["keys": memory], "policyStores": ["records": memory],
    "service": ["keyProvider": "keys", "policyStore": "records"],
  ]), plugins: [MemoryPlugin().plugin])
let media = try await custody.createResource(ResourceID("contoso-media"), tenant: TenantID("contoso"))

let length = 4 << 20
var sealed: [UInt8] = []
for try await piece in try await media.sealStream(pieces(of: length, each: 300_000), as: "film") { sealed += piece }
print("sealed \(length) bytes into \(sealed.count), two layers")

var position = 0
let sealedPieces = AsyncStream { continuation in
  continuation.yield(sealed)
  continuation.finish()
}
for try await piece in try await media.openStream(sealedPieces, as: "film") {
  for byte in piece {
    try require(byte == content(at: position), "Byte \(position) is not what was sealed.")
    position += 1
  }
}
try require(position == length, "\(position) bytes came out of \(length).")
print("opened \(position) bytes as a stream")

let reader = try await media.reader(over: Blob(bytes: sealed), as: "film")
try require(reader.size == Int64(length), "The reader says \(reader.size) bytes.")
let start = 3_456_789
let range = try await reader.read(at: Int64(start), count: 1000)
try require(range == (start..<(start + 1000)).map(content(at:)), "The range is not what was sealed.")
print("read bytes \(start)..<\(start + 1000) without opening the rest")

// An altered object gives authentic bytes up to the altered chunk, then an error: never an altered byte.
var altered = sealed
altered[altered.count / 2] ^= 1
var released = 0
do {
  let stream = AsyncStream { continuation in
    continuation.yield(altered)
    continuation.finish()
  }
  for try await piece in try await media.openStream(stream, as: "film") { released += piece.count }
  throw Unexpected(description: "An altered object opened.")
} catch let error as KeyCustodyError {
  try require(error.code == .integrityFailure, "An altered object was refused with \(error).")
  try require(released < length, "An altered object was released whole.")
  print("a flipped bit was refused: \(error.description)")
}
await custody.close()
