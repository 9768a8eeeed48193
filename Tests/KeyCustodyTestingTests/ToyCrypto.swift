import KeyCustody

/// Not cryptography: mixing that is good enough to notice a changed bit, so that toys behave like real backends.
enum ToyCrypto {
  /// 64 bits that depend on every bit of every part.
  static func mix(_ parts: [[UInt8]]) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for part in parts {
      for byte in part { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
      hash = avalanche(hash ^ UInt64(part.count))
    }
    return avalanche(hash)
  }

  /// So many bytes that depend on every bit of every part.
  static func stream(_ parts: [[UInt8]], count: Int) -> [UInt8] {
    let seed = mix(parts)
    var bytes: [UInt8] = []
    for block in 0..<UInt64((count + 7) / 8) { bytes += Self.bytes(avalanche(seed &+ block &* 0x9e37_79b9_7f4a_7c15)) }
    return Array(bytes.prefix(count))
  }

  /// The 8 bytes of a word.
  static func bytes(_ word: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * UInt64($0))) }
  }

  private static func avalanche(_ word: UInt64) -> UInt64 {
    var word = word &+ 0x9e37_79b9_7f4a_7c15
    word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
    return word ^ (word >> 31)
  }

  // MARK: Wrapping

  /// Wraps 16, 24 or 32 bytes into 8 more, always alike.
  static func keyWrap(_ secret: [UInt8], key: [UInt8]) -> [UInt8] {
    let body = xor(secret, stream([key, [0]], count: secret.count))
    return body + bytes(mix([key, body]))
  }

  /// The opposite of ``keyWrap(_:key:)``; `nil` when anything changed.
  static func keyUnwrap(_ wrapped: [UInt8], key: [UInt8]) -> [UInt8]? {
    guard [24, 32, 40].contains(wrapped.count) else { return nil }
    let body = Array(wrapped.dropLast(8))
    guard Array(wrapped.suffix(8)) == bytes(mix([key, body])) else { return nil }
    return xor(body, stream([key, [0]], count: body.count))
  }

  /// Wraps up to 190 bytes into 256.
  static func oaep(_ secret: [UInt8], key: [UInt8], nonce: [UInt8]) -> [UInt8] {
    let padded = [UInt8(secret.count)] + secret + [UInt8](repeating: 0, count: 239 - secret.count)
    let body = nonce + xor(padded, stream([key, nonce], count: 240))
    return body + bytes(mix([key, body]))
  }

  /// The opposite of ``oaep(_:key:nonce:)``; `nil` when anything changed.
  static func oaepOpen(_ wrapped: [UInt8], key: [UInt8]) -> [UInt8]? {
    guard wrapped.count == 256 else { return nil }
    let body = Array(wrapped.dropLast(8))
    guard Array(wrapped.suffix(8)) == bytes(mix([key, body])) else { return nil }
    let padded = xor(Array(body.dropFirst(8)), stream([key, Array(body.prefix(8))], count: 240))
    return Array(padded.dropFirst().prefix(Int(padded[0])))
  }

  private static func xor(_ left: [UInt8], _ right: [UInt8]) -> [UInt8] { zip(left, right).map { $0 ^ $1 } }

  // MARK: Public keys

  /// A well-formed `SubjectPublicKeyInfo` with numbers out of a seed in it.
  static func publicKey(_ type: KeyType, seed: [UInt8]) -> [UInt8]? {
    switch type {
    case .rsa(let bits):
      var modulus = stream([seed, [1]], count: bits / 8)
      modulus[0] |= 0x80
      let key = der(0x30, der(0x02, [0] + modulus) + der(0x02, [1, 0, 1]))
      return der(
        0x30,
        der(0x30, der(0x06, [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]) + der(0x05, [])) + der(0x03, [0] + key))
    case .ec(let curve):
      let point = [4] + stream([seed, [2]], count: 2 * curve.coordinateLength)
      let objects =
        der(0x06, [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]) + der(0x06, [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7])
      return der(0x30, der(0x30, objects) + der(0x03, [0] + point))
    case .aes: return nil
    }
  }

  private static func der(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
    let count = content.count
    if count < 0x80 { return [tag, UInt8(count)] + content }
    if count < 0x100 { return [tag, 0x81, UInt8(count)] + content }
    return [tag, 0x82, UInt8(count >> 8), UInt8(count & 0xff)] + content
  }
}

/// Lets other tasks go first, many times: opens a gap in which a race shows.
func yieldUntil(_ condition: @Sendable () -> Bool) async {
  for _ in 0..<20_000 where !condition() { await Task.yield() }
}
