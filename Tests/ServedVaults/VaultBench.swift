#if AzureKeyVault
  package import KeyCustody
  package import KeyCustodyAzureKeyVault
  package import KeyCustodyCrypto
  import KeyCustodyMemory
  package import KeyCustodyServer
  package import KeyCustodyServices
  package import KeyCustodyTestSupport
  import KeyCustodyTesting
  import KeyCustodyVault
  import NIOCore
  import NIOPosix
  import Synchronization

  /// A deployment in memory whose vaults a provider is to use: its server, a client with a secret, an administrator.
  package final class VaultBench: Sendable {
    package let custody: KeyCustody
    package let server: VaultServer
    package let port: Int
    /// The client's secret.
    package let secret: String
    /// The token of an administrator.
    package let owner: String
    private let count = Mutex(0)
    package static let identityHeader = "a-header-only-programs-here-know"

    package init(port: Int) async throws {
      self.port = port
      let domain = "vault.test:\(port)"
      let configuration = KeyCustodyConfiguration([
        "keyProviders": ["keys": ["plugin": "memory", "name": "keys"]],
        "policyStores": ["state": ["plugin": "memory"]],
        "service": ["keyProvider": "keys", "policyStore": "state", "region": "north"],
        "vaults": ["domain": .string(domain)],
      ])
      custody = try await KeyCustody.open(
        configuration, plugins: [MemoryPlugin().plugin], audit: RecordingAuditSink(), environment: RuntimeEnvironment())
      var settings = ServerSettings(tenant: try TenantID("contoso"))
      settings.managedIdentity = .init(principal: try PrincipalID("contoso/client"), header: Self.identityHeader)
      server = try VaultServer(custody, settings: settings)
      for name in ["contoso/owner", "contoso/client"] {
        try await custody.identities.create(try PrincipalID(name), kind: .servicePrincipal)
      }
      secret = try await custody.identities.issueClientSecret(for: PrincipalID("contoso/client"), expires: nil)
      owner = try await custody.identities.issueToken(
        for: PrincipalID("contoso/owner"), audience: "https://\(domain)", lifetime: .seconds(36000))
    }

    /// A port that nobody listens on: the vaults' addresses must have it before they are served.
    ///
    /// Of those that no connection to elsewhere is given meanwhile (ip_local_port_range), each once.
    package static func freePort() async throws -> Int {
      while true {
        let port = 18_000 + (nextPort.add(1, ordering: .relaxed).oldValue & 0x1fff)
        guard
          let channel = try? await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1).bind(host: "127.0.0.1", port: port).get()
        else { continue }
        try await channel.close()
        return port
      }
    }

    private static let nextPort = Atomic(Int.random(in: 0..<0x2000))

    /// Makes a vault in which the client may do everything, and answers its name.
    package func makeVault(purgeProtection: Bool = false) async throws -> String {
      let name = count.withLock { count in
        count += 1
        return "kv\(count)"
      }
      try await custody.vaults.create(
        VaultDefinition(
          name: VaultName(name), tenant: TenantID("contoso"), region: Region("north"), keyProvider: "keys",
          softDeleteDays: 7, purgeProtection: purgeProtection, hsmKeyProvider: nil))
      try await grant("contoso/owner", Set(KeyPermission.allCases), in: name)
      try await grant("contoso/client", Set(KeyPermission.allCases), in: name)
      return name
    }

    package func grant(_ name: String, _ keys: Set<KeyPermission>, in vault: String) async throws {
      let principal = try PrincipalID(name)
      try await custody.vaults.setRule(
        AccessRule(name: "allow-\(principal.subject)", principal: principal, keys: keys, secrets: []),
        in: VaultName(vault))
    }

    /// The settings of a provider on a vault.
    package func settings(_ vault: String, secretFile: String, caFile: String) -> AzureKeyVaultSettings {
      var settings = AzureKeyVaultSettings(
        vault: "https://\(vault).vault.test:\(port)",
        credential: .clientSecret(
          authority: "https://login.vault.test:\(port)/contoso", clientID: "client", secret: .file(secretFile)))
      settings.caFile = caFile
      settings.hosts = ["\(vault).vault.test": "127.0.0.1", "login.vault.test": "127.0.0.1"]
      return settings
    }

    /// Files of a certificate for the vaults and the authority.
    package static func certificate(in folder: TemporaryFolder) async throws -> ServerCertificate {
      let path = folder.appending("tls")
      return try await BlockingWorker().run { () throws(KeyCustodyError) in
        try ServerCertificate.prepare(
          in: path, names: ["vault.test", "*.vault.test"], addresses: ["127.0.0.1"], time: SystemTime(),
          random: SystemRandom())
      }
    }
  }
#endif
