#if CommandLine
  import KeyCustody
  import KeyCustodyCrypto
  import KeyCustodyServices

  /// The section `server` of a configuration: how `keycustody serve` serves.
  ///
  /// | key | meaning | default |
  /// | --- | --- | --- |
  /// | `server.address` | the address to listen on | `127.0.0.1` |
  /// | `server.port` | the port to listen on | that of `vaults.domain` |
  /// | `server.tls` | `here`, or `outside`: TLS is ended in front of it, on this machine, and it speaks HTTP | `here` |
  /// | `server.certificateFolder` | a certificate of the server's own is made and kept here | |
  /// | `server.certificateFile`, `server.keyFile` | the certificate (PEM, its chain after it) and its private key | |
  /// | `server.tenant` | the tenant of the first vault, and where the vault asked for is unknown | `main` |
  /// | `server.identity` | the machine's own identity, whose tokens programs on it get | none |
  /// | `server.identityHeaderFile` | the file with what they must show | |
  /// | `server.identityPort` | the port, on the loopback address, where they get them | |
  /// | `server.imds` | whether they get them in the form of IMDS too, which asks for no secret | `true` |
  /// | `server.connections` | the most connections at once; more wait | 1024 |
  /// | `server.connectionsPerAddress` | the most at once from one address, this machine's own too; more are closed | 256 |
  /// | `server.hsmKeyProvider` | the key provider of HSM-protected keys of vaults made without naming one | none |
  struct ServerConfiguration: Sendable {
    var address: String
    var port: Int
    /// What it ends TLS by; `nil`: TLS ends outside.
    var certificate: (file: String, keyFile: String)?
    var caFile: String?
    var tenant: TenantID
    var identity: SubjectID?
    var identityHeaderFile: String?
    var identityPort: Int?
    var servesIMDS: Bool
    var connections: Int?
    var connectionsPerAddress: Int?
    var keyProvider: String
    var hsmKeyProvider: String?

    init(
      _ configuration: KeyCustodyConfiguration, address: String?, environment: RuntimeEnvironment
    ) throws(KeyCustodyError) {
      let section = configuration.root.section("server")
      let domain = try configuration.root.section("vaults").string("domain") ?? "vault.local"
      let host = String(domain.prefix { $0 != ":" })
      let listening = try section.string("address") ?? "127.0.0.1"
      self.address = address ?? listening
      let usual = domain.contains(":") ? Int(domain.drop { $0 != ":" }.dropFirst()) ?? 443 : 443
      port = try section.integer("port", in: 0...65_535) ?? usual
      tenant = try TenantID(try section.string("tenant") ?? "main")
      let identity = try section.string("identity")
      self.identity = if let identity { try SubjectID(identity) } else { nil }
      identityHeaderFile = try section.string("identityHeaderFile").map(environment.path)
      identityPort = try section.integer("identityPort", in: 0...65_535)
      servesIMDS = try section.boolean("imds") ?? true
      connections = try section.integer("connections", in: 1...65_535)
      connectionsPerAddress = try section.integer("connectionsPerAddress", in: 1...65_535)
      keyProvider = try configuration.root.section("service").requiredString("keyProvider")
      hsmKeyProvider = try section.string("hsmKeyProvider")
      let folder = try section.string("certificateFolder").map(environment.path)
      let given = (try section.string("certificateFile"), try section.string("keyFile"))
      let ending = try section.string("tls") ?? "here"
      try section.refuseUnknownKeys()
      guard ["here", "outside"].contains(ending) else {
        throw KeyCustodyError(
          .invalidInput, .badConfigurationValue, "'server.tls' is neither 'here' nor 'outside'.",
          remedy: "Write one of the two.")
      }
      switch (folder, given.0, given.1) {
      case (nil, nil, nil) where ending == "outside":
        (certificate, caFile) = (nil, nil)
      case _ where ending == "outside":
        throw KeyCustodyError(
          .invalidInput, .badConfigurationValue, "Where TLS ends outside, this server shows no certificate.",
          remedy: "Remove 'certificateFolder', 'certificateFile' and 'keyFile' from the section 'server'.")
      case (let folder?, nil, nil):
        let made = try ServerCertificate.prepare(
          in: folder, names: [host, "*.\(host)", "localhost"],
          addresses: ["127.0.0.1", "::1"]
            + (["127.0.0.1", "0.0.0.0", "::", "::1"].contains(self.address) ? [] : [self.address]),
          time: environment.time, random: environment.random)
        (certificate, caFile) = ((made.certificateFile, made.keyFile), made.caFile)
      case (nil, let file?, let key?):
        (certificate, caFile) = ((environment.path(file), environment.path(key)), nil)
      default:
        throw KeyCustodyError(
          .invalidInput, .missingConfigurationKey, "The section 'server' must say which certificate is served.",
          remedy:
            "Give 'certificateFolder' for one of the server's own, or both 'certificateFile' and 'keyFile'; or 'tls', "
            + "which is 'outside' where TLS is ended in front of it.")
      }
    }

    /// What programs on this machine must show to get tokens of its identity.
    func identityHeader() throws(KeyCustodyError) -> String? {
      guard let identityHeaderFile else { return nil }
      let text = String(decoding: try WholeFile.read(identityHeaderFile), as: UTF8.self)
      let header = String(text.prefix { $0 > " " && $0 <= "~" })
      guard (16...256).contains(header.count) else {
        throw KeyCustodyError(
          .invalidInput, .badConfigurationValue,
          "The file '\(identityHeaderFile)' must hold 16 to 256 printable characters.",
          remedy: "Write random ones to it.")
      }
      return header
    }
  }
#endif
