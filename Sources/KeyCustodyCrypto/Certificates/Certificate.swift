internal import CKeyCustodyOpenSSL
package import KeyCustody

/// An X.509 certificate (RFC 5280), and what is asked of one.
@safe
package final class Certificate {
  let certificate: OpaquePointer

  /// Takes a certificate over.
  init(owning certificate: OpaquePointer) { unsafe self.certificate = certificate }

  /// Reads every certificate of a PEM text, in its order.
  ///
  /// - Throws: `invalidInput` (`malformed`) when there is none.
  package static func read(pem: [UInt8]) throws(KeyCustodyError) -> [Certificate] {
    let library = OpenSSLLibrary.shared
    let context = unsafe try library.requireContext()
    let found = unsafe pem.withUnsafeBytes { bytes in
      guard let text = unsafe BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else {
        return [Certificate]()
      }
      defer { unsafe BIO_free(text) }
      var found: [Certificate] = []
      while let next = unsafe kc_read_certificate(text, context, library.properties) {
        unsafe found.append(Certificate(owning: next))
      }
      return found
    }
    ERR_clear_error()
    guard !found.isEmpty else {
      throw KeyCustodyError(.invalidInput, .malformed, "That is not a certificate in PEM form.")
    }
    return found
  }

  /// Its PEM.
  package func pem() throws(KeyCustodyError) -> [UInt8] {
    guard let text = unsafe BIO_new(BIO_s_mem()) else { throw openSSLFault("BIO_new") }
    defer { unsafe BIO_free(text) }
    try check(unsafe PEM_write_bio_X509(text, certificate), "PEM_write_bio_X509")
    var start: UnsafePointer<UInt8>?
    let count = unsafe kc_text(text, &start)
    return unsafe Array(UnsafeBufferPointer(start: start, count: count))
  }

  /// The first moment at which it is valid.
  package var notBefore: Timestamp { unsafe moment(kc_not_before) }

  /// The last moment at which it is valid.
  package var notAfter: Timestamp { unsafe moment(kc_not_after) }

  private func moment(_ read: (OpaquePointer?, UnsafeMutablePointer<Int64>?) -> Int32) -> Timestamp {
    var seconds: Int64 = 0
    // A time that can't be read is long past: such a certificate is valid at no time.
    return unsafe Timestamp(seconds: read(certificate, &seconds) == 1 ? seconds : 0)
  }

  /// The DNS names and addresses that it is for; names of other kinds are left out.
  package var names: [ServerName] {
    guard let list = unsafe kc_names(certificate) else { return [] }
    defer { unsafe kc_free_names(list) }
    var result: [ServerName] = []
    let all = unsafe kc_name_count(list)
    for index in 0..<all {
      var start: UnsafePointer<UInt8>?
      var count = 0
      let kind = unsafe kc_name_at(list, index, &start, &count)
      let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: count))
      switch kind {
      case 1: result.append(.dns(String(decoding: bytes, as: UTF8.self)))
      case 2: result.append(.address(bytes))
      default: break
      }
    }
    return result
  }

  /// Whether another certificate is that of an authority, named in this one as its issuer, and signed it.
  package func isIssued(by issuer: Certificate) -> Bool {
    defer { ERR_clear_error() }
    return unsafe kc_is_issued_by(certificate, issuer.certificate) == 1
  }

  /// Whether it is for this key.
  package func belongs(to key: SoftwareKey) -> Bool {
    defer { ERR_clear_error() }
    guard let own = unsafe X509_get0_pubkey(certificate), let key = unsafe key.key else { return false }
    return unsafe EVP_PKEY_eq(own, key) == 1
  }

  /// Whether it is the same certificate, byte for byte.
  package func isSame(as other: Certificate) -> Bool { unsafe X509_cmp(certificate, other.certificate) == 0 }

  deinit { unsafe X509_free(certificate) }
}

extension SoftwareKey {
  /// PKCS#8 in PEM; RSA and EC keys alone have it.
  package func pem() throws(KeyCustodyError) -> SecretBytes {
    guard unsafe key != nil else { throw wrongKeyType("PEM", type) }
    let pkcs8 = try serialized()
    let text = unsafe pkcs8.withBytes { bytes in
      unsafe bytes.withUnsafeBytes { bytes in unsafe kc_private_key_pem(bytes.octets, bytes.count) }
    }
    guard let text = unsafe text else { throw openSSLFault("PEM_write_bio") }
    defer { unsafe BIO_free(text) }
    var start: UnsafePointer<UInt8>?
    let count = unsafe kc_text(text, &start)
    guard let start = unsafe start else { throw openSSLFault("PEM_write_bio") }
    return unsafe SecretBytes(copying: RawSpan(_unsafeStart: UnsafeRawPointer(start), byteCount: count))
  }

  /// Reads a private key from PEM.
  ///
  /// - Throws: `invalidInput` (`malformed`, `wrong-key-type`).
  package static func read(pem: borrowing SecretBytes, as type: KeyType) throws(KeyCustodyError) -> SoftwareKey {
    var count = 0
    let found = unsafe pem.withBytes { bytes in
      unsafe bytes.withUnsafeBytes { bytes in unsafe kc_private_key_pkcs8(bytes.octets, bytes.count, &count) }
    }
    guard let found = unsafe found else {
      ERR_clear_error()
      throw KeyCustodyError(
        .invalidInput, .malformed, "That is not a private key in PKCS#8 PEM form.",
        remedy: "Convert it: openssl pkcs8 -topk8 -nocrypt -in KEY -out KEY.pem.")
    }
    defer { unsafe CRYPTO_clear_free(found, count, #fileID, #line) }
    return try read(
      unsafe SecretBytes(copying: RawSpan(_unsafeStart: UnsafeRawPointer(found), byteCount: count)), as: type)
  }
}
