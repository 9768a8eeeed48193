#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Numbers that look random and are the same for the same seed (SplitMix64, Steele, Lea and Flood, 2014).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  /// The seed that `KEYCUSTODY_TEST_SEED` gives, or a new one; printed, so that a failure can be had again.
  static func announced(_ test: String) -> SeededGenerator {
    let given = ProcessInfo.processInfo.environment["KEYCUSTODY_TEST_SEED"].flatMap { UInt64($0) }
    let seed = given ?? UInt64.random(in: 0...UInt64.max)
    print("\(test): KEYCUSTODY_TEST_SEED=\(seed)")
    return SeededGenerator(seed: seed)
  }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
    return mixed ^ mixed >> 31
  }

  /// A size that likes to be near the end of a chunk.
  mutating func size() -> Int {
    let ends = [0, 16_384, 2 * 16_384, 3 * 16_384, 5 * 16_384]
    let near = (ends.randomElement(using: &self) ?? 0) + Int.random(in: -20...20, using: &self)
    return max(0, Bool.random(using: &self) ? near : Int.random(in: 0...100_000, using: &self))
  }

  /// Bytes cut to pieces of random sizes, some of them empty.
  mutating func cut(_ bytes: [UInt8]) -> [[UInt8]] {
    var pieces: [[UInt8]] = []
    var rest = bytes[...]
    let largest = [1000, 16_384, 16_400, 40_000, 200_000].randomElement(using: &self) ?? 1
    while !rest.isEmpty {
      let count = Int.random(in: 0...largest, using: &self)
      pieces.append(Array(rest.prefix(count)))
      rest = rest.dropFirst(count)
    }
    return pieces
  }
}
