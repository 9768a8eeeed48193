#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyServices
  import KeyCustodyVault

  struct PolicyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "policy", abstract: "Grant and withdraw access to a vault; acts at once.",
      subcommands: [Set.self, Delete.self, List.self, Explain.self])

    /// Options of every command on a vault's rules.
    struct Options: ParsableArguments {
      @OptionGroup var common: CommonOptions
      @OptionGroup var place: ManagedPlace
      @Argument(help: "The vault.") var vault: String

      func run(
        over remote: @escaping (RemoteServer, VaultName) async throws(KeyCustodyError) -> AccessPolicy,
        here local: @escaping (Administration, KeyCustody, VaultName) async throws(KeyCustodyError) -> AccessPolicy
      ) async throws {
        try await common.run { output in
          let vault = try VaultName(vault)
          let policy = try await place.manage(
            over: { (server) async throws(KeyCustodyError) in try await remote(server, vault) },
            here: { (administration, custody) async throws(KeyCustodyError) in
              try await local(administration, custody, vault)
            })
          let lines = policy.rules.map { rule in
            "\(rule.name)  \(rule.effect.rawValue)  \(rule.principal)  "
              + (rule.keys.map(\.rawValue) + rule.secrets.map { "secrets/\($0.rawValue)" }).sorted().joined(
                separator: ",")
          }
          output.print(lines.joined(separator: "\n"), policy)
        }
      }
    }

    struct Set: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Set a principal's permissions in a vault, in place of those it has.")
      @OptionGroup var options: Options
      @Argument(help: "The principal: its name in the vault's tenant, or TENANT/SUBJECT.") var principal: String
      @Option(help: "The permissions on keys, divided by commas.") var keys: String?
      @Option(help: "The permissions on secrets, divided by commas.") var secrets: String?
      @Flag(help: "Forbid them, whatever else grants them.") var deny = false

      func run() async throws {
        let (principal, deny) = (principal, deny)
        let (keys, secrets) = (
          keys?.split(separator: ",").map(String.init), secrets?.split(separator: ",").map(String.init)
        )
        try await options.run(
          over: { (server, vault) async throws(KeyCustodyError) in
            var body: [(String, JSON)] = [("deny", .bool(deny))]
            if let keys { body.append(("keys", .array(keys.map(JSON.string)))) }
            if let secrets { body.append(("secrets", .array(secrets.map(JSON.string)))) }
            let object = body.reduce(into: JSON.Object()) { $0[$1.0] = $1.1 }
            return try await server.ask(
              .put, "keycustody/v1/vaults/\(vault)/policies/\(try ManagedPlace.own(principal))", .object(object))
          },
          here: { (administration, custody, vault) async throws(KeyCustodyError) in
            guard keys != nil || secrets != nil else {
              throw KeyCustodyError(
                .invalidInput, .malformed, "Which permissions is missing.", remedy: "Give --keys, --secrets or both.")
            }
            return try await administration.setPolicy(
              try await custody.principal(principal, in: vault), deny ? .deny : .allow,
              keys: try PermissionNames.read(keys ?? [], of: "keys"),
              secrets: try PermissionNames.read(secrets ?? [], of: "secrets"), in: vault)
          })
      }
    }

    struct Delete: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Withdraw a principal's rules in a vault.")
      @OptionGroup var options: Options
      @Argument(help: "The principal: its name in the vault's tenant, or TENANT/SUBJECT.") var principal: String
      func run() async throws {
        let principal = principal
        try await options.run(
          over: { (server, vault) async throws(KeyCustodyError) in
            try await server.ask(
              .delete, "keycustody/v1/vaults/\(vault)/policies/\(try ManagedPlace.own(principal))")
          },
          here: { (administration, custody, vault) async throws(KeyCustodyError) in
            try await administration.deletePolicy(try await custody.principal(principal, in: vault), in: vault)
          })
      }
    }

    struct List: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "List the rules of a vault.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run(
          over: { (server, vault) async throws(KeyCustodyError) in
            try await server.ask(.get, "keycustody/v1/vaults/\(vault)/policies")
          },
          here: { (administration, _, vault) async throws(KeyCustodyError) in
            try await administration.policy(of: vault)
          })
      }
    }

    struct Explain: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Tell why a principal may, or may not, do something in a vault. The question is put on record.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var place: ManagedPlace
      @Argument(help: "The vault.") var vault: String
      @Argument(help: "The principal: its name in the vault's tenant, or TENANT/SUBJECT.") var principal: String
      @Argument(help: "The permission, like wrapKey or secrets/get.") var permission: String

      private struct Answer: Codable {
        var allowed: Bool
        var rule: String
      }

      func run() async throws {
        try await common.run { output in
          let vault = try VaultName(vault)
          guard let asked = Permission.all.first(where: { $0.description.lowercased() == permission.lowercased() })
          else {
            throw KeyCustodyError(
              .invalidInput, .badName, "'\(permission.prefix(40))' is not a permission.",
              remedy: "Use one of: \(Permission.all.map(\.description).joined(separator: ", ")).")
          }
          let answer: Answer = try await place.manage(
            over: { (server) async throws(KeyCustodyError) in
              try await server.ask(
                .get,
                "keycustody/v1/vaults/\(vault)/explain?principal=\(try ManagedPlace.own(principal))&permission=\(asked)"
              )
            },
            here: { (administration, custody) async throws(KeyCustodyError) in
              let found = try await administration.explain(
                asked, of: try await custody.principal(principal, in: vault), key: nil, in: vault)
              return Answer(allowed: found.decision.isAllowed, rule: found.decision.rule)
            })
          output.print(
            "\(principal) \(answer.allowed ? "may" : "may not") \(asked) in \(vault): decided by '\(answer.rule)'",
            answer)
        }
      }
    }
  }
#endif
