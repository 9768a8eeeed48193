public import KeyCustody
import Synchronization

/// Random bytes that a seed decides (SplitMix64): the same seed gives the same bytes.
///
/// For tests only: predictable.
public final class SeededRandom: RandomSource {
  private let state: Mutex<UInt64>

  /// The sequence of a seed.
  public init(seed: UInt64) { state = Mutex(seed) }

  /// The next 64 bits.
  public func next() -> UInt64 {
    state.withLock { state in
      state &+= 0x9e37_79b9_7f4a_7c15
      var word = state
      word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
      word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
      return word ^ (word >> 31)
    }
  }

  /// Fills the buffer with the next bytes of the sequence; never fails.
  public func fill(_ buffer: inout MutableRawSpan) throws(KeyCustodyError) {
    var offset = 0
    while offset < buffer.byteCount {
      var word = next()
      for _ in 0..<min(8, buffer.byteCount - offset) {
        buffer.storeBytes(of: UInt8(truncatingIfNeeded: word), toByteOffset: offset, as: UInt8.self)
        word >>= 8
        offset += 1
      }
    }
  }
}

/// Gives the bytes it was made with, in order: for test vectors, and for what happens when a random source fails.
public final class FixedRandom: RandomSource {
  private let bytes: [UInt8]
  private let repeats: Bool
  private let position = Mutex(0)

  /// Gives `bytes` once, or over and over.
  public init(_ bytes: [UInt8], repeating repeats: Bool = false) {
    self.bytes = bytes
    self.repeats = repeats && !bytes.isEmpty
  }

  /// Fills the buffer with the bytes that are next.
  ///
  /// - Throws: `fault` (`internal-fault`) when there are not enough left; the buffer is then unchanged.
  public func fill(_ buffer: inout MutableRawSpan) throws(KeyCustodyError) {
    let count = buffer.byteCount
    let start = position.withLock { position -> Int? in
      guard repeats || position + count <= bytes.count else { return nil }
      defer { position += count }
      return position
    }
    guard let start else {
      throw KeyCustodyError(.fault, .internalFault, "The random source has no more bytes to give.")
    }
    for offset in 0..<count {
      buffer.storeBytes(of: bytes[(start + offset) % bytes.count], toByteOffset: offset, as: UInt8.self)
    }
  }
}
