package import KeyCustody

/// A server's certificate from an authority of its own, kept in a folder: `ca.pem`, `ca-key.pem`, `server.pem` (the
/// server's, then the authority's) and `server-key.pem`.
///
/// Clients are given `ca.pem`. The server's certificate is renewed as needed; the authority's never is, since every client
/// would have to be told.
package struct ServerCertificate: Sendable, Hashable {
  /// The authority's certificate: what clients trust.
  package let caFile: String
  /// The server's certificate, followed by the authority's.
  package let certificateFile: String
  /// The server's private key.
  package let keyFile: String

  private static let names = (ca: "ca.pem", caKey: "ca-key.pem", server: "server.pem", serverKey: "server-key.pem")
  /// A server's certificate that has less left is renewed.
  private static let renewalPeriod = Duration.seconds(30 * 86400)

  /// Finds the files, or makes those that are missing.
  ///
  /// The server's certificate is made again, with a new key, when it has less than 30 days left, is for other names, or
  /// can't be used. Blocks: not on the cooperative pool.
  ///
  /// - Throws: `invalidInput` (`bad-name`, `wrong-size`) for names and addresses; `integrityFailure` (`damaged`) for an
  ///   authority that can't be used; `notFound`, `denied`, `unavailable` (`unreachable`) for the folder.
  package static func prepare(
    in folder: String, names: [String], addresses: [String], time: any TimeSource, random: any RandomSource
  ) throws(KeyCustodyError) -> ServerCertificate {
    let wanted = try ServerName.read(names: names, addresses: addresses)
    let files = CertificateFolder(path: folder)
    try files.make()
    try files.locked { () throws(KeyCustodyError) in
      let (ca, caKey, server, serverKey) = Self.names
      for name in [ca, caKey, server, serverKey] { files.discard(name) }
      let now = time.now()
      let (authority, key) = try authority(files, now, random)
      if try !isCurrent(files, authority, for: wanted, now) {
        try issue(files, authority, key, for: wanted, now, random)
      }
    }
    return ServerCertificate(
      caFile: files.file(Self.names.ca), certificateFile: files.file(Self.names.server),
      keyFile: files.file(Self.names.serverKey))
  }

  private static func authority(
    _ files: CertificateFolder, _ now: Timestamp, _ random: any RandomSource
  ) throws(KeyCustodyError) -> (Certificate, SoftwareKey) {
    let key = try authorityKey(files, random)
    guard let pem = try files.read(names.ca, isPrivate: false) else {
      // A first call that was interrupted after the key; but where a certificate was issued, the authority is in use.
      guard try files.read(names.server, isPrivate: false) == nil else {
        throw damaged("'\(files.file(names.ca))' is missing, and servers' certificates were issued under it.")
      }
      let made = try CertificateMaker.makeAuthority(for: key, at: now, random: random)
      let pem = try made.pem()
      try files.stage(names.ca, unsafe pem.span.bytes, isPrivate: false)
      try files.place([names.ca])
      return (made, key)
    }
    guard let found = try? Certificate.read(pem: pem.plain).first, found.isIssued(by: found) else {
      throw damaged("'\(files.file(names.ca))' is not the certificate of an authority.")
    }
    guard found.belongs(to: key) else {
      throw damaged("'\(files.file(names.caKey))' does not belong to '\(files.file(names.ca))'.")
    }
    guard now < found.notAfter else {
      throw damaged("The authority in '\(files.file(names.ca))' has expired.")
    }
    return (found, key)
  }

  private static func authorityKey(
    _ files: CertificateFolder, _ random: any RandomSource
  ) throws(KeyCustodyError) -> SoftwareKey {
    guard let pem = try files.read(names.caKey, isPrivate: true) else {
      for other in [names.ca, names.server] where try files.read(other, isPrivate: false) != nil {
        throw damaged("'\(files.file(names.caKey))' is missing, and '\(files.file(other))' is there.")
      }
      let made = try CertificateMaker.makeKey(random: random)
      let text = try made.pem()
      // The key first: without it an authority's certificate is worth nothing.
      try text.withBytes { (bytes) throws(KeyCustodyError) in
        try files.stage(names.caKey, bytes, isPrivate: true)
      }
      try files.place([names.caKey])
      return made
    }
    do {
      return try SoftwareKey.read(pem: pem, as: .ec(.p256))
    } catch {
      guard error.code == .invalidInput else { throw error }
      throw damaged("'\(files.file(names.caKey))' is not the private key of an authority (P-256).")
    }
  }

  /// Whether the server's certificate and key can be used for a while yet.
  private static func isCurrent(
    _ files: CertificateFolder, _ authority: Certificate, for wanted: [ServerName], _ now: Timestamp
  ) throws(KeyCustodyError) -> Bool {
    guard let pem = try files.read(names.server, isPrivate: false),
      let keyPEM = try files.read(names.serverKey, isPrivate: true),
      let chain = try? Certificate.read(pem: pem.plain), chain.count == 2,
      let key = try? SoftwareKey.read(pem: keyPEM, as: .ec(.p256))
    else { return false }
    // Another certificate would not last longer than the authority's own.
    let isLasting = now + renewalPeriod < chain[0].notAfter || chain[0].notAfter == authority.notAfter
    return isLasting && chain[0].isIssued(by: authority) && chain[1].isSame(as: authority)
      && chain[0].belongs(to: key) && Set(chain[0].names) == Set(wanted)
  }

  private static func issue(
    _ files: CertificateFolder, _ authority: Certificate, _ authorityKey: SoftwareKey, for wanted: [ServerName],
    _ now: Timestamp, _ random: any RandomSource
  ) throws(KeyCustodyError) {
    let key = try CertificateMaker.makeKey(random: random)
    let certificate = try CertificateMaker.issue(
      for: key, names: wanted, by: authority, authorityKey, at: now, random: random)
    let text = try key.pem()
    let chain = try certificate.pem() + authority.pem()
    try text.withBytes { (bytes) throws(KeyCustodyError) in
      try files.stage(names.serverKey, bytes, isPrivate: true)
    }
    do {
      try files.stage(names.server, unsafe chain.span.bytes, isPrivate: false)
    } catch {
      files.discard(names.serverKey)
      throw error
    }
    // A key and a certificate that do not belong together, should this end between the two, are replaced by the next call.
    try files.place([names.serverKey, names.server])
  }

  private static func damaged(_ what: String) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .damaged, what,
      remedy: "Restore '\(names.ca)' and '\(names.caKey)' from a backup. Or begin anew: move all four files out of the "
        + "folder, start again, and give every client the new '\(names.ca)'.")
  }
}

extension SecretBytes {
  /// A copy in ordinary memory, of what is public.
  fileprivate var plain: [UInt8] { withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } } }
}
