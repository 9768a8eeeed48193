public import KeyCustody
internal import KeyCustodyCrypto
import Synchronization

/// Reads anywhere in one layer of an object.
///
/// It is `RandomAccessBytes` itself, so layers nest.
///
/// Opening it authenticates the last chunk, so that ``size`` can be relied on. Each read opens the chunks it touches.
public struct ObjectLayerReader: RandomAccessBytes {
  /// The number of bytes of content.
  public let size: Int64
  private let base: any RandomAccessBytes
  private let lease: ReaderLease

  /// Opens a layer with a key; reads fail when the key is destroyed.
  ///
  /// - Throws: as ``ObjectLayerOpener/update(_:into:)``, and `integrityFailure` (`truncated`).
  public init(
    over base: any RandomAccessBytes, key: RootKey, layer: Layer, context: SealingContext
  ) async throws(KeyCustodyError) {
    let encoded = context.encoded(for: layer, header: SealedHeader(kind: .object, rootKey: key.id))
    try await self.init(over: base, key: key, source: nil, layer: layer, context: encoded)
  }

  /// Opens a layer; with a source, every read asks it for the key again.
  init(
    over base: any RandomAccessBytes, key: RootKey, source: (any RootKeySource)?, layer: Layer,
    context: [UInt8]
  ) async throws(KeyCustodyError) {
    let prelude = try await base.read(at: 0, count: Cobblestone.preludeLength)
    let (cipher, salt) = try readPrelude(prelude, key: key, context: context)
    guard let size = Cobblestone.contentLength(sealed: base.size) else { throw truncated("The sealed object") }
    self.base = base
    self.size = size
    lease = ReaderLease(key: key, cipher: cipher, salt: salt, context: context, source: source, layer: layer)
    // The last chunk is shorter than the others and stands at its own index, which nothing but the true end has.
    _ = try await open(chunks: size / Int64(Cobblestone.chunkLength), count: 1)
  }

  /// Reads content.
  public func read(at offset: Int64, count: Int) async throws(KeyCustodyError) -> [UInt8] {
    let range = try clamped(at: offset, count: count)
    let chunk = Int64(Cobblestone.chunkLength)
    guard !range.isEmpty else {
      _ = try await lease.current()
      return []
    }
    let (first, last) = (range.lowerBound / chunk, (range.upperBound - 1) / chunk)
    let runChunks = Int64(Cobblestone.runLength / Cobblestone.chunkLength / 2)
    var result: [UInt8] = []
    for start in stride(from: first, through: last, by: Int(runChunks)) {
      let chunkCount = min(runChunks, last - start + 1)
      let opened = try await open(chunks: start, count: Int(chunkCount))
      let wanted = range.clamped(to: (start * chunk)..<(start * chunk + Int64(opened.count)))
      if first == start, wanted.count == opened.count {
        result = opened
        if last >= start + chunkCount { result.reserveCapacity(range.count) }
      } else {
        result += opened[Int(wanted.lowerBound - start * chunk)..<Int(wanted.upperBound - start * chunk)]
      }
    }
    return result
  }

  /// Opens some chunks that follow one another.
  private func open(chunks first: Int64, count: Int) async throws(KeyCustodyError) -> [UInt8] {
    let start = Int64(Cobblestone.preludeLength) + first * Int64(Cobblestone.sealedChunkLength)
    let length = Int(min(Int64(count * Cobblestone.sealedChunkLength), base.size - start))
    let sealed = try await base.readAll(at: start, count: length)
    var attempts = 0
    while true {
      do throws(KeyCustodyError) {
        return try Self.open(sealed, first: UInt64(first), with: try await lease.current())
      } catch {
        attempts += 1
        guard error.reason == .leaseEnded, lease.canRenew, attempts < maximumRenewals else { throw error }
      }
    }
  }

  private static func open(
    _ sealed: [UInt8], first: UInt64, with cipher: ObjectCipher
  ) throws(KeyCustodyError) -> [UInt8] {
    try cipher.withChunks { (chunks) throws(KeyCustodyError) in
      var content: [UInt8] = []
      content.reserveCapacity(sealed.count)
      var index = first
      for offset in stride(from: 0, to: sealed.count, by: Cobblestone.sealedChunkLength) {
        let end = min(offset + Cobblestone.sealedChunkLength, sealed.count)
        try chunks.open(unsafe sealed.span.bytes.extracting(offset..<end), index: index, into: &content)
        index += 1
      }
      return content
    }
  }
}

/// The key a reader works under, and where it asks again.
private final class ReaderLease: Sendable {
  private let held: Mutex<(key: RootKey, cipher: ObjectCipher)>
  private let salt: [UInt8]
  private let context: [UInt8]
  private let source: (any RootKeySource)?
  private let layer: Layer
  private let id: RootKeyID

  init(
    key: RootKey, cipher: ObjectCipher, salt: [UInt8], context: [UInt8], source: (any RootKeySource)?, layer: Layer
  ) {
    held = Mutex((key, cipher))
    id = key.id
    self.salt = salt
    self.context = context
    self.source = source
    self.layer = layer
  }

  var canRenew: Bool { source != nil }

  func current() async throws(KeyCustodyError) -> ObjectCipher {
    let held = held.withLock { $0 }
    guard let source else {
      try held.key.requireLease()
      return held.cipher
    }
    let key = try await source.rootKey(id, layer: layer)
    if key === held.key { return held.cipher }
    try requireSame(key, held.key)
    let cipher = try key.objectCipher(salt: salt, context: context)
    self.held.withLock { $0 = (key, cipher) }
    return cipher
  }
}
