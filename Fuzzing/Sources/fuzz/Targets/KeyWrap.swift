@testable import KeyCustody
@testable import KeyCustodyCrypto

extension FuzzTarget {
  private static let key = [UInt8](repeating: 4, count: 32)

  /// AES key wrap: what unwraps was wrapped, and what is wrapped unwraps.
  static let keyWrap = FuzzTarget(
    name: "key-wrap",
    seeds: {
      [16, 24, 32, 64].map { count in
        made { try AES256KeyWrap.wrap(SecretBytes(copying: pattern(count)), key: key.span.bytes) }
      } + [[1, 2]]
    },
    run: { input in
      if let secret = allowing([.integrityFailure], { try AES256KeyWrap.unwrap(input, key: key.span.bytes).array }) {
        let again = allowing([]) { try AES256KeyWrap.wrap(SecretBytes(copying: secret), key: key.span.bytes) }
        require(again == input, "something else than what was wrapped unwraps")
      }
      let fits = (16...64).contains(input.count) && input.count.isMultiple(of: 8)
      let wrapped = allowing(fits ? [] : [.invalidInput]) {
        try AES256KeyWrap.wrap(SecretBytes(copying: input), key: key.span.bytes)
      }
      require((wrapped != nil) == fits, "a secret of \(input.count) bytes was wrapped")
      guard let wrapped else { return }
      let back = allowing([]) { try AES256KeyWrap.unwrap(wrapped, key: key.span.bytes).array }
      require(back == input, "what was wrapped does not unwrap")
    })
}
