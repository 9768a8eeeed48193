@testable import KeyCustody
@testable import KeyCustodyCrypto

extension FuzzTarget {
  private static let hashLength = 32
  private static let labelHash = made { try Hashing.sha256([]) }

  /// MGF1 with SHA-256 (RFC 8017, appendix B.2.1).
  private static func mask(_ seed: [UInt8], _ count: Int) -> [UInt8] {
    var mask: [UInt8] = []
    var counter: UInt8 = 0
    while mask.count < count {
      mask += made { try Hashing.sha256(seed + [0, 0, 0, counter]) }
      counter += 1
    }
    return Array(mask.prefix(count))
  }

  /// What RFC 8017, section 7.1.2, step 3, says of an unmasked block: the message, or `nil`.
  private static func message(of data: ArraySlice<UInt8>, first: UInt8) -> [UInt8]? {
    guard first == 0, data.count > hashLength, data.prefix(hashLength).elementsEqual(labelHash) else { return nil }
    let rest = data.dropFirst(hashLength).drop { $0 == 0 }
    return rest.first == 1 ? Array(rest.dropFirst()) : nil
  }

  /// OAEP decoding: it says what an independent decoder says.
  ///
  /// The first byte chooses whether the rest is a block as it comes from a device, or one that is still to be masked:
  /// leading byte, seed, data.
  static let oaep = FuzzTarget(
    name: "oaep",
    seeds: {
      let padded = [0] + pattern(32) + labelHash
      return [
        [1] + padded + [UInt8](repeating: 0, count: 158) + [1] + pattern(32), [1] + padded + [1],
        [1] + padded + [0, 0], [3] + padded + [1, 2], [0] + pattern(256), [0],
      ]
    },
    run: { input in
      guard let mode = input.first else { return }
      var block = Array(input.dropFirst())
      guard block.count <= 512 else { return }
      var expected: [UInt8]?
      if block.count >= 2 * hashLength + 2 {
        if mode & 1 == 1 {
          var data = Array(block[33...])
          if mode & 2 == 2 { data.replaceSubrange(0..<hashLength, with: labelHash) }
          expected = message(of: data[...], first: block[0])
          let masked = zip(data, mask(Array(block[1..<33]), data.count)).map { $0 ^ $1 }
          let seed = zip(block[1..<33], mask(masked, 32)).map { $0 ^ $1 }
          block = [block[0]] + seed + masked
        } else {
          let seed = zip(block[1..<33], mask(Array(block[33...]), 32)).map { $0 ^ $1 }
          let data = zip(block[33...], mask(seed, block.count - 33)).map { $0 ^ $1 }
          expected = message(of: data[...], first: block[0])
        }
      }
      let decoded = allowing([.integrityFailure]) { try decodeOAEP(SecretBytes(copying: block), .rsaOAEP256).array }
      require(decoded == expected, "OAEP decodes to something else")
    })
}
