internal import CKeyCustodyOpenSSL
package import KeyCustody

/// Makes the certificates of a private authority: its own, and those of servers.
///
/// All keys are on P-256 and all signatures ES256, so that every mode allows them.
package enum CertificateMaker {
  /// What an authority is valid for: ten years.
  static let authorityLifetime = Duration.seconds(3652 * 86400)
  /// What a server's certificate is valid for; with ``slack`` less than the 397 days that clients take.
  static let serverLifetime = Duration.seconds(396 * 86400)
  /// How long before now a certificate is valid already, for clients whose clock is behind.
  static let slack = Duration.seconds(3600)

  /// Makes a key for an authority or a server.
  package static func makeKey(random: any RandomSource) throws(KeyCustodyError) -> SoftwareKey {
    try SoftwareKey.generate(.ec(.p256), random: random)
  }

  /// Makes an authority's certificate, which signs itself.
  ///
  /// It can issue certificates of servers, and no other authorities.
  package static func makeAuthority(
    for key: SoftwareKey, at now: Timestamp, random: any RandomSource
  ) throws(KeyCustodyError) -> Certificate {
    let serial = try makeSerial(random)
    // Clients keep authorities by their names: two of the same name get in each other's way.
    let name = "KeyCustody private CA \(Array(serial.prefix(4)).hexadecimal)"
    return try unsafe make(
      kc_certificate_facts(
        serial: nil, identifier: nil, not_before: (now - slack).seconds,
        not_after: (now + authorityLifetime).seconds, common_name: nil, issuer: nil, names: nil),
      name, serial, key, key)
  }

  /// Issues a server's certificate: valid for 396 days, and never beyond its authority's own.
  ///
  /// - Throws: `invalidInput` (`bad-name`, `wrong-size`) for names and addresses; `invalidInput` (`malformed`) for an
  ///   authority that the key does not belong to.
  package static func issue(
    for key: SoftwareKey, names: [ServerName], by authority: Certificate, _ authorityKey: SoftwareKey,
    at now: Timestamp, random: any RandomSource
  ) throws(KeyCustodyError) -> Certificate {
    guard authority.belongs(to: authorityKey) else {
      throw KeyCustodyError(.invalidInput, .malformed, "The authority's key does not belong to its certificate.")
    }
    guard let list = unsafe kc_new_names() else { throw openSSLFault("GENERAL_NAMES_new") }
    defer { unsafe kc_free_names(list) }
    for name in names {
      let bytes = name.bytes
      try check(unsafe kc_add_name(list, name.isAddress ? 1 : 0, bytes, bytes.count), "kc_add_name")
    }
    return try unsafe make(
      kc_certificate_facts(
        serial: nil, identifier: nil, not_before: (now - slack).seconds,
        not_after: min(now + serverLifetime, authority.notAfter).seconds, common_name: nil,
        issuer: authority.certificate, names: list),
      "KeyCustody server", try makeSerial(random), key, authorityKey)
  }

  private static func make(
    _ facts: kc_certificate_facts, _ name: String, _ serial: [UInt8], _ key: SoftwareKey, _ signer: SoftwareKey
  ) throws(KeyCustodyError) -> Certificate {
    try OpenSSLLibrary.allow("ES256", for: .signing)
    let library = OpenSSLLibrary.shared
    let context = unsafe try library.requireContext()
    guard let own = unsafe key.key, let signing = unsafe signer.key else { throw wrongKeyType("ES256", key.type) }
    // RFC 7093, section 2, method 1, rather than SHA-1: 160 bits of the SHA-256 of the public key.
    let spki = try key.publicKey() ?? []
    let point = Array(spki.suffix(2 * EllipticCurve.p256.coordinateLength + 1))
    let identifier = Array(try Hashing.sha256(point).prefix(Int(kc_identifier_length)))
    let made = unsafe name.withCString { name in
      unsafe serial.withUnsafeBufferPointer { serial in
        unsafe identifier.withUnsafeBufferPointer { identifier in
          var facts = unsafe facts
          unsafe facts.common_name = name
          unsafe facts.serial = serial.baseAddress
          unsafe facts.identifier = identifier.baseAddress
          return unsafe kc_make_certificate(context, library.properties, &facts, own, signing, library.sha256)
        }
      }
    }
    guard let made = unsafe made else { throw openSSLFault("X509_sign") }
    return unsafe Certificate(owning: made)
  }

  /// 16 random bytes, of which two bits are fixed: a positive number that has its 16 bytes always.
  private static func makeSerial(_ random: any RandomSource) throws(KeyCustodyError) -> [UInt8] {
    var serial = try random.bytes(Int(kc_serial_length))
    serial[0] = serial[0] & 0x3f | 0x40
    return serial
  }
}

extension Timestamp {
  fileprivate static func - (moment: Self, duration: Duration) -> Self { moment + (.zero - duration) }
}
