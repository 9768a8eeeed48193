#if OIDC
  import KeyCustody
  import KeyCustodyTestSupport
  import KeyCustodyTesting
  import Testing

  @testable import KeyCustodyOIDC

  @Suite("The issuer's TLS", .timeLimit(.minutes(10)))
  struct TLSTests {
    private let folder: TemporaryFolder
    private let openssl: Executable

    init() throws {
      folder = try TemporaryFolder()
      openssl = try Executable(at: "/usr/bin/openssl")
    }

    /// A certificate of its own authority, in files.
    private func certificate(_ name: String, for alternative: String) throws -> (certificate: String, key: String) {
      let (certificate, key) = (folder.appending("\(name).pem"), folder.appending("\(name)-key.pem"))
      let made = try openssl.run([
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
        "/CN=\(name)", "-addext", "subjectAltName=\(alternative)", "-keyout", key, "-out", certificate,
      ])
      #expect(made.status == 0, "\(made.output)")
      return (certificate, key)
    }

    @Test("An issuer is believed by the authority that is configured for it")
    func authority() async throws {
      let files = try certificate("issuer", for: "IP:127.0.0.1")
      let server = try await IssuerServer(certificate: files.certificate, key: files.key)
      let federation = try await Federation(server, caFile: files.certificate)
      let told = try await federation.verify(federation.token())
      #expect(told.issuer.hasPrefix("https://127.0.0.1:"))
      try await server.stop()
    }

    @Test("An issuer is not believed without it, by another one, or under another name")
    func strangers() async throws {
      let (issuer, other) = (
        try certificate("issuer", for: "IP:127.0.0.1"), try certificate("other", for: "IP:127.0.0.1")
      )
      let elsewhere = try certificate("elsewhere", for: "DNS:issuer.example,IP:127.0.0.2")
      for (files, caFile) in [(issuer, nil), (issuer, other.certificate), (elsewhere, elsewhere.certificate)] {
        let server = try await IssuerServer(certificate: files.certificate, key: files.key)
        let federation = try await Federation(server, caFile: caFile)
        await #expect(throws: KeyCustodyError.unreachable) { try await federation.verify(federation.token()) }
        #expect(server.requests(to: IssuerServer.discoveryPath) == 0)
        try await server.stop()
      }
    }

    @Test("An issuer over https can't send its keys' readers to http")
    func downgrade() async throws {
      let files = try certificate("issuer", for: "IP:127.0.0.1")
      let server = try await IssuerServer(certificate: files.certificate, key: files.key)
      let plain = try await IssuerServer()
      let federation = try await Federation(server, caFile: files.certificate)
      plain.publish([try federation.key.jwk()])
      let discovery: JSON = ["issuer": .string(server.origin), "jwks_uri": .string(plain.origin + "/keys")]
      server.answer(IssuerServer.discoveryPath, .document(discovery.bytes))
      await #expect(throws: KeyCustodyError.badAnswer) { try await federation.verify(federation.token()) }
      #expect(plain.connections == 0)
      try await plain.stop()
      try await server.stop()
    }

    @Test("A file of authorities that holds none is refused at opening")
    func badAuthorities() async throws {
      let file = try folder.write(Array("nothing".utf8), to: "ca.pem")
      for path in [file, folder.appending("absent.pem")] {
        let issuer = try OIDCIssuer("https://issuer.example", caFile: path)
        await #expect(throws: KeyCustodyError(.invalidInput, .badConfigurationValue, "")) {
          try await OIDCTokenVerifier([issuer], environment: environment(ManualClock()))
        }
      }
    }
  }
#endif
