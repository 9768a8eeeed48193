internal import CKeyCustodyOpenSSL
package import KeyCustody

extension SoftwareKey {
  /// The members of this key's private JSON Web Key but `kty` (RFC 7518, section 6), as JSON text without the braces.
  ///
  /// In memory that is cleared: the text holds all that the key is.
  package func privateJSONWebKeyMembers() throws(KeyCustodyError) -> SecretBytes {
    switch type {
    case .aes: return Self.member("k", try serialized())
    case .rsa:
      var text = try member("n", "n")
      for (name, parameter) in [
        ("e", "e"), ("d", "d"), ("p", "rsa-factor1"), ("q", "rsa-factor2"), ("dp", "rsa-exponent1"),
        ("dq", "rsa-exponent2"), ("qi", "rsa-coefficient1"),
      ] {
        text = text.followed(by: try member(name, parameter).preceded(by: [UInt8(ascii: ",")]))
      }
      return text
    case .ec(let curve):
      // All three in full length (RFC 7518, section 6.2).
      var text = SecretBytes(copying: Array("\"crv\":\"\(curve.rawValue)\"".utf8))
      for (name, parameter) in [("x", "qx"), ("y", "qy"), ("d", "priv")] {
        let member = try member(name, parameter, atLeast: curve.coordinateLength)
        text = text.followed(by: member.preceded(by: [UInt8(ascii: ",")]))
      }
      return text
    }
  }

  private func member(
    _ name: String, _ parameter: String, atLeast count: Int = 1
  ) throws(KeyCustodyError) -> SecretBytes {
    guard let key = unsafe key else { throw wrongKeyType("JWK", type) }
    var number: OpaquePointer?
    defer { unsafe BN_clear_free(number) }
    try check(unsafe EVP_PKEY_get_bn_param(key, parameter, &number), "EVP_PKEY_get_bn_param")
    let length = max(count, (Int(unsafe BN_num_bits(number)) + 7) / 8)
    var written: Int32 = -1
    let bytes = SecretBytes(count: length) { output in
      unsafe output.withUnsafeMutableBytes { output in
        unsafe written = BN_bn2binpad(number, output.octets, Int32(length))
      }
    }
    guard written == Int32(length) else { throw openSSLFault("BN_bn2binpad") }
    return Self.member(name, bytes)
  }

  private static func member(_ name: String, _ value: borrowing SecretBytes) -> SecretBytes {
    value.base64URL.preceded(by: Array("\"\(name)\":\"".utf8)).followed(by: SecretBytes(copying: [UInt8(ascii: "\"")]))
  }
}
