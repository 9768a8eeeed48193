#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyFile
  import KeyCustodyMemory
  import KeyCustodyPKCS11
  import KeyCustodyServices
  import KeyCustodyVault
  import Logging

  /// The one place that names every plugin.
  enum Deployment {
    static let plugins = [MemoryPlugin().plugin, FilePlugin.plugin, PKCS11Plugin.plugin]

    static func environment(baseDirectory: String, verbose: Bool) -> RuntimeEnvironment {
      var logger = Logger(label: "keycustody") { StreamLogHandler.standardError(label: $0) }
      logger.logLevel = verbose ? .debug : .error
      return RuntimeEnvironment(logger: logger, baseDirectory: baseDirectory, variables: Process.variables)
    }
  }

  /// Where the configuration is.
  struct ConfigurationOptions: ParsableArguments {
    @Option(name: [.customLong("config"), .customShort("c")], help: "The configuration file (JSON).")
    var path = "keycustody.json"

    @Flag(help: "Log what happens, uses of keys included, to standard error.")
    var verbose = false

    /// Reads the file; environment variables (KEYCUSTODY_…) override it.
    func configuration() throws(KeyCustodyError) -> KeyCustodyConfiguration {
      let bytes: SecretBytes
      do throws(KeyCustodyError) { bytes = try SecretReference.read(path) } catch {
        throw KeyCustodyError(
          error.code, error.reason, "The configuration file '\(path)' can't be read.",
          remedy: "Name it by --config, or create it; README.md shows three examples.", diagnostic: error.diagnostic)
      }
      let json = bytes.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
      return try KeyCustodyConfiguration(json: json, environment: Process.variables)
    }

    var environment: RuntimeEnvironment {
      let folder = path.contains("/") ? String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) : "."
      return Deployment.environment(baseDirectory: folder.isEmpty ? "/" : folder, verbose: verbose)
    }

    /// Opens the deployment, runs the work, and closes it again whatever happens.
    func withCustody<Result>(
      _ body: (KeyCustody) async throws(KeyCustodyError) -> Result
    ) async throws(KeyCustodyError) -> Result {
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
    /// The person at the command line, as an administrator of a tenant: a principal of the directory with a rule in
    /// each vault made here.
    ///
    /// Whoever can read the configuration can act as one.
    func administrator(of tenant: TenantID) async throws(KeyCustodyError) -> Principal {
      let id = PrincipalID(tenant: tenant, subject: try SubjectID("administrator"))
      if try await identities.lookup(id) == nil { try await identities.create(id, kind: .user) }
      let token = try await identities.issueToken(for: id, audience: audience, lifetime: .seconds(300))
      return try await identities.authenticate(.token(token), audience: audience)
    }

    /// The administrator of the tenant that a key's vault belongs to.
    func administrator(for key: KeyURI) async throws(KeyCustodyError) -> Principal {
      guard let vault = try await vaults.definition(try key.vault) else {
        throw KeyCustodyError(
          .notFound, .vaultUnknown, "There is no vault '\(try key.vault)'.",
          remedy: "Create it: keycustody vault create NAME --tenant TENANT --key-provider NAME.")
      }
      return try await administrator(of: vault.tenant)
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
