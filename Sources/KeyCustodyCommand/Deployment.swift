#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyFile
  import KeyCustodyMemory
  import KeyCustodyPKCS11
  import KeyCustodyServices
  import KeyCustodyVault
  import Logging

  #if SQLite
    import KeyCustodySQLite
  #endif
  #if PostgreSQL
    import KeyCustodyPostgreSQL
  #endif
  #if OIDC
    import KeyCustodyOIDC
  #endif
  #if AzureKeyVault
    import KeyCustodyAzureKeyVault
  #endif

  /// The one place that names every plugin.
  enum Deployment {
    static let plugins =
      [MemoryPlugin().plugin, FilePlugin.plugin, PKCS11Plugin.plugin] + databases + servers + issuers + remotes

    #if OIDC
      private static let issuers = [OIDCPlugin.plugin]
    #else
      private static let issuers: [Plugin] = []
    #endif

    #if AzureKeyVault
      private static let remotes = [AzureKeyVaultPlugin.plugin]
    #else
      private static let remotes: [Plugin] = []
    #endif

    #if SQLite
      private static let databases = [SQLitePlugin.plugin]
    #else
      private static let databases: [Plugin] = []
    #endif

    #if PostgreSQL
      private static let servers = [PostgreSQLPlugin.plugin]
    #else
      private static let servers: [Plugin] = []
    #endif

    /// Verifies tokens of outside issuers, for programs that have no secret here.
    static func federation(_ environment: RuntimeEnvironment) -> (any FederatedTokenVerifier)? {
      #if OIDC
        Federation(environment: environment)
      #else
        nil
      #endif
    }

    static func environment(baseDirectory: String, verbose: Bool) -> RuntimeEnvironment {
      var logger = Logger(label: "keycustody") { StreamLogHandler.standardError(label: $0) }
      logger.logLevel = verbose ? .debug : .error
      return RuntimeEnvironment(logger: logger, baseDirectory: baseDirectory, variables: Process.variables)
    }
  }

  /// Where the configuration is.
  struct ConfigurationOptions: ParsableArguments {
    @Option(
      name: [.customLong("config"), .customShort("c")],
      help: "The configuration file (JSON). (default: keycustody.json)")
    var file: String?

    @Option(help: "The folder of a deployment that 'keycustody serve --data' made, whether it is being served or not.")
    var data: String?

    @Flag(help: "Log what happens, uses of keys included, to standard error.")
    var verbose = false

    func validate() throws {
      guard file == nil || data == nil else { throw ValidationError("Give either --data DIR or --config FILE.") }
    }

    /// The configuration's path.
    var path: String { file ?? data.map { DataFolder($0).configurationFile } ?? "keycustody.json" }

    /// Reads the file; environment variables (KEYCUSTODY_…) override it.
    func configuration() throws(KeyCustodyError) -> KeyCustodyConfiguration {
      let bytes: SecretBytes
      do throws(KeyCustodyError) { bytes = try SecretReference.read(path) } catch {
        throw KeyCustodyError(
          error.code, error.reason,
          "The configuration file '\(path)' can't be read\(error.reason == .wrongSize ? ": it is empty or over 64 KiB" : "").",
          remedy: "Name it by --config, or create it; README.md shows three examples.", diagnostic: error.diagnostic)
      }
      let json = bytes.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
      return try KeyCustodyConfiguration(json: json, file: path, environment: Process.variables)
    }

    var environment: RuntimeEnvironment {
      let folder = path.contains("/") ? String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) : "."
      return Deployment.environment(baseDirectory: folder.isEmpty ? "/" : folder, verbose: verbose)
    }

    /// Whether this process's command manages a deployment, and reads no files besides it: such a one a server runs too.
    private static var isManagement: Bool {
      let managing = ["vault", "key", "secret", "policy", "identity", "service", "doctor"]
      return CommandLine.arguments.dropFirst().first.map(managing.contains) ?? false
    }

    /// Opens the deployment, runs the work, and closes it again whatever happens.
    func withCustody<Result>(
      _ body: (KeyCustody) async throws(KeyCustodyError) -> Result
    ) async throws(KeyCustodyError) -> Result {
      if let running = Running.current { return try await body(running.custody) }
      if let data {
        let folder = DataFolder(data)
        guard folder.exists else {
          throw KeyCustodyError(
            .notFound, .init("no-deployment"), "There is no deployment in '\(folder.path)'.",
            remedy: "Make one: keycustody serve --data '\(data)'.")
        }
        // A server has it open, and does the work.
        if Self.isManagement, let status = try ControlSocket.relay(folder) { Process.exit(status) }
      }
      let custody = try await KeyCustody.open(
        try configuration(), plugins: Deployment.plugins, environment: environment)
      do throws(KeyCustodyError) {
        let result = try await body(custody)
        await custody.close()
        return result
      } catch {
        await custody.close()
        throw error
      }
    }
  }

  extension KeyCustody {
    /// The administrator of the tenant that a key's vault belongs to.
    func administrator(for key: KeyURI) async throws(KeyCustodyError) -> Principal {
      try await administrator(of: try key.vault)
    }

    /// The administrator of the tenant that a vault belongs to.
    func administrator(of vault: VaultName) async throws(KeyCustodyError) -> Principal {
      try await administrator(of: try await tenant(of: vault))
    }

    /// A principal by its name in a vault's tenant, or by TENANT/SUBJECT.
    func principal(_ text: String, in vault: VaultName) async throws(KeyCustodyError) -> PrincipalID {
      guard !text.contains("/") else { return try PrincipalID(text) }
      return PrincipalID(tenant: try await tenant(of: vault), subject: try SubjectID(text))
    }

    private func tenant(of vault: VaultName) async throws(KeyCustodyError) -> TenantID {
      if let found = try await vaults.definition(vault) { return found.tenant }
      throw KeyCustodyError(
        .notFound, .vaultUnknown, "There is no vault '\(vault)'.",
        remedy: "Create it: keycustody vault create NAME --tenant TENANT --key-provider NAME.")
    }

    /// Reads a key's address: in full, or as VAULT/NAME[/VERSION].
    func keyURI(_ text: String) throws(KeyCustodyError) -> KeyURI {
      if text.hasPrefix("https:") { return try KeyURI(text) }
      let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 2 || parts.count == 3 else {
        throw KeyCustodyError(
          .invalidInput, .malformed, "'\(text.prefix(80))' is not a key.",
          remedy: "Write VAULT/NAME, VAULT/NAME/VERSION or the full address.")
      }
      let version = parts.count == 3 ? try KeyVersionID(parts[2]) : nil
      return vaults.uri(try VaultName(parts[0]), try KeyName(parts[1]), version: version)
    }
  }
#endif
