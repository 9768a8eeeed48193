#if CommandLine && Server
  import ArgumentParser
  import KeyCustody
  import KeyCustodyServer
  import KeyCustodyServices
  import KeyCustodyVault
  import Logging
  import ServiceLifecycle

  struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "serve", abstract: "Serve the vaults over HTTPS to clients of Azure Key Vault.",
      discussion: """
        With --data everything is kept in one folder: the first start makes keys, a certificate, a vault, credentials, \
        and bootstrap.json, which tells programs where all that is. Without it, --config names a configuration with a \
        section 'server'.
        """)

    @OptionGroup var common: CommonOptions
    @Option(help: "The folder that holds the whole deployment; made where it is missing.") var data: String?
    @Option(name: [.customLong("config"), .customShort("c")], help: "The configuration file (JSON).")
    var path: String?
    @Option(help: "The domain of the vaults: each is at https://NAME.DOMAIN:PORT. (default: vault.localhost)")
    var domain: String?
    @Option(help: "The port, 0 for a free one. (default: 8443)") var port: Int?
    @Option(help: "The address to listen on. (default: 127.0.0.1)") var address: String?
    @Flag(help: "Log what happens to standard error.") var verbose = false

    func validate() throws {
      guard (data == nil) != (path == nil) else {
        throw ValidationError("Give either --data DIR or --config FILE.")
      }
      guard (0...65_535).contains(port ?? 0) else { throw ValidationError("A port is 0 to 65535.") }
      guard path == nil || (domain == nil && port == nil) else {
        throw ValidationError("With --config the domain and the port stand in the configuration (vaults.domain).")
      }
    }

    func run() async throws {
      try await common.run { output in
        let folder = data.map(DataFolder.init)
        try folder?.prepare(domain: domain, port: port)
        var options = ConfigurationOptions()
        options.file = folder?.configurationFile ?? path
        options.verbose = verbose
        let configuration = try options.configuration()
        let environment = options.environment
        let custody = try await KeyCustody.open(configuration, plugins: Deployment.plugins, environment: environment)
        do {
          try await serve(custody, configuration, environment, folder, output)
          await custody.close()
        } catch {
          await custody.close()
          throw error
        }
      }
    }

    private func serve(
      _ custody: KeyCustody, _ configuration: KeyCustodyConfiguration, _ environment: RuntimeEnvironment,
      _ folder: DataFolder?, _ output: Output
    ) async throws {
      let section = try ServerConfiguration(configuration, address: address, environment: environment)
      var binding = VaultApplication.Binding(
        tls: section.certificate.map { .certificate(file: $0.file, keyFile: $0.keyFile) } ?? .outside)
      binding.address = section.address
      try binding.check(isFIPS: KeyCustody.cryptographicModule.isFIPS)
      var bootstrap: Bootstrap?
      if let folder { bootstrap = try await Bootstrap.settle(folder, custody, section) }
      var settings = ServerSettings(tenant: section.tenant)
      (settings.keyProvider, settings.hsmKeyProvider) = (section.keyProvider, section.hsmKeyProvider)
      if let identity = section.identity, let header = try section.identityHeader() {
        settings.managedIdentity = ServerSettings.ManagedIdentity(
          principal: PrincipalID(tenant: section.tenant, subject: identity), header: header,
          servesIMDS: section.servesIMDS)
      }
      let server = try VaultServer(custody, settings: settings, federation: Deployment.federation(environment))
      binding.port = section.port
      binding.mostConnections = section.connections ?? binding.mostConnections
      binding.mostConnectionsPerAddress = section.connectionsPerAddress ?? binding.mostConnectionsPerAddress
      binding.identityPort = settings.managedIdentity == nil ? nil : section.identityPort
      let told = bootstrap
      let application = VaultApplication(server, binding: binding) { port, _ in
        Ready(custody: custody, port: port, address: section.address, bootstrap: told, folder: folder).tell(output)
      }
      var services: [any Service] = [application, VaultUpkeep(custody)]
      if let folder { services.append(ControlServer(folder: folder, custody: custody)) }
      var running = ServiceGroupConfiguration(
        services: services.map {
          .init(
            service: $0, successTerminationBehavior: .gracefullyShutdownGroup,
            failureTerminationBehavior: .gracefullyShutdownGroup)
        }, logger: environment.logger)
      // Connections that nobody uses are not waited for.
      running.maximumGracefulShutdownDuration = .seconds(2)
      running.maximumCancellationDuration = .seconds(2)
      let group = ServiceGroup(configuration: running)
      Process.setTerminationHandler { Task { await group.triggerGracefulShutdown() } }
      do { try await group.run() } catch let error as KeyCustodyError { throw error } catch {
        throw KeyCustodyError(
          .unavailable, .unreachable, "The server could not go on listening on \(section.address):\(section.port).",
          remedy: "Choose another port by --port, or stop what uses it.", diagnostic: "\(error)")
      }
    }
  }

  /// What is told when the server is ready.
  private struct Ready {
    let custody: KeyCustody
    let port: Int
    let address: String
    let bootstrap: Bootstrap?
    let folder: DataFolder?

    func tell(_ output: Output) {
      let domain = custody.vaults.domain
      let value: JSON = [
        "ready": true, "domain": .string(domain), "port": .integer(Int64(port)),
        "bootstrap": folder.map { .string($0.bootstrapFile) } ?? .null,
        "vaultURL": bootstrap.map { .string($0.vaultURL) } ?? .null,
      ]
      output.printJSON(text(domain), value)
    }

    private func text(_ domain: String) -> String {
      guard let bootstrap, let folder else { return "serving the vaults of \(domain) on \(address):\(port)" }
      let host = domain.prefix { $0 != ":" }
      let vault = "\(Bootstrap.vault).\(host)"
      // What clients connect to, which is something else where TLS ends outside.
      let entry = domain.utf8.count > host.utf8.count ? String(domain.dropFirst(host.count + 1)) : "443"
      let place = ["0.0.0.0", "::"].contains(address) ? "127.0.0.1" : address
      let end = "\(entry):\(place.contains(":") ? "[\(place)]" : place)"
      let trust = bootstrap.caFile.isEmpty ? "" : " --cacert \(bootstrap.caFile)"
      let bundle = bootstrap.caFile.isEmpty ? "" : "  export REQUESTS_CA_BUNDLE=\(bootstrap.caFile)\n"
      return """
        serving the vaults of \(domain) on \(address):\(port); stop with Ctrl-C

          first vault    \(bootstrap.vaultURL)
          credentials    \(folder.bootstrapFile)  (for this user alone)

        Try it with curl:

          TOKEN=$(curl -s\(trust) --resolve login.\(host):\(end) \\
            \(bootstrap.authority)/\(bootstrap.tenant)/oauth2/v2.0/token \\
            -d grant_type=client_credentials -d client_id=\(bootstrap.clientID) \\
            --data-urlencode client_secret="$(python3 -c 'import json; print(json.load(open("\(folder.bootstrapFile)"))["clientSecret"])')" \\
            -d scope=https://\(domain)/.default | python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')
          curl -s\(trust) --resolve \(vault):\(end) -H "Authorization: Bearer $TOKEN" \\
            -H 'Content-Type: application/json' -d '{"kty":"RSA","key_size":2048}' \\
            '\(bootstrap.vaultURL)/keys/my-key/create?api-version=7.6'

        Programs find the hosts by a line in /etc/hosts:

          \(place) \(vault) login.\(host)

        and then, with the Azure SDK for Python (pip install azure-keyvault-keys azure-identity):

        \(bundle)  python3 - <<'END'
          import json
          from azure.identity import ClientSecretCredential
          from azure.keyvault.keys import KeyClient
          b = json.load(open("\(folder.bootstrapFile)"))
          credential = ClientSecretCredential(b["tenant"], b["clientID"], b["clientSecret"],
              authority=b["authority"], disable_instance_discovery=True)
          print(KeyClient(b["vaultURL"], credential).create_rsa_key("my-key", size=2048).id)
          END

        """
    }
  }
#endif
