#if AzureKeyVault
  package import KeyCustody
  package import KeyCustodyAzureKeyVault
  import KeyCustodyCrypto
  import KeyCustodyServer
  package import KeyCustodyTestSupport
  package import KeyCustodyTesting
  import Logging
  import ServiceLifecycle

  /// A server of vaults over HTTPS, as it is run anywhere: one for all tests of this process, with a vault for each.
  package struct ServedVaults: Sendable {
    package let bench: VaultBench
    package let identityPort: Int
    /// The authority's certificate (PEM).
    private let authority: [UInt8]

    private static let one = Task { try await ServedVaults() }
    package static func shared() async throws -> ServedVaults { try await one.value }

    private init() async throws {
      let folder = try TemporaryFolder()
      let certificate = try await VaultBench.certificate(in: folder)
      authority = try folder.read("tls/ca.pem")
      let port = try await VaultBench.freePort()
      let bench = try await VaultBench(port: port)
      self.bench = bench
      var binding = VaultApplication.Binding(
        tls: .certificate(file: certificate.certificateFile, keyFile: certificate.keyFile))
      binding.port = port
      binding.identityPort = 0
      let (ports, found) = AsyncStream<Int>.makeStream()
      let bound = binding
      // Until the process ends.
      Task.detached {
        defer { found.finish() }
        let application = VaultApplication(bench.server, binding: bound) { _, identityPort in
          found.yield(identityPort ?? 0)
        }
        let services = ServiceGroup(
          configuration: .init(
            services: [.init(service: application, successTerminationBehavior: .gracefullyShutdownGroup)],
            logger: Logger(label: "served-vaults")))
        try await services.run()
      }
      var identity: Int?
      for await port in ports {
        identity = port
        break
      }
      guard let identity else { throw KeyCustodyError(.unavailable, .unreachable, "The served vaults did not start.") }
      identityPort = identity
      // The files were read when it began to listen.
      withExtendedLifetime(folder) {}
    }

    /// A vault of a test's own, and settings for it; the folder keeps their files.
    package func vault(
      in folder: TemporaryFolder, purgeProtection: Bool = false
    ) async throws -> (name: String, settings: AzureKeyVaultSettings) {
      let name = try await bench.makeVault(purgeProtection: purgeProtection)
      let secretFile = try folder.write(Array(bench.secret.utf8), to: "secret")
      let caFile = try folder.write(authority, to: "ca.pem")
      return (name, bench.settings(name, secretFile: secretFile, caFile: caFile))
    }

    /// A plugin of the provider that finds those vaults: their names are in no name service.
    package static let plugin = Plugin(
      name: AzureKeyVaultPlugin.name,
      keyProvider: { (section, environment) throws(KeyCustodyError) in
        var settings = try AzureKeyVaultPlugin.settings(section, environment)
        let vault = settings.vault.dropFirst("https://".count).prefix { $0 != ":" }
        settings.hosts = [String(vault): "127.0.0.1", "login.vault.test": "127.0.0.1"]
        let found = settings
        return { () async throws(KeyCustodyError) in
          try await AzureKeyVaultProvider.open(found, environment: environment)
        }
      })

    /// The section of a provider on a vault of its own, all of whose keys are in memory; its files are in `folder`.
    package func section(in folder: TemporaryFolder) async throws -> [String: ConfigurationValue] {
      let (_, settings) = try await vault(in: folder)
      guard case .clientSecret(let authority, let clientID, .file(let secretFile)) = settings.credential else {
        throw KeyCustodyError(.fault, .internalFault, "The served vaults have another credential.")
      }
      return [
        "plugin": .string(AzureKeyVaultPlugin.name), "vault": .string(settings.vault), "authority": .string(authority),
        "clientID": .string(clientID), "clientSecretFile": .string(secretFile),
        "caFile": .string(settings.caFile ?? ""), "symmetric": true,
      ]
    }

    /// A vault as a subject of the kit.
    package static func subject(_ adjust: @escaping @Sendable (inout AzureKeyVaultSettings) -> Void)
      -> KeyProviderSubject
    {
      KeyProviderSubject(
        verify: { signature, digest, publicKey, algorithm in
          try PublicKey(spki: publicKey).verify(signature, digest: digest, algorithm)
        }
      ) { environment in
        let folder = try TemporaryFolder()
        var (_, settings) = try await shared().vault(in: folder)
        adjust(&settings)
        let chosen = settings
        return .persistent {
          // Its files live as long as the backend.
          _ = folder
          return try await AzureKeyVaultProvider.open(chosen, environment: environment)
        }
      }
    }
  }
#endif
