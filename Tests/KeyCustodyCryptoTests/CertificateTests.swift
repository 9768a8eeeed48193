import KeyCustody
import KeyCustodyCrypto
import KeyCustodyTestSupport
import Testing

/// Certificates of a private authority, as OpenSSL's own command sees them.
@Suite("Certificates")
struct CertificateTests {
  private static let names = ["kv.example.com", "*.kv.example.com", "LOCALHOST", "a-1.test"]
  private static let addresses = ["127.0.0.1", "::1", "2001:db8::7"]

  /// An authority and a server's certificate under it.
  private struct Issued {
    let folder = Result { try TemporaryFolder() }
    let (authorityKey, serverKey): (SoftwareKey, SoftwareKey)
    let (authority, server): (Certificate, Certificate)
    let now: Timestamp

    init(at now: Timestamp = SystemTime().now()) throws {
      self.now = now
      authorityKey = try CertificateMaker.makeKey(random: SystemRandom())
      serverKey = try CertificateMaker.makeKey(random: SystemRandom())
      authority = try CertificateMaker.makeAuthority(for: authorityKey, at: now, random: SystemRandom())
      let names = try CertificateTests.names.map { try ServerName(dns: $0) }
      let addresses = try CertificateTests.addresses.map { try ServerName(address: $0) }
      server = try CertificateMaker.issue(
        for: serverKey, names: names + addresses, by: authority, authorityKey, at: now, random: SystemRandom())
    }

    func openssl(_ arguments: String...) throws -> (status: Int32, output: String) {
      let folder = try folder.get()
      try folder.write(authority.pem(), to: "ca.pem")
      try folder.write(server.pem(), to: "server.pem")
      return try Executable(at: "/usr/bin/openssl").run(
        arguments.map { $0.hasSuffix(".pem") ? folder.appending($0) : $0 })
    }
  }

  /// The lines of a listing, without their indentation.
  private static func lines(_ text: String) -> [String] {
    text.split(separator: "\n").map { String($0.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()) }
  }

  @Test("An authority's certificate lets it issue certificates of servers, and nothing else")
  func authority() throws {
    let issued = try Issued()
    let lines = Self.lines(try issued.openssl("x509", "-noout", "-text", "-in", "ca.pem").output)
    func follows(_ head: String) -> String? { lines.firstIndex(of: head).map { lines[$0 + 1] } }
    #expect(follows("X509v3 Basic Constraints: critical") == "CA:TRUE, pathlen:0")
    #expect(follows("X509v3 Key Usage: critical") == "Certificate Sign, CRL Sign")
    #expect(follows("X509v3 Subject Key Identifier:") != nil)
    #expect(lines.contains("Signature Algorithm: ecdsa-with-SHA256"))
    #expect(lines.contains("ASN1 OID: prime256v1"))
    #expect(lines.contains("Version: 3 (0x2)"))
    let serial = try issued.openssl("x509", "-noout", "-serial", "-in", "ca.pem").output
    #expect(serial.filter(\.isHexDigit).dropFirst("ea".count).count == 32, "\(serial)")
    #expect(issued.authority.isIssued(by: issued.authority))
    #expect(issued.authority.names.isEmpty)
    #expect(issued.authority.notAfter > issued.now + .seconds(3650 * 86400))
  }

  @Test("A server's certificate is for its names, for servers, and no authority")
  func server() throws {
    let issued = try Issued()
    let lines = Self.lines(try issued.openssl("x509", "-noout", "-text", "-in", "server.pem").output)
    func follows(_ head: String) -> String? { lines.firstIndex(of: head).map { lines[$0 + 1] } }
    #expect(follows("X509v3 Basic Constraints: critical") == "CA:FALSE")
    #expect(follows("X509v3 Key Usage: critical") == "Digital Signature")
    #expect(follows("X509v3 Extended Key Usage:") == "TLS Web Server Authentication")
    #expect(
      follows("X509v3 Subject Alternative Name:")
        == "DNS:kv.example.com, DNS:*.kv.example.com, DNS:localhost, DNS:a-1.test, IP Address:127.0.0.1, "
        + "IP Address:0:0:0:0:0:0:0:1, IP Address:2001:DB8:0:0:0:0:0:7")
    let theirs = Self.lines(try issued.openssl("x509", "-noout", "-text", "-in", "ca.pem").output)
    let identifier = try #require(theirs.firstIndex(of: "X509v3 Subject Key Identifier:")).advanced(by: 1)
    #expect(follows("X509v3 Authority Key Identifier:")?.hasSuffix(theirs[identifier]) == true)
    #expect(issued.server.names.map(\.description) == Self.names.map { $0.lowercased() } + Self.addresses)
    #expect(issued.server.isIssued(by: issued.authority) && !issued.server.isIssued(by: issued.server))
    #expect(!issued.authority.isIssued(by: issued.server))
    #expect(issued.server.belongs(to: issued.serverKey) && !issued.server.belongs(to: issued.authorityKey))
    #expect(try !issued.server.belongs(to: SharedKeys.key(.aes(bits: 256))))
    let validity = issued.server.notAfter.milliseconds - issued.server.notBefore.milliseconds
    #expect(validity <= 397 * 86_400_000 && validity > 390 * 86_400_000)
    #expect(issued.server.notBefore < issued.now)
  }

  @Test("OpenSSL verifies a server's certificate, strictly, for its names and its time alone")
  func verification() throws {
    let issued = try Issued()
    func verify(_ arguments: String...) throws -> Bool {
      let base = ["-x509_strict", "-purpose", "sslserver", "-check_ss_sig", "-CAfile"]
      let folder = try issued.folder.get()
      _ = try issued.openssl("version")
      return try Executable(at: "/usr/bin/openssl").run(
        ["verify"] + base + [folder.appending("ca.pem")] + arguments + [folder.appending("server.pem")]
      ).status == 0
    }
    #expect(try verify())
    for name in ["kv.example.com", "my-vault.kv.example.com", "localhost"] {
      #expect(try verify("-verify_hostname", name))
    }
    for name in ["example.com", "a.b.kv.example.com", "kv.example.org"] {
      #expect(try !verify("-verify_hostname", name))
    }
    #expect(try verify("-verify_ip", "127.0.0.1"))
    #expect(try verify("-verify_ip", "2001:db8::7"))
    #expect(try !verify("-verify_ip", "127.0.0.2"))
    let seconds = issued.now.seconds
    for offset in [-1800, 395 * 86400] { #expect(try verify("-attime", "\(seconds + Int64(offset))")) }
    for offset in [-7200, 397 * 86400] { #expect(try !verify("-attime", "\(seconds + Int64(offset))")) }
    let other = try Issued()
    try issued.folder.get().write(try other.authority.pem(), to: "other.pem")
    #expect(try issued.openssl("verify", "-CAfile", "other.pem", "server.pem").status != 0)
    #expect(!issued.server.isIssued(by: other.authority))
  }

  @Test("Times beyond 2049 are written and read", arguments: [Int64(0), 2_524_607_999, 4_000_000_000])
  func times(seconds: Int64) throws {
    let issued = try Issued(at: Timestamp(seconds: seconds + 86400))
    #expect(issued.server.notBefore == Timestamp(seconds: seconds + 86400 - 3600))
    #expect(issued.server.notAfter == Timestamp(seconds: seconds + 86400 + 396 * 86400))
    let again = try #require(try Certificate.read(pem: try issued.server.pem()).first)
    #expect(again.notAfter == issued.server.notAfter && again.isSame(as: issued.server))
  }

  @Test("A server's certificate ends with its authority's at the latest")
  func capped() throws {
    let issued = try Issued()
    let late = issued.authority.notAfter + .seconds(-86400)
    let server = try CertificateMaker.issue(
      for: issued.serverKey, names: [.dns("a.test")], by: issued.authority, issued.authorityKey, at: late,
      random: SystemRandom())
    #expect(server.notAfter == issued.authority.notAfter)
    #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) {
      try CertificateMaker.issue(
        for: issued.serverKey, names: [.dns("a.test")], by: issued.authority, issued.serverKey, at: late,
        random: SystemRandom())
    }
  }

  @Test("A changed certificate is not its authority's")
  func changed() throws {
    let issued = try Issued()
    let pem = try issued.server.pem()
    var refused = 0
    // The last line before the end holds the signature.
    for index in stride(from: 60, to: pem.count - 40, by: 37) where pem[index] != UInt8(ascii: "\n") {
      var altered = pem
      altered[index] = altered[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
      let read = try? Certificate.read(pem: altered).first
      #expect(read?.isIssued(by: issued.authority) != true)
      refused += 1
    }
    #expect(refused > 10)
    for text in [[], Array("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".utf8), Array(pem.dropLast(60))] {
      #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) { try Certificate.read(pem: text) }
    }
  }

  @Test("Private keys are written to PEM and read again, by OpenSSL too")
  func keys() throws {
    let issued = try Issued()
    let pem = try issued.serverKey.pem()
    #expect(try SoftwareKey.read(pem: pem, as: .ec(.p256)).fingerprint() == issued.serverKey.fingerprint())
    try issued.folder.get().write(pem.array, to: "key.pem")
    #expect(try issued.openssl("pkey", "-check", "-noout", "-in", "key.pem").output.contains("Key is valid"))
    let certificate = SecretBytes(copying: try issued.server.pem())
    #expect(throws: KeyCustodyError(.invalidInput, .malformed, "")) {
      try SoftwareKey.read(pem: certificate, as: .ec(.p256))
    }
    #expect(throws: KeyCustodyError(.invalidInput, .wrongKeyType, "")) {
      try SoftwareKey.read(pem: pem, as: .ec(.p384))
    }
  }

  @Test("DNS names and addresses outside the allow-list are refused")
  func namesRefused() throws {
    let long = String(repeating: "a", count: 64)
    for name in [
      "", ".", "a..b", ".a", "a.", "-a.test", "a-.test", "a_b.test", "a b.test", "a.test\n", "a\u{0}.test", "ä.test",
      "*", "*.test", "*a.kv.test", "a.*.kv.test", "*.*.kv.test", "127.0.0.1", "1", "a.1", "a/b.test", "a,b.test",
      "DNS:a.test", "\(long).test", String(repeating: "ab.", count: 90) + "test",
    ] {
      #expect(throws: KeyCustodyError(.invalidInput, .badName, ""), "\(name)") { try ServerName(dns: name) }
    }
    for address in [
      "", "127.0.0", "127.0.0.1:443", "127.0.0.1 ", " ::1", "::1%lo", "[::1]", "0x7f.0.0.1", "256.1.1.1", "a.test",
      "127.0.0.1\u{0}", "010.0.0.1",
    ] {
      #expect(throws: KeyCustodyError(.invalidInput, .badName, ""), "\(address)") { try ServerName(address: address) }
    }
    let accepted = ["a", "localhost", "x1.a-b.test", "*.kv.test", String(repeating: "a", count: 63) + ".test"]
    for name in accepted { #expect(try ServerName(dns: name).description == name) }
    #expect(try ServerName(address: "::ffff:1.2.3.4").description == "::ffff:1.2.3.4")
  }
}
