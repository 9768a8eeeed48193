import KeyCustody
import KeyCustodyEnvelope
import Synchronization

/// What most tests seal for.
func makeContext(
  resource: String = "bot-1", dataClass: String = "longterm", object: String = "conversations/7",
  identifiers: [String: String] = ["tenant": "t-1", "user": "u-2"]
) throws -> SealingContext {
  try SealingContext(
    resource: try ResourceID(resource), dataClass: try DataClass(dataClass), object: object, identifiers: identifiers)
}

func makeRootKey(_ byte: UInt8? = nil) throws -> RootKey {
  if let byte { return try RootKey(material: SecretBytes(copying: [UInt8](repeating: byte, count: 32))) }
  return try RootKey(material: try RootKey.generateMaterial(random: SystemRandom()))
}

func makeLayeredKeys() throws -> LayeredKeys { LayeredKeys(service: try makeRootKey(), customer: try makeRootKey()) }

/// Bytes that differ from one another, the same for the same count.
func pattern(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) } }

/// Hands out fixed bytes, and fails when they run out.
final class FixedRandom: RandomSource {
  private let bytes: Mutex<[UInt8]>
  init(_ bytes: [UInt8]) { self.bytes = Mutex(bytes) }
  func fill(_ buffer: inout MutableRawSpan) throws(KeyCustodyError) {
    let count = buffer.byteCount
    let taken = bytes.withLock { bytes in
      defer { bytes = Array(bytes.dropFirst(count)) }
      return Array(bytes.prefix(count))
    }
    guard taken.count == count else { throw KeyCustodyError(.fault, .internalFault, "No more fixed bytes.") }
    for (index, byte) in taken.enumerated() { buffer.storeBytes(of: byte, toByteOffset: index, as: UInt8.self) }
  }
}

/// Leases held in a dictionary: they can be ended, replaced and refused, and questions are counted.
final class TestKeys: RootKeySource {
  private struct State {
    var keys: [RootKeyID: (layer: Layer, key: RootKey)] = [:]
    var refusal: KeyCustodyError?
    var questions = 0
    var onQuestion: (@Sendable (Int) -> Void)?
  }
  private let state = Mutex(State())

  init(_ keys: LayeredKeys...) {
    for pair in keys {
      add(pair.service, .service)
      add(pair.customer, .customer)
    }
  }
  func add(_ key: RootKey, _ layer: Layer) { state.withLock { $0.keys[key.id] = (layer, key) } }
  func refuse(_ error: KeyCustodyError?) { state.withLock { $0.refusal = error } }
  func onQuestion(_ body: @escaping @Sendable (Int) -> Void) { state.withLock { $0.onQuestion = body } }
  var questions: Int { state.withLock { $0.questions } }

  func rootKey(_ id: RootKeyID, layer: Layer) async throws(KeyCustodyError) -> RootKey {
    let (question, hook) = state.withLock { state in
      state.questions += 1
      return (state.questions, state.onQuestion)
    }
    hook?(question)
    let (refusal, found) = state.withLock { ($0.refusal, $0.keys[id]) }
    if let refusal { throw refusal }
    guard let found, found.layer == layer else {
      throw KeyCustodyError(.integrityFailure, .unknownRootKey, "No such key in this layer.")
    }
    return found.key
  }
}

/// An array as random-access bytes.
struct MemoryBytes: RandomAccessBytes {
  let bytes: [UInt8]
  var size: Int64 { Int64(bytes.count) }
  func read(at offset: Int64, count: Int) async throws(KeyCustodyError) -> [UInt8] {
    let start = min(Int(offset), bytes.count)
    return Array(bytes[start..<min(start + count, bytes.count)])
  }
}

/// Pieces as a stream.
struct Pieces: AsyncSequence, Sendable {
  let pieces: [[UInt8]]
  init(_ bytes: [UInt8], size: Int) {
    pieces = stride(from: 0, to: bytes.count, by: size).map { Array(bytes[$0..<Swift.min($0 + size, bytes.count)]) }
  }
  struct Iterator: AsyncIteratorProtocol {
    var rest: ArraySlice<[UInt8]>
    mutating func next() async throws -> [UInt8]? { rest.popFirst() }
  }
  func makeAsyncIterator() -> Iterator { Iterator(rest: pieces[...]) }
}

extension AsyncSequence where Element == [UInt8] {
  func collected() async throws -> [UInt8] {
    var result: [UInt8] = []
    for try await piece in self { result += piece }
    return result
  }
}

func sealLayer(
  _ content: [UInt8], key: RootKey, layer: Layer = .service, context: SealingContext, pieceSize: Int = .max
) throws -> [UInt8] {
  var sealer = try ObjectLayerSealer(key: key, layer: layer, context: context, random: SystemRandom())
  var sealed: [UInt8] = []
  for start in stride(from: 0, to: content.count, by: Swift.min(pieceSize, Swift.max(content.count, 1))) {
    let end = Swift.min(content.count, pieceSize == .max ? content.count : start + pieceSize)
    try sealer.update(unsafe content.span.bytes.extracting(start..<end), into: &sealed)
  }
  try sealer.finish(into: &sealed)
  return sealed
}

func openLayer(
  _ sealed: [UInt8], key: RootKey, layer: Layer = .service, context: SealingContext, pieceSize: Int = .max
) throws -> [UInt8] {
  var opener = ObjectLayerOpener(key: key, layer: layer, context: context)
  var content: [UInt8] = []
  for start in stride(from: 0, to: sealed.count, by: Swift.min(pieceSize, Swift.max(sealed.count, 1))) {
    let end = Swift.min(sealed.count, pieceSize == .max ? sealed.count : start + pieceSize)
    try opener.update(unsafe sealed.span.bytes.extracting(start..<end), into: &content)
  }
  try opener.finish(into: &content)
  return content
}

/// Whether `body` threw an error of ours that says the data, its header or its key is wrong.
func refuses(_ body: () throws -> Void) -> Bool {
  do { try body() } catch let error as KeyCustodyError {
    return [.integrityFailure, .invalidInput, .unsupported].contains(error.code)
  } catch { return false }
  return false
}

final class Counter: Sendable {
  private let count = Mutex(0)
  var value: Int { count.withLock { $0 } }
  func add() { count.withLock { $0 += 1 } }
}

/// Pieces of 64 KiB that count how many were asked for.
struct CountedPieces: AsyncSequence, Sendable {
  let count: Int
  let counter: Counter
  struct Iterator: AsyncIteratorProtocol {
    var left: Int
    let counter: Counter
    mutating func next() async throws -> [UInt8]? {
      guard left > 0 else { return nil }
      left -= 1
      counter.add()
      return pattern(64 << 10)
    }
  }
  func makeAsyncIterator() -> Iterator { Iterator(left: count, counter: counter) }
}

/// The keys that are out.
final class Current: Sendable {
  private let keys: Mutex<LayeredKeys>
  init(_ keys: LayeredKeys) { self.keys = Mutex(keys) }
  func replace(_ fresh: LayeredKeys) { keys.withLock { $0 = fresh } }
  func destroy() {
    let keys = keys.withLock { $0 }
    keys.service.destroy()
    keys.customer.destroy()
  }
}
