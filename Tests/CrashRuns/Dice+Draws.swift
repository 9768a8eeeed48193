import KeyCustody
import KeyCustodyTestSupport

extension Dice {
  /// Whether something of that chance in a hundred happens.
  mutating func happens(_ chance: Int) -> Bool { Int.random(in: 0..<100, using: &self) < chance }

  mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) } }

  /// A name for a request, of a UUID's form.
  mutating func requestName() -> String {
    let text = Array(bytes(16).hexadecimal)
    return [0..<8, 8..<12, 12..<16, 16..<20, 20..<32].map { String(text[$0]) }.joined(separator: "-")
  }
}
