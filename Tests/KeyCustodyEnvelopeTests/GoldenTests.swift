import KeyCustody
import KeyCustodyCrypto
import Testing

@testable import KeyCustodyEnvelope

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What format 1 looks like on disk: every later version opens these files.
///
/// They were written once, by ``write()``, and stay as they are. Keys are fixed, and told in the manifest.
@Suite struct GoldenTests {
  private struct Manifest: Codable {
    /// A sealed file: its name, what was sealed, and by how many layers.
    struct Sealed: Codable {
      var file: String
      var count: Int
      var layers: Int
      var sha256: String
    }
    /// A key envelope: its file, how it is wrapped, and the root key in it.
    struct Envelope: Codable {
      var file: String
      var algorithm: WrapAlgorithm
      var kek: String
      var rootKey: String
      var commitment: String
    }
    var format: Int
    var serviceRootKey: String
    var customerRootKey: String
    var records: [Sealed]
    var objects: [Sealed]
    var envelopes: [Envelope]
  }

  private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden/format-1")
  private static let recordSizes = [0, 1, 16, 1000]
  private static let objectSizes = [0, 1, 16_383, 16_384, 16_385, 32_768]

  private static func context(_ name: String) throws -> SealingContext {
    try SealingContext(
      resource: try ResourceID("Bot-1"), dataClass: try DataClass("longterm"), object: "golden/\(name)",
      identifiers: ["tenant": "t-1", "name": "Zoë"])
  }

  private static func facts(_ algorithm: WrapAlgorithm) throws -> KeyEnvelopeFacts {
    KeyEnvelopeFacts(
      kid: "https://kv1.vault.example:8443/keys/cmk/000102030405060708090a0b0c0d0e0f", algorithm: algorithm,
      resource: try ResourceID("Bot-1"), layer: .customer, group: .longTerm, epoch: 1)
  }

  private static func read(_ name: String) throws -> [UInt8] {
    Array(try Data(contentsOf: folder.appending(path: name)))
  }

  private static func manifest() throws -> Manifest {
    try JSONDecoder().decode(Manifest.self, from: Data(try read("manifest.json")))
  }

  private static func keys(_ manifest: Manifest) throws -> LayeredKeys {
    LayeredKeys(
      service: try RootKey(material: SecretBytes(copying: try hex(manifest.serviceRootKey))),
      customer: try RootKey(material: SecretBytes(copying: try hex(manifest.customerRootKey))))
  }

  @Test("Every record of format 1 opens to what was sealed")
  func records() async throws {
    let manifest = try Self.manifest()
    let keys = try Self.keys(manifest)
    #expect(manifest.records.count == 2 * Self.recordSizes.count)
    for entry in manifest.records {
      let (sealed, context) = (try Self.read(entry.file), try Self.context(entry.file))
      let content =
        entry.layers == 2
        ? try await TwoLayers.openRecord(sealed, keys: TestKeys(keys), context: context)
        : try RecordLayer.open(sealed, key: keys.service, layer: .service, context: context)
      #expect(content == pattern(entry.count), "\(entry.file)")
      #expect(try Hashing.sha256(content).hexadecimal == entry.sha256, "\(entry.file)")
    }
  }

  @Test("Every object of format 1 opens to what was sealed, as a stream and by random access")
  func objects() async throws {
    let manifest = try Self.manifest()
    let keys = try Self.keys(manifest)
    #expect(manifest.objects.count == Self.objectSizes.count + 3)
    for entry in manifest.objects {
      let (sealed, context) = (try Self.read(entry.file), try Self.context(entry.file))
      let bytes = MemoryBytes(bytes: sealed)
      let (streamed, reader): ([UInt8], any RandomAccessBytes)
      if entry.layers == 2 {
        let source = TestKeys(keys)
        streamed = try await TwoLayers.openStream(Pieces(sealed, size: 10_000), keys: source, context: context)
          .collected()
        reader = try await TwoLayers.reader(over: bytes, keys: source, context: context)
      } else {
        streamed = try openLayer(sealed, key: keys.service, context: context, pieceSize: 10_000)
        reader = try await ObjectLayerReader(over: bytes, key: keys.service, layer: .service, context: context)
      }
      let read = try await reader.read(at: 0, count: entry.count)
      #expect(streamed == pattern(entry.count) && read == streamed, "\(entry.file)")
      #expect(try Hashing.sha256(streamed).hexadecimal == entry.sha256, "\(entry.file)")
      #expect(reader.size == Int64(entry.count), "\(entry.file)")
    }
  }

  @Test("Every key envelope of format 1 opens to its root key, and the key has its commitment")
  func envelopes() async throws {
    let manifest = try Self.manifest()
    #expect(Set(manifest.envelopes.map(\.algorithm)) == [.aes256KW, .rsaOAEP, .rsaOAEP256])
    for entry in manifest.envelopes {
      let envelope = try JSONDecoder().decode(KeyEnvelope.self, from: Data(try Self.read(entry.file)))
      let type: KeyType = entry.algorithm.isAsymmetric ? .rsa(bits: 2048) : .aes(bits: 256)
      let kek = try SoftwareKey.read(SecretBytes(copying: try hex(entry.kek)), as: type)
      let facts = try Self.facts(entry.algorithm)
      #expect(try envelope.peek() == facts)
      let opened = try await KeyEnvelopeTests.open(envelope, facts, kek)
      let isSame = opened.isEqual(to: SecretBytes(copying: try hex(entry.rootKey)))
      #expect(isSame, "\(entry.file)")
      #expect(try RootKey(material: opened).commitment.hexadecimal == entry.commitment, "\(entry.file)")
    }
  }

  /// Writes the files of format 1 anew; a format that was given out is never written again.
  @Test(
    "The golden files are written",
    .enabled(if: ProcessInfo.processInfo.environment["KEYCUSTODY_WRITE_GOLDEN"] == "1"))
  func write() async throws {
    try FileManager.default.createDirectory(at: Self.folder, withIntermediateDirectories: true)
    func save(_ name: String, _ bytes: [UInt8]) throws {
      try Data(bytes).write(to: Self.folder.appending(path: name))
    }
    var manifest = Manifest(
      format: 1, serviceRootKey: [UInt8](0x10..<0x30).hexadecimal, customerRootKey: [UInt8](0x50..<0x70).hexadecimal,
      records: [], objects: [], envelopes: [])
    let keys = try Self.keys(manifest)
    func entry(_ file: String, _ count: Int, _ layers: Int) throws -> Manifest.Sealed {
      Manifest.Sealed(
        file: file, count: count, layers: layers, sha256: try Hashing.sha256(pattern(count)).hexadecimal)
    }
    for size in Self.recordSizes {
      let (one, two) = ("record-\(size)-one-layer", "record-\(size)")
      try save(
        one,
        try RecordLayer.seal(
          pattern(size), key: keys.service, layer: .service, context: try Self.context(one), random: SystemRandom()))
      try save(
        two,
        try TwoLayers.sealRecord(
          pattern(size), keys: keys, context: try Self.context(two), random: SystemRandom()))
      manifest.records += [try entry(one, size, 1), try entry(two, size, 2)]
    }
    for size in Self.objectSizes {
      let name = "object-\(size)-one-layer"
      try save(name, try sealLayer(pattern(size), key: keys.service, context: try Self.context(name)))
      manifest.objects.append(try entry(name, size, 1))
    }
    for size in [0, 16_384, 20_000] {
      let name = "object-\(size)"
      let stream = TwoLayers.sealStream(
        Pieces(pattern(size), size: 5000), keys: keys, context: try Self.context(name), random: SystemRandom())
      try save(name, try await stream.collected())
      manifest.objects.append(try entry(name, size, 2))
    }
    for algorithm in [WrapAlgorithm.aes256KW, .rsaOAEP, .rsaOAEP256] {
      let kek = try SoftwareKey.generate(
        algorithm.isAsymmetric ? .rsa(bits: 2048) : .aes(bits: 256), random: SystemRandom())
      let material = try RootKey.generateMaterial(random: SystemRandom())
      let envelope = try await KeyEnvelopeTests.seal(material, try Self.facts(algorithm), kek)
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
      let name = "envelope-\(algorithm.rawValue).json"
      try save(name, Array(try encoder.encode(envelope)))
      func shown(_ secret: borrowing SecretBytes) -> String {
        secret.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] }.hexadecimal }
      }
      manifest.envelopes.append(
        Manifest.Envelope(
          file: name, algorithm: algorithm, kek: shown(try kek.serialized()), rootKey: shown(material),
          commitment: try RootKey(material: material).commitment.hexadecimal))
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    try save("manifest.json", Array(try encoder.encode(manifest)) + [0x0a])
  }
}
