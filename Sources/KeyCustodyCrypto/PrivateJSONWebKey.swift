internal import CKeyCustodyOpenSSL
package import KeyCustody

/// A private or secret key out of a JSON Web Key (RFC 7517; RFC 7518, section 6), in the form that providers import.
package struct PrivateJSONWebKey: ~Copyable {
  /// Type and size.
  package let type: KeyType
  /// PKCS#8 DER for RSA and EC, the bare bytes for AES.
  package let material: SecretBytes

  /// A modulus of 4096 bits with many leading zero bytes: nothing longer is looked at.
  private static let longestMember = 1024

  private init(_ type: KeyType, _ material: consuming SecretBytes) {
    self.type = type
    self.material = material
  }

  /// Reads a JSON Web Key's string members; those that it does not need are ignored.
  ///
  /// Numbers may have leading zero bytes, and base64url its padding. An RSA key has two primes of half its length. The
  /// key is checked as a whole, primes included, which takes a noticeable time (4096 bits: half a second and more): not
  /// on the cooperative pool.
  ///
  /// The strings come out of a JSON reader, so the private numbers stand in ordinary memory already, which nobody clears;
  /// from here on they are in memory that is cleared.
  ///
  /// - Throws: `invalidInput` (`malformed`, `wrong-key-type`, `wrong-size`), naming the member, never its value;
  ///   `unsupported` (`not-offered`) for what FIPS mode refuses.
  package static func importable(_ members: borrowing [String: String]) throws(KeyCustodyError) -> PrivateJSONWebKey {
    switch try text("kty", members) {
    case "RSA", "RSA-HSM": try rsa(members)
    case "EC", "EC-HSM": try ec(members)
    case "oct", "oct-HSM": try aes(members)
    default:
      throw KeyCustodyError(
        .invalidInput, .wrongKeyType, "The key's 'kty' is none that is offered.",
        remedy: "Use one of RSA, RSA-HSM, EC, EC-HSM, oct, oct-HSM.")
    }
  }

  /// The material alone, without another copy of it.
  package consuming func takeMaterial() -> SecretBytes { material }

  private static func rsa(_ members: borrowing [String: String]) throws(KeyCustodyError) -> PrivateJSONWebKey {
    let numbers = RSANumbers(
      n: try number("n", members), e: try number("e", members), d: try number("d", members),
      p: try number("p", members), q: try number("q", members), dp: try number("dp", members),
      dq: try number("dq", members), qi: try number("qi", members))
    let bits = numbers.n.bitCount
    let type = KeyType.rsa(bits: bits)
    guard KeyType.offered.contains(type) else {
      throw KeyCustodyError(
        .invalidInput, .wrongKeyType, "The key's 'n' has \(bits) bits.", remedy: "Use RSA of 2048, 3072 or 4096 bits.")
    }
    guard numbers.n.isOdd else { throw misfit("n", "is even") }
    guard numbers.e.isOdd, (2...64).contains(numbers.e.bitCount) else {
      throw misfit("e", "is not an odd number from 3 to 2^64")
    }
    guard numbers.p.bitCount == bits / 2 else { throw misfit("p", "does not have half the bits of 'n'") }
    guard numbers.q.bitCount == bits / 2 else { throw misfit("q", "does not have half the bits of 'n'") }
    guard numbers.d.bitCount <= bits else { throw misfit("d", "is greater than 'n'") }
    let material = numbers.pkcs8
    do {
      _ = try SoftwareKey.read(material, as: type)
    } catch {
      guard error.code == .invalidInput else { throw error }
      guard let name = numbers.misfit() else { throw error }
      throw misfit(name, ["p", "q"].contains(name) ? "is not a prime number" : "does not fit the other numbers")
    }
    return PrivateJSONWebKey(type, material)
  }

  private static func ec(_ members: borrowing [String: String]) throws(KeyCustodyError) -> PrivateJSONWebKey {
    guard let curve = EllipticCurve(rawValue: try text("crv", members)) else {
      throw KeyCustodyError(
        .invalidInput, .wrongKeyType, "The key's 'crv' is none that is offered.",
        remedy: "Use one of \(EllipticCurve.allCases.map(\.rawValue).joined(separator: ", ")).")
    }
    let (x, y) = (try coordinate("x", members, curve), try coordinate("y", members, curve))
    let d = try number("d", members)
    guard d.count <= curve.coordinateLength else { throw misfit("d", "is too long for \(curve.rawValue)") }
    let point = [0x04] + x + y
    guard (try? PublicKey(spki: DER.ecPublicKey(curve: curve, point: point))) != nil else {
      throw KeyCustodyError(.invalidInput, .malformed, "The key's 'x' and 'y' are no point of \(curve.rawValue).")
    }
    let material = DER.ecPrivateKey(curve: curve, d: d.padded(to: curve.coordinateLength), point: point)
    do {
      _ = try SoftwareKey.read(material, as: .ec(curve))
    } catch {
      throw error.code == .invalidInput ? misfit("d", "does not belong to 'x' and 'y'") : error
    }
    return PrivateJSONWebKey(.ec(curve), material)
  }

  private static func aes(_ members: borrowing [String: String]) throws(KeyCustodyError) -> PrivateJSONWebKey {
    let key = try decoded("k", members)
    guard key.count == 32 else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "The key's 'k' has \(key.count) bytes.", remedy: "Use AES with a key of 32 bytes.")
    }
    return PrivateJSONWebKey(.aes(bits: 256), key)
  }

  private static func text(
    _ name: String, _ members: borrowing [String: String]
  ) throws(KeyCustodyError) -> String {
    guard let text = members[name], !text.isEmpty else {
      throw KeyCustodyError(.invalidInput, .malformed, "The key lacks its member '\(name)'.")
    }
    return text
  }

  private static func decoded(
    _ name: String, _ members: borrowing [String: String]
  ) throws(KeyCustodyError) -> SecretBytes {
    let text = try text(name, members)
    guard text.utf8.count <= longestMember, let bytes = SecretBytes.decoded(base64URL: text) else {
      throw KeyCustodyError(.invalidInput, .malformed, "The key's '\(name)' is not base64url of a number.")
    }
    return bytes
  }

  /// A positive number, without its leading zero bytes.
  private static func number(
    _ name: String, _ members: borrowing [String: String]
  ) throws(KeyCustodyError) -> SecretBytes {
    let number = try decoded(name, members).magnitude
    guard number.count > 0 else { throw misfit(name, "is zero") }
    return number
  }

  /// A public number in full length.
  private static func coordinate(
    _ name: String, _ members: borrowing [String: String], _ curve: EllipticCurve
  ) throws(KeyCustodyError) -> [UInt8] {
    let number = try decoded(name, members).magnitude
    guard number.count <= curve.coordinateLength else { throw misfit(name, "is too long for \(curve.rawValue)") }
    return number.padded(to: curve.coordinateLength).withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
  }

  private static func misfit(_ name: String, _ what: String) -> KeyCustodyError {
    KeyCustodyError(.invalidInput, .malformed, "The key's '\(name)' \(what).")
  }
}

extension PublicKey {
  /// What a JSON Web Key says of it: `n` and `e`, or `crv`, `x` and `y` (RFC 7518, sections 6.3.1 and 6.2.1).
  ///
  /// Empty when OpenSSL has no memory left.
  package var jsonWebKeyMembers: [(name: String, value: String)] {
    switch type {
    case .rsa:
      guard let n = number(OSSL_PKEY_PARAM_RSA_N, atLeast: 1), let e = number(OSSL_PKEY_PARAM_RSA_E, atLeast: 1)
      else { return [] }
      return [("n", n.base64URL), ("e", e.base64URL)]
    case .ec(let curve):
      guard let x = number(OSSL_PKEY_PARAM_EC_PUB_X, atLeast: curve.coordinateLength),
        let y = number(OSSL_PKEY_PARAM_EC_PUB_Y, atLeast: curve.coordinateLength)
      else { return [] }
      return [("crv", curve.rawValue), ("x", x.base64URL), ("y", y.base64URL)]
    case .aes: return []
    }
  }

  /// A number of the key, big-endian.
  private func number(_ name: String, atLeast count: Int) -> [UInt8]? {
    var number: OpaquePointer?
    defer { unsafe BN_free(number) }
    guard unsafe EVP_PKEY_get_bn_param(key, name, &number) == 1 else {
      ERR_clear_error()
      return nil
    }
    let length = max(count, (Int(unsafe BN_num_bits(number)) + 7) / 8)
    var bytes = [UInt8](repeating: 0, count: length)
    return unsafe BN_bn2binpad(number, &bytes, Int32(length)) == Int32(length) ? bytes : nil
  }
}
