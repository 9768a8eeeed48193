#if AzureKeyVault
  import HTTPTypes
  import KeyCustody
  import KeyCustodyCrypto
  import KeyCustodyMemory
  import KeyCustodyServices
  import KeyCustodyTestSupport
  import KeyCustodyTesting
  import KeyCustodyVault
  import NIOCore
  import NIOPosix
  import Synchronization

  @testable import KeyCustodyAzureKeyVault
  @testable import KeyCustodyServer

  /// A deployment in memory whose vaults a provider is to use: its server, a client with a secret, an administrator.
  final class VaultBench: Sendable {
    let custody: KeyCustody
    let server: VaultServer
    let port: Int
    /// The client's secret.
    let secret: String
    private let owner: String
    private let count = Mutex(0)
    static let identityHeader = "a-header-only-programs-here-know"

    init(port: Int) async throws {
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

    /// A port that nobody listens on now: the vaults' addresses must have it before they are served.
    static func freePort() async throws -> Int {
      let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .bind(host: "127.0.0.1", port: 0).get()
      let port = channel.localAddress?.port ?? 0
      try await channel.close()
      return port
    }

    /// Makes a vault in which the client may do everything, and answers its name.
    func makeVault(purgeProtection: Bool = false) async throws -> String {
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

    func grant(_ name: String, _ keys: Set<KeyPermission>, in vault: String) async throws {
      let principal = try PrincipalID(name)
      try await custody.vaults.setRule(
        AccessRule(name: "allow-\(principal.subject)", principal: principal, keys: keys, secrets: []),
        in: VaultName(vault))
    }

    /// Has the administrator ask a vault for something.
    @discardableResult
    func send(
      _ method: HTTPRequest.Method, _ path: String, _ body: JSON? = nil, vault: String
    ) async -> (status: Int, json: JSON?) {
      var fields = HTTPFields()
      fields[.authorization] = "Bearer \(owner)"
      let head = HTTPRequest(
        method: method, scheme: "https", authority: "\(vault).vault.test:\(port)", path: "\(path)?api-version=7.4",
        headerFields: fields)
      let response = await server.respond(to: head, body: body?.bytes ?? [], from: "192.0.2.7")
      return (response.status.code, try? JSON(response.body))
    }

    /// The names of the versions that the vault has of a key.
    func versions(_ version: KeyVersionID, vault: String) async -> [String] {
      let answer = await send(.get, "/keys/kc-\(version)/versions", vault: vault)
      return (answer.json?["value"]?.array ?? []).compactMap { ($0["kid"]?.string).map { String($0.suffix(32)) } }
    }

    /// The settings of a provider on a vault.
    func settings(_ vault: String, secretFile: String, caFile: String) -> AzureKeyVaultSettings {
      var settings = AzureKeyVaultSettings(
        vault: "https://\(vault).vault.test:\(port)",
        credential: .clientSecret(
          authority: "https://login.vault.test:\(port)/contoso", clientID: "client", secret: .file(secretFile)))
      settings.caFile = caFile
      settings.hosts = ["\(vault).vault.test": "127.0.0.1", "login.vault.test": "127.0.0.1"]
      return settings
    }

    /// Files of a certificate for the vaults and the authority.
    static func certificate(in folder: TemporaryFolder) async throws -> ServerCertificate {
      let path = folder.appending("tls")
      return try await BlockingWorker().run { () throws(KeyCustodyError) in
        try ServerCertificate.prepare(
          in: path, names: ["vault.test", "*.vault.test"], addresses: ["127.0.0.1"], time: SystemTime(),
          random: SystemRandom())
      }
    }
  }

  extension KeyProvider {
    /// Makes a key, the quickest kind unless told otherwise.
    @discardableResult
    func make(_ type: KeyType = .ec(.p256), _ role: KeyRole = .signing) async throws -> KeyDescription {
      let request = GenerateKeyRequest(version: try KeyVersionID(random: SystemRandom()), type: type, role: role)
      return try await generate(request, context: CallContext(purpose: .administration))
    }

    func look(_ version: KeyVersionID) async throws(KeyCustodyError) -> KeyDescription {
      try await describe(version, context: CallContext(purpose: .administration))
    }

    func sign(with key: KeyDescription, deadline: Duration? = nil) async throws(KeyCustodyError) -> [UInt8] {
      try await sign(
        [UInt8](repeating: 7, count: 32),
        with: SignRequest(
          version: key.version, algorithm: .es256, context: CallContext(purpose: .resource, deadline: deadline)))
    }

    func destroy(_ key: KeyDescription) async throws(KeyCustodyError) {
      try await destroy(key.version, context: CallContext(purpose: .administration))
    }
  }

  extension KeyCustodyError {
    /// For comparison: code and reason.
    static func like(_ code: Code, _ reason: Reason) -> KeyCustodyError { KeyCustodyError(code, reason, "") }
  }
#endif
