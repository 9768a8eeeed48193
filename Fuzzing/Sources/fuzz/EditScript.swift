/// Changes to a long original, written in few bytes: a mutator does not find its way through kilobytes of ciphertext.
///
/// Each change takes five bytes: what to do, where (three bytes, modulo the length), and a value.
enum EditScript {
  static func apply(_ script: ArraySlice<UInt8>, to original: [UInt8], unit: Int) -> [UInt8] {
    var bytes = original
    var rest = script
    while rest.count >= 5, bytes.count < original.count + 40_000 {
      let change = Array(rest.prefix(5))
      rest = rest.dropFirst(5)
      let place = Int(change[1]) | Int(change[2]) << 8 | Int(change[3]) << 16
      let value = Int(change[4])
      let position = bytes.isEmpty ? 0 : place % bytes.count
      switch change[0] % 6 {
      case 0: if !bytes.isEmpty { bytes[position] ^= change[4] }
      case 1: bytes.removeLast(bytes.count - position)
      case 2: bytes.removeSubrange(position..<min(position + value, bytes.count))
      case 3: bytes.insert(contentsOf: [UInt8](repeating: change[4], count: value), at: position)
      case 4: swapUnits(&bytes, place % 8, value % 8, unit)
      default: repeatUnit(&bytes, place % 8, unit)
      }
    }
    return bytes
  }

  private static func range(_ index: Int, _ bytes: [UInt8], _ unit: Int) -> Range<Int>? {
    let start = 68 + index * unit
    return start + unit <= bytes.count ? start..<(start + unit) : nil
  }

  private static func swapUnits(_ bytes: inout [UInt8], _ first: Int, _ second: Int, _ unit: Int) {
    guard let left = range(first, bytes, unit), let right = range(second, bytes, unit) else { return }
    let kept = Array(bytes[left])
    bytes.replaceSubrange(left, with: Array(bytes[right]))
    bytes.replaceSubrange(right, with: kept)
  }

  private static func repeatUnit(_ bytes: inout [UInt8], _ index: Int, _ unit: Int) {
    guard let place = range(index, bytes, unit) else { return }
    bytes.insert(contentsOf: Array(bytes[place]), at: place.upperBound)
  }
}
