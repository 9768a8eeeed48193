import KeyCustody
import KeyCustodyCrypto
import Synchronization
import Testing

@testable import KeyCustodyEnvelope

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Sizes that are claimed and can't be: they are refused before memory is taken for them.
@Suite struct OddSizeTests {
  private let key: RootKey
  private let context: SealingContext
  init() throws {
    key = try makeRootKey()
    context = try makeContext()
  }

  @Test(
    "An object that claims to be huge is refused for the price of its last chunk",
    arguments: [1 << 30, 1 << 40, 1 << 52, (1 << 38) * 16_400 + 67, Int64.max - 70, Int64.max] as [Int64])
  func claimedObjects(size: Int64) async throws {
    let sealed = try sealLayer(pattern(100), key: key, context: context)
    let bytes = ClaimedBytes(start: sealed, size: size)
    var refusal: KeyCustodyError?
    do throws(KeyCustodyError) {
      _ = try await ObjectLayerReader(over: bytes, key: key, layer: .service, context: context)
    } catch { refusal = error }
    #expect(refusal?.code == .integrityFailure)
    #expect(bytes.largestRead <= Cobblestone.sealedChunkLength, "\(bytes.largestRead) bytes were read at once")
  }

  @Test(
    "An object whose bytes claim a negative or a tiny size is refused", arguments: [Int64.min, -1, 0, 11, 67, 68, 83])
  func tinyObjects(size: Int64) async throws {
    let sealed = try sealLayer(pattern(100), key: key, context: context)
    let error = await #expect(throws: KeyCustodyError.self) {
      try await ObjectLayerReader(
        over: ClaimedBytes(start: sealed, size: size), key: key, layer: .service, context: context)
    }
    #expect(error?.code == .integrityFailure)
  }

  @Test("A read of more than there is takes memory for what there is alone")
  func hugeReads() async throws {
    let content = pattern(50_000)
    let sealed = try sealLayer(content, key: key, context: context)
    let reader = try await ObjectLayerReader(
      over: MemoryBytes(bytes: sealed), key: key, layer: .service, context: context)
    for count in [1 << 40, Int.max] {
      let found = try await reader.read(at: 0, count: count)
      #expect(found == content)
      let none = try await reader.read(at: .max, count: count)
      #expect(none.isEmpty)
    }
  }

  @Test("A record of more than the largest size is refused")
  func hugeRecord() throws {
    let sealed =
      SealedHeader(kind: .record, rootKey: key.id).bytes
      + [UInt8](repeating: 0, count: RecordLayer.maximumLayerLength + RecordLayer.overhead)
    #expect(throws: KeyCustodyError(.integrityFailure, .notAuthentic, "")) {
      try RecordLayer.open(sealed, key: key, layer: .service, context: context)
    }
  }

  @Test("An envelope with a member of 100 MB is refused before the member is decoded")
  func hugeMembers() async throws {
    let kek = try SoftwareKey.generate(.aes(bits: 256), random: SystemRandom())
    let facts = try KeyEnvelopeTests.facts()
    let material = try RootKey.generateMaterial(random: SystemRandom())
    let envelope = try await KeyEnvelopeTests.seal(material, facts, kek)
    let huge = String(repeating: "A", count: 100_000_000)
    let members: [WritableKeyPath<KeyEnvelope, String>] = [
      \.protected, \.encryptedKey, \.iv, \.ciphertext, \.tag,
    ]
    // The shortest of some tries, since others run beside: decoding one part in 25 is what to compare with.
    let part = String(repeating: "A", count: huge.utf8.count / 25)
    var decoding = Duration.seconds(60)
    for _ in 0..<3 { decoding = min(decoding, ContinuousClock().measure { _ = [UInt8](base64URL: part) }) }
    for member in members {
      var altered = envelope
      altered[keyPath: member] = huge
      let forged = altered
      var refusing = Duration.seconds(60)
      for _ in 0..<3 {
        let start = ContinuousClock.now
        let error = await KeyEnvelopeTests.refusal(forged, facts, kek)
        refusing = min(refusing, ContinuousClock.now - start)
        #expect(error == KeyCustodyError(.integrityFailure, .damaged, ""))
      }
      if member == \.protected {
        #expect(throws: KeyCustodyError(.integrityFailure, .damaged, "")) { try forged.peek() }
      }
      #expect(refusing < max(decoding * 5, .milliseconds(50)), "the member was decoded")
    }
  }
}

/// The start of an object that claims any size; what lies behind is zeros, made as they are asked for.
private final class ClaimedBytes: RandomAccessBytes {
  let size: Int64
  private let start: [UInt8]
  private let largest = Mutex(0)
  var largestRead: Int { largest.withLock { $0 } }

  init(start: [UInt8], size: Int64) {
    self.start = start
    self.size = size
  }

  func read(at offset: Int64, count: Int) async throws(KeyCustodyError) -> [UInt8] {
    largest.withLock { $0 = max($0, count) }
    guard count <= 1 << 20 else { throw KeyCustodyError(.fault, .internalFault, "A read of \(count) bytes.") }
    let range = try clamped(at: offset, count: count)
    return range.map { $0 < Int64(start.count) ? start[Int($0)] : 0 }
  }
}
