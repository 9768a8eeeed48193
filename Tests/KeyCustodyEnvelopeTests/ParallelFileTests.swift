import KeyCustody
import KeyCustodyTestSupport
import Testing

@testable import KeyCustodyEnvelope

/// A file is cut into units that several threads take: the result is that of one pass.
@Suite struct ParallelFileTests {
  private static let unit = LayeredFile.chunksPerUnit * 16_384
  /// Lengths around chunks and units, in the content and in the stream between the layers.
  private static let sizes: [Int] = {
    var sizes: Set<Int> = []
    for center in [0, 16_384, unit, 2 * unit, 3 * unit, 3 * unit - 68, 2 * unit - 68 - 16 * 33] {
      for offset in [-16_385, -16_384, -53, -52, -17, -16, -1, 0, 1, 15, 16, 17, 16_383, 16_384] {
        sizes.insert(center + offset)
      }
    }
    var random = SystemRandomNumberGenerator()
    for _ in 0..<20 { sizes.insert(Int.random(in: 0..<(4 * unit), using: &random)) }
    return sizes.filter { $0 >= 0 }.sorted()
  }()

  @Test("Files of every length around chunks and units seal, renew and open as streams do")
  func lengths() async throws {
    let folder = try TemporaryFolder()
    let keys = try makeLayeredKeys()
    let newKey = try makeRootKey()
    let source = TestKeys(keys)
    source.add(newKey, .customer)
    let context = try makeContext()
    let (plain, sealed, opened) = (
      folder.appending("plain"), folder.appending("sealed"), folder.appending("opened")
    )
    for size in Self.sizes {
      let content = pattern(size)
      try folder.write(content, to: "plain")
      try await TwoLayers.sealFile(
        from: plain, to: sealed, keys: keys, renewingFrom: source, context: context, random: SystemRandom())
      let stream = TwoLayers.openStream(
        Pieces(try folder.read("sealed"), size: 70_000), keys: source, context: context)
      #expect(try await stream.collected() == content, "sealed \(size)")
      try await TwoLayers.openFile(from: sealed, to: opened, keys: source, context: context)
      #expect(try folder.read("opened") == content, "opened \(size)")
      try await TwoLayers.renewOuterLayer(
        ofFile: sealed, from: source, to: newKey, context: context, random: SystemRandom())
      try await TwoLayers.openFile(from: sealed, to: opened, keys: source, context: context)
      #expect(try folder.read("opened") == content, "renewed \(size)")
      // What streams seal, files open.
      var streamed: [UInt8] = []
      for try await piece in TwoLayers.sealStream(
        Pieces(content, size: 50_000), keys: keys, context: context, random: SystemRandom())
      { streamed += piece }
      try folder.write(streamed, to: "sealed")
      try await TwoLayers.openFile(from: sealed, to: opened, keys: source, context: context)
      #expect(try folder.read("opened") == content, "streamed \(size)")
    }
    print("parallel files: \(Self.sizes.count) lengths sealed, opened and renewed")
  }

  @Test("One flipped byte anywhere, in either layer, or a cut at any unit, is found")
  func damage() async throws {
    let folder = try TemporaryFolder()
    let keys = try makeLayeredKeys()
    let source = TestKeys(keys)
    let context = try makeContext()
    let content = pattern(3 * Self.unit + 1000)
    try folder.write(content, to: "plain")
    try await TwoLayers.sealFile(
      from: folder.appending("plain"), to: folder.appending("sealed"), keys: keys, context: context,
      random: SystemRandom())
    let sealed = try folder.read("sealed")
    let inner = try openLayer(sealed, key: keys.customer, layer: .customer, context: context)
    var count = 0
    func refused(_ bytes: [UInt8], _ what: String) async throws {
      try folder.write(bytes, to: "sealed")
      let error = await #expect(throws: KeyCustodyError.self, "\(what)") {
        try await TwoLayers.openFile(
          from: folder.appending("sealed"), to: folder.appending("opened"), keys: source, context: context)
      }
      #expect([.integrityFailure, .invalidInput, .unsupported].contains(error?.code), "\(what)")
      count += 1
    }
    for offset in stride(from: 0, to: sealed.count, by: 9_973) {
      var bytes = sealed
      bytes[offset] ^= 1
      try await refused(bytes, "outer byte \(offset)")
    }
    // Whoever holds the outer key alone can't alter the inner layer either.
    for offset in stride(from: 0, to: inner.count, by: 49_999) {
      var bytes = inner
      bytes[offset] ^= 1
      let resealed = try sealLayer(bytes, key: keys.customer, layer: .customer, context: context)
      try await refused(resealed, "inner byte \(offset)")
    }
    for length in stride(from: 0, to: sealed.count, by: 16_400) + [12, 67, 68, 84, sealed.count - 1] {
      try await refused(Array(sealed.prefix(length)), "cut at \(length)")
    }
    print("parallel files: \(count) damaged files refused")
  }

  @Test("Leases that end while a file is worked on are asked for again, and the file is right")
  func renewedLeases() async throws {
    let folder = try TemporaryFolder()
    let material = [UInt8](repeating: 7, count: 32)
    @Sendable func fresh() throws -> LayeredKeys {
      LayeredKeys(
        service: try RootKey(material: SecretBytes(copying: material)),
        customer: try RootKey(material: SecretBytes(copying: material.map { $0 ^ 1 })))
    }
    let first = try fresh()
    let current = Current(first)
    let source = TestKeys(first)
    let context = try makeContext()
    let content = pattern(8 * Self.unit + 5)
    try folder.write(content, to: "plain")
    let replaced = Counter()
    let replace: @Sendable (Int64) -> Void = { _ in
      current.destroy()
      guard let next = try? fresh() else { return }
      current.replace(next)
      source.add(next.service, .service)
      source.add(next.customer, .customer)
      replaced.add()
    }
    try await TwoLayers.sealFile(
      from: folder.appending("plain"), to: folder.appending("sealed"), keys: first, renewingFrom: source,
      context: context, random: SystemRandom(), progress: replace)
    try await TwoLayers.openFile(
      from: folder.appending("sealed"), to: folder.appending("opened"), keys: source, context: context,
      progress: replace)
    #expect(try folder.read("opened") == content)
    #expect(replaced.value >= 4)
  }
}
