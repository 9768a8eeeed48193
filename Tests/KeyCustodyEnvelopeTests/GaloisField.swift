import KeyCustodyCrypto

/// GF(2^128) as GHASH has it (NIST SP 800-38D, section 6.3): the first bit of the first byte is the constant term.
struct GaloisField: Equatable {
  var high: UInt64
  var low: UInt64

  static let one = GaloisField(high: 1 << 63, low: 0)
  static let zero = GaloisField(high: 0, low: 0)

  init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// Up to 16 bytes, filled up with zeros.
  init(_ bytes: some Collection<UInt8>) {
    let padded = Array(bytes) + [UInt8](repeating: 0, count: 16 - bytes.count)
    high = padded[..<8].reduce(0) { $0 << 8 | UInt64($1) }
    low = padded[8...].reduce(0) { $0 << 8 | UInt64($1) }
  }

  var bytes: [UInt8] {
    [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) } }
  }

  static func + (left: Self, right: Self) -> Self {
    GaloisField(high: left.high ^ right.high, low: left.low ^ right.low)
  }

  static func * (left: Self, right: Self) -> Self {
    var (product, factor) = (zero, right)
    for bit in 0..<128 {
      let isSet = (bit < 64 ? left.high >> UInt64(63 - bit) : left.low >> UInt64(127 - bit)) & 1 == 1
      if isSet { product = product + factor }
      let carry = factor.low & 1
      factor = GaloisField(high: factor.high >> 1, low: factor.low >> 1 | factor.high << 63)
      if carry == 1 { factor.high ^= 0xe1 << 56 }
    }
    return product
  }

  /// The inverse, as the power 2^128 - 2.
  var inverse: GaloisField {
    var (result, power) = (GaloisField.one, self)
    for _ in 1..<128 {
      power = power * power
      result = result * power
    }
    return result
  }

  /// GHASH over additional data and ciphertext under the hash key.
  static func hash(_ key: GaloisField, _ extra: [UInt8], _ ciphertext: [UInt8]) -> GaloisField {
    var sum = zero
    for part in [extra, ciphertext] {
      for start in stride(from: 0, to: part.count, by: 16) {
        sum = (sum + GaloisField(part[start..<min(start + 16, part.count)])) * key
      }
    }
    return (sum + GaloisField(high: UInt64(8 * extra.count), low: UInt64(8 * ciphertext.count))) * key
  }
}

/// AES-256-GCM under one key and nonce, as far as a forger needs it.
struct OpenGCM {
  let hashKey: GaloisField
  /// What the hash is masked with to make the tag.
  let mask: GaloisField

  init(key: [UInt8], nonce: [UInt8]) throws {
    var cipher = try AES256Block(key: unsafe key.span.bytes)
    var blocks = [UInt8](repeating: 0, count: 16) + nonce + [0, 0, 0, 1]
    var span = blocks.mutableSpan
    var bytes = unsafe span.mutableBytes
    try cipher.encrypt(&bytes)
    hashKey = GaloisField(blocks[..<16])
    mask = GaloisField(blocks[16...])
  }

  func tag(_ extra: [UInt8], _ ciphertext: [UInt8]) -> GaloisField {
    mask + GaloisField.hash(hashKey, extra, ciphertext)
  }

  /// A ciphertext of one block with a tag that is right under both keys.
  static func collision(_ first: OpenGCM, _ second: OpenGCM, extra: [UInt8]) -> [UInt8] {
    let zeros = [UInt8](repeating: 0, count: 16)
    // The tag is linear in the block, which stands at the square of the hash key.
    let difference = first.tag(extra, zeros) + second.tag(extra, zeros)
    let slope = first.hashKey * first.hashKey + second.hashKey * second.hashKey
    let block = (difference * slope.inverse).bytes
    return block + first.tag(extra, block).bytes
  }
}
