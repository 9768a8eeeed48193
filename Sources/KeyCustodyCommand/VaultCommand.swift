#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyServices
  import KeyCustodyVault

  struct VaultCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "vault", abstract: "Make and list vaults.", subcommands: [Create.self, List.self, Protect.self])

    struct Create: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Make a vault; the tenant's administrator may do everything on its keys but use them.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      @Argument(help: "The vault.") var name: String
      @Option(help: "The tenant it belongs to.") var tenant: String
      @Option(help: "The key provider of its keys, by its name in the configuration.") var keyProvider: String
      @Option(help: "How long a deleted key is kept: 7 to 90 days.") var softDeleteDays = 90
      @Flag(inversion: .prefixedNo, help: "Whether nobody may purge a key before that.") var purgeProtection = true

      func run() async throws {
        try await common.run { output in
          let definition = try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
            let definition = VaultDefinition(
              name: try VaultName(name), tenant: try TenantID(tenant), region: custody.region,
              keyProvider: keyProvider, softDeleteDays: softDeleteDays, purgeProtection: purgeProtection)
            try await custody.vaults.create(definition)
            let administrator = try await custody.administrator(of: definition.tenant)
            let use: Set<KeyPermission> = [.encrypt, .decrypt, .wrapKey, .unwrapKey, .sign]
            try await custody.vaults.setRule(
              AccessRule(
                name: "administrator", principal: administrator.id,
                keys: Set(KeyPermission.allCases).subtracting(use)),
              in: definition.name)
            return definition
          }
          output.print("created vault \(definition.name) on \(definition.keyProvider)", definition)
        }
      }
    }

    struct Protect: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Switch a vault's purge protection on, for good.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      @Argument(help: "The vault.") var name: String
      func run() async throws {
        try await common.run { output in
          try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
            try await custody.vaults.enablePurgeProtection(try VaultName(name))
          }
          output.print("purge protection is on for vault \(name)", ["protected": name])
        }
      }
    }

    struct List: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "List the vaults.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      func run() async throws {
        try await common.run { output in
          let vaults = try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
            try await custody.vaults.definitions()
          }
          output.print(
            vaults.map { "\($0.name)  tenant \($0.tenant)  keys in \($0.keyProvider)" }.joined(separator: "\n"), vaults)
        }
      }
    }
  }

  struct PolicyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "policy", abstract: "Grant and withdraw access to a vault; acts at once.",
      subcommands: [Set.self, Delete.self, List.self])

    /// Options of every command on a vault's rules.
    struct Options: ParsableArguments {
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      @Argument(help: "The vault.") var vault: String

      func run(_ body: @escaping (KeyCustody, VaultName) async throws(KeyCustodyError) -> Void) async throws {
        try await common.run { output in
          let policy = try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
            let name = try VaultName(vault)
            try await body(custody, name)
            return try await custody.vaults.policy(of: name)
          }
          let lines = policy.rules.map { rule in
            "\(rule.name)  \(rule.effect.rawValue)  \(rule.principal)  "
              + rule.keys.map(\.rawValue).sorted().joined(separator: ",")
          }
          output.print(lines.joined(separator: "\n"), policy)
        }
      }
    }

    struct Set: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Set a principal's key permissions in a vault, in place of those it has.")
      @OptionGroup var options: Options
      @Argument(help: "The principal: TENANT/SUBJECT.") var principal: String
      @Option(help: "The permissions, divided by commas.") var keys: String
      @Flag(help: "Forbid them, whatever else grants them.") var deny = false

      func run() async throws {
        let (principal, keys, deny) = (principal, keys, deny)
        try await options.run { (custody, vault) async throws(KeyCustodyError) in
          let id = try PrincipalID(principal)
          var permissions: Swift.Set<KeyPermission> = []
          for name in keys.split(separator: ",") {
            guard let permission = KeyPermission(rawValue: String(name)) else {
              throw KeyCustodyError(
                .invalidInput, .badName, "'\(name.prefix(40))' is not a key permission.",
                remedy: "Use some of: \(KeyPermission.allCases.map(\.rawValue).joined(separator: ", ")).")
            }
            permissions.insert(permission)
          }
          let rule = AccessRule(
            name: "\(deny ? "deny " : "")\(id.tenant.folded)/\(id.subject.folded)", principal: id,
            effect: deny ? .deny : .allow, keys: permissions)
          try await custody.vaults.setRule(rule, in: vault)
          // Whatever its name: a rule that stayed would go on granting what is not among these permissions.
          for old in try await custody.vaults.policy(of: vault).rules
          where old.principal == id && old.effect == rule.effect && old.name != rule.name {
            try await custody.vaults.removeRule(old.name, in: vault)
          }
        }
      }
    }

    struct Delete: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Withdraw a principal's rules in a vault.")
      @OptionGroup var options: Options
      @Argument(help: "The principal: TENANT/SUBJECT.") var principal: String
      func run() async throws {
        let principal = principal
        try await options.run { (custody, vault) async throws(KeyCustodyError) in
          let id = try PrincipalID(principal)
          for rule in try await custody.vaults.policy(of: vault).rules where rule.principal == id {
            try await custody.vaults.removeRule(rule.name, in: vault)
          }
        }
      }
    }

    struct List: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "List the rules of a vault.")
      @OptionGroup var options: Options
      func run() async throws { try await options.run { (_, _) in } }
    }
  }
#endif
