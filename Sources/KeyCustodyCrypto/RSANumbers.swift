internal import CKeyCustodyOpenSSL
import KeyCustody

/// The eight numbers of an RSA private key with two primes (RFC 8017, section 3.2), without leading zero bytes.
struct RSANumbers: ~Copyable {
  let n: SecretBytes
  let e: SecretBytes
  let d: SecretBytes
  let p: SecretBytes
  let q: SecretBytes
  let dp: SecretBytes
  let dq: SecretBytes
  let qi: SecretBytes

  /// PKCS#8 (RFC 8017, appendix A.1.2: `RSAPrivateKey`).
  var pkcs8: SecretBytes {
    var body = SecretBytes(copying: [0x02, 0x01, 0x00])
    body = body.followed(by: DER.integer(n)).followed(by: DER.integer(e)).followed(by: DER.integer(d))
    body = body.followed(by: DER.integer(p)).followed(by: DER.integer(q))
    body = body.followed(by: DER.integer(dp)).followed(by: DER.integer(dq)).followed(by: DER.integer(qi))
    return DER.privateKeyInfo(DER.rsaAlgorithm, DER.element(0x30, body))
  }

  /// The name of the first number that does not fit the others, for a message; `nil` when they fit.
  ///
  /// Slow: it tests both primes again.
  func misfit() -> String? {
    guard let context = unsafe try? OpenSSLLibrary.shared.requireContext() else { return nil }
    defer { ERR_clear_error() }
    let (n, e, d, p) = (Number(n), Number(e), Number(d), Number(p))
    let (q, dp, dq, qi) = (Number(q), Number(dp), Number(dq), Number(qi))
    let name = unsafe kc_rsa_misfit(
      context, n.value, e.value, d.value, p.value, q.value, dp.value, dq.value, qi.value)
    guard let name = unsafe name, unsafe name.pointee != 0 else { return nil }
    return unsafe String(cString: name)
  }

  /// A number as OpenSSL's arithmetic takes it, cleared at its end.
  @safe
  private final class Number {
    let value: OpaquePointer?

    init(_ magnitude: borrowing SecretBytes) {
      unsafe value = magnitude.withBytes { bytes in
        unsafe bytes.withUnsafeBytes { unsafe BN_bin2bn($0.octets, Int32($0.count), nil) }
      }
    }

    deinit { unsafe BN_clear_free(value) }
  }
}
