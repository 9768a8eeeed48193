public import KeyCustody
import Synchronization

/// Random bytes that a test knows: the n-th draw is a function of the seed and of n.
///
/// Each byte is made on its own, so that making them leaves no eight of them side by side anywhere but in the buffer.
public final class NumberedRandom: RandomSource {
  private let seed: UInt64
  private let state = Mutex<[Int]>([])

  /// Draws by a seed.
  public init(seed: UInt64) { self.seed = seed }

  /// Fills the buffer with the next draw.
  public func fill(_ buffer: inout MutableRawSpan) throws(KeyCustodyError) {
    let count = buffer.byteCount
    let number = state.withLock { lengths in
      lengths.append(count)
      return lengths.count - 1
    }
    for index in 0..<count {
      buffer.storeBytes(of: Self.byte(seed, number, index), toByteOffset: index, as: UInt8.self)
    }
  }

  /// How many bytes each draw had so far.
  public var lengths: [Int] { state.withLock { $0 } }

  /// A draw, once more.
  public static func draw(_ number: Int, _ count: Int, seed: UInt64) -> [UInt8] {
    (0..<count).map { byte(seed, number, $0) }
  }

  private static func byte(_ seed: UInt64, _ number: Int, _ index: Int) -> UInt8 {
    var word = seed &+ UInt64(number) &* 0x9e37_79b9_7f4a_7c15 &+ UInt64(index) &* 0xd1b5_4a32_d192_ed03
    word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
    return UInt8(truncatingIfNeeded: (word ^ (word >> 31)) >> 24)
  }
}
