#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyServices
  import KeyCustodyVault

  struct VaultCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "vault", abstract: "Make, list and delete vaults.",
      subcommands: [
        Create.self, List.self, Show.self, Protect.self, Network.self, Move.self, Delete.self,
      ])

    /// Options of every command on one vault.
    struct Options: ParsableArguments {
      @OptionGroup var common: CommonOptions
      @OptionGroup var place: ManagedPlace
      @Argument(help: "The vault.") var name: String
    }

    struct Create: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract:
          "Make a vault; the tenant's administrator may do everything in it but use its keys and read its secrets.")
      @OptionGroup var options: Options
      @Option(help: "The tenant it belongs to. (default: that of the configuration's server)") var tenant: String?
      @Option(help: "The key provider of its keys, by its name in the configuration. (default: that of the service)")
      var keyProvider: String?
      @Option(help: "The key provider of its HSM-protected keys. (default: that of the configuration's server, if any)")
      var hsmKeyProvider: String?
      @Option(help: "How long a deleted key is kept: 7 to 90 days.") var softDeleteDays = 90
      @Flag(help: "Let nobody purge a key before that; it can't be taken back. A customer's key needs it.")
      var purgeProtection = false

      func run() async throws {
        try await options.common.run { output in
          let definition = try await options.place.manage(
            over: { (server) async throws(KeyCustodyError) in try await self.create(over: server) },
            here: { (administration, custody) async throws(KeyCustodyError) in
              try await self.create(administration, custody)
            })
          output.print("created vault \(definition.name) on \(definition.keyProvider)", definition)
        }
      }

      private func create(over server: RemoteServer) async throws(KeyCustodyError) -> VaultDefinition {
        guard tenant == nil else {
          throw KeyCustodyError(
            .invalidInput, .badName, "Over HTTPS a vault is of the administrator's own tenant.",
            remedy: "Leave --tenant out.")
        }
        var body = JSON.Object()
        body["name"] = .string(options.name)
        if let keyProvider { body["keyProvider"] = .string(keyProvider) }
        if let hsmKeyProvider { body["hsmKeyProvider"] = .string(hsmKeyProvider) }
        body["softDeleteDays"] = .integer(Int64(softDeleteDays))
        body["purgeProtection"] = .bool(purgeProtection)
        return try await server.ask(.post, "keycustody/v1/vaults", .object(body))
      }

      private func create(
        _ administration: Administration, _ custody: KeyCustody
      ) async throws(KeyCustodyError) -> VaultDefinition {
        let configuration = options.place.configuration
        let root = try configuration.configuration().root
        let tenant = if let tenant { try TenantID(tenant) } else { try configuration.usualTenant() }
        let keyProvider =
          if let keyProvider { keyProvider } else { try root.section("service").requiredString("keyProvider") }
        let hsmKeyProvider =
          if let hsmKeyProvider { hsmKeyProvider } else { try root.section("server").string("hsmKeyProvider") }
        let definition = VaultDefinition(
          name: try VaultName(options.name), tenant: tenant, region: custody.region, keyProvider: keyProvider,
          softDeleteDays: softDeleteDays, purgeProtection: purgeProtection, hsmKeyProvider: hsmKeyProvider)
        try await administration.createVault(definition)
        return definition
      }
    }

    struct Show: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Show a vault, and from where it may be reached.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.common.run { output in
          let vault = try VaultName(options.name)
          let found: VaultDescription = try await options.place.manage(
            over: { (server) async throws(KeyCustodyError) in
              try await server.ask(.get, "keycustody/v1/vaults/\(vault)")
            },
            here: { (administration, _) async throws(KeyCustodyError) in try await administration.vault(vault) })
          let protection = found.definition.purgeProtection ? ", purge protection" : ""
          output.print(
            VaultCommand.line(found.definition)
              + "\n  deleted keys are kept \(found.definition.softDeleteDays) days\(protection)\n  "
              + VaultCommand.text(found.network), found)
        }
      }
    }

    struct Protect: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Switch a vault's purge protection on, for good.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.common.run { output in
          let vault = try VaultName(options.name)
          try await options.place.manage(
            over: { (server) async throws(KeyCustodyError) in
              try await server.send(.post, "keycustody/v1/vaults/\(vault)/protect")
              return ()
            },
            here: { (administration, _) async throws(KeyCustodyError) in try await administration.protectVault(vault) })
          output.print("purge protection is on for vault \(options.name)", ["protected": options.name])
        }
      }
    }

    struct Network: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Set from where a vault may be reached; acts at once.")
      @OptionGroup var options: Options
      @Option(help: "The only addresses let in, divided by commas: 192.0.2.0/24, 2001:db8::/32, or single ones.")
      var ranges: String?
      @Flag(help: "Let every address in.") var everywhere = false
      @Flag(
        inversion: .prefixedNo, help: "Whether services of this deployment are let in although they come from none.")
      var trustedServices = true

      func validate() throws {
        guard everywhere == (ranges == nil) else { throw ValidationError("Give either --ranges or --everywhere.") }
      }

      func run() async throws {
        try await options.common.run { output in
          let (vault, wanted) = (try VaultName(options.name), try rules())
          let rules: NetworkRules = try await options.place.manage(
            over: { (server) async throws(KeyCustodyError) in
              try await server.ask(
                .put, "keycustody/v1/vaults/\(vault)/network",
                [
                  "allowsEveryAddress": .bool(wanted.allowsEveryAddress),
                  "ranges": .array(wanted.ranges.map { .string($0.description) }),
                  "trustedServicesBypass": .bool(wanted.trustedServicesBypass),
                ])
            },
            here: { (administration, _) async throws(KeyCustodyError) in
              try await administration.setNetworkRules(wanted, in: vault)
              return wanted
            })
          output.print("vault \(options.name) \(VaultCommand.text(rules))", rules)
        }
      }

      private func rules() throws(KeyCustodyError) -> NetworkRules {
        guard !everywhere else { return .everywhere }
        var found: [AddressRange] = []
        for text in (ranges ?? "").split(separator: ",") { found.append(try AddressRange(String(text))) }
        return .only(found, trustedServicesBypass: trustedServices)
      }
    }

    struct Move: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Give a vault to another tenant; everybody's access to it ends.")
      @OptionGroup var options: Options
      @Option(help: "The tenant that is to have it.") var tenant: String

      func run() async throws {
        try await options.common.run { output in
          let (vault, tenant) = (try VaultName(options.name), try TenantID(tenant))
          try await options.place.manage(
            over: { (_) throws(KeyCustodyError) in
              throw KeyCustodyError(
                .denied, .accessDenied, "Over HTTPS nobody reaches into another tenant.",
                remedy: "Whoever runs the deployment moves vaults, on the server's own machine.")
            },
            here: { (administration, _) async throws(KeyCustodyError) in
              try await administration.moveVault(vault, to: tenant)
            })
          output.print("moved vault \(vault) to tenant \(tenant)", ["vault": "\(vault)", "tenant": "\(tenant)"])
        }
      }
    }

    struct Delete: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Delete a vault whose keys and secrets are all purged, for good; its name is not used again.")
      @OptionGroup var options: Options

      func run() async throws {
        try await options.common.run { output in
          let vault = try VaultName(options.name)
          try await options.place.manage(
            over: { (server) async throws(KeyCustodyError) in
              try await server.send(.delete, "keycustody/v1/vaults/\(vault)")
              return ()
            },
            here: { (administration, _) async throws(KeyCustodyError) in try await administration.deleteVault(vault) })
          output.print("deleted vault \(vault)", ["deleted": vault.spelling])
        }
      }
    }

    struct List: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "List the vaults.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var place: ManagedPlace
      func run() async throws {
        try await common.run { output in
          let vaults: [VaultDefinition] = try await place.manage(
            over: { (server) async throws(KeyCustodyError) in try await server.ask(.get, "keycustody/v1/vaults") },
            here: { (administration, _) async throws(KeyCustodyError) in try await administration.vaults(of: nil) })
          output.print(vaults.map(VaultCommand.line).joined(separator: "\n"), vaults)
        }
      }
    }

    private static func line(_ vault: VaultDefinition) -> String {
      "\(vault.name)  tenant \(vault.tenant)  keys in \(vault.keyProvider)"
    }

    private static func text(_ rules: NetworkRules) -> String {
      rules.allowsEveryAddress
        ? "lets every address in" : "lets in \(rules.ranges.map(\.description).joined(separator: ", "))"
    }
  }
#endif
