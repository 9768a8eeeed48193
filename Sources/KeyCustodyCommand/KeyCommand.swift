#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyServices
  import KeyCustodyVault

  struct KeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "key", abstract: "Make, rotate, switch, delete and recover the keys of a vault.",
      subcommands: [
        Create.self, Rotate.self, Show.self, List.self, Enable.self, Disable.self, Delete.self, Recover.self,
        Purge.self,
      ])

    /// The version of the Key Vault wire that is spoken with servers.
    static let wire = "?api-version=7.6"

    /// Options of every command on one key.
    struct Options: ParsableArguments {
      @OptionGroup var common: CommonOptions
      @OptionGroup var place: ManagedPlace
      @Argument(help: "The key: VAULT/NAME[/VERSION] or its address.") var key: String

      /// Does the work at a server, or here as the administrator of the vault's tenant; then prints the key.
      func run(
        over remote: @escaping (RemoteServer, NamedKey) async throws(KeyCustodyError) -> Void,
        here local: @escaping (Vaults, KeyURI, Principal, CallContext) async throws(KeyCustodyError) -> Void
      ) async throws {
        try await common.run { output in
          let summary: KeySummary? = try await place.manage(
            over: { (server) async throws(KeyCustodyError) in
              let key = try NamedKey(key)
              try await remote(server, key)
              do throws(KeyCustodyError) {
                return try await server.ask(.get, "keycustody/v1/keys/\(key.name)", of: key.vault) as KeySummary
              } catch {
                guard error.code == .notFound else { throw error }
                return nil
              }
            },
            here: { (_, custody) async throws(KeyCustodyError) in
              let uri = try custody.keyURI(key)
              let caller = try await custody.administrator(for: uri)
              let context = CallContext(purpose: .administration, principal: caller.id)
              try await local(custody.vaults, uri, caller, context)
              return try await custody.vaults.keys(in: try uri.vault, as: caller, context: context)
                .first { $0.name == uri.name }.map { KeySummary($0, at: uri) }
            })
          if let summary { output.print(summary.text, summary) } else { output.print("gone: \(key)", ["gone": key]) }
        }
      }

      fileprivate func set(_ isEnabled: Bool) async throws {
        try await run(
          over: { (server, key) async throws(KeyCustodyError) in
            try await server.send(
              .patch, key.path + wire, of: key.vault, ["attributes": ["enabled": .bool(isEnabled)]])
          },
          here: { (vaults, uri, caller, context) async throws(KeyCustodyError) in
            try await vaults.updateKey(uri, isEnabled: isEnabled, as: caller, context: context)
          })
      }
    }

    struct Create: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Make a key with its first version.")
      @OptionGroup var options: Options
      @Option(help: "The type: rsa-2048, rsa-3072, rsa-4096, ec-p256, ec-p384, ec-p521, aes-256.")
      var type = "rsa-2048"
      @Option(help: "What it is for: wrapping or signing.") var role = "wrapping"
      func run() async throws {
        let (type, role) = (type, role)
        try await options.run(
          over: { (server, key) async throws(KeyCustodyError) in
            try await server.send(
              .post, "keycustody/v1/keys/\(key.name)/create", of: key.vault,
              ["type": .string(type), "role": .string(role)])
          },
          here: { (vaults, uri, caller, context) async throws(KeyCustodyError) in
            guard let role = KeyRole(rawValue: role) else {
              throw KeyCustodyError(
                .invalidInput, .badName, "'\(role.prefix(40))' is not a role.", remedy: "Use wrapping or signing.")
            }
            _ = try await vaults.createKey(uri, type: try KeyType(type), role: role, as: caller, context: context)
          })
      }
    }

    struct Rotate: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Make a new version, which becomes the newest.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run(
          over: { (server, key) async throws(KeyCustodyError) in
            try await server.send(.post, "keys/\(key.name)/rotate" + wire, of: key.vault)
          },
          here: { (vaults, uri, caller, context) async throws(KeyCustodyError) in
            _ = try await vaults.rotateKey(uri, as: caller, context: context)
          })
      }
    }

    struct Show: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Show a key and its versions.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run(
          over: { (server, key) async throws(KeyCustodyError) in
            try await server.send(.get, key.path + wire, of: key.vault)
          },
          here: { (vaults, uri, caller, context) async throws(KeyCustodyError) in
            _ = try await vaults.key(uri, as: caller, context: context)
          })
      }
    }

    struct List: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "List the keys of a vault, deleted ones included.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var place: ManagedPlace
      @Argument(help: "The vault.") var vault: String
      func run() async throws {
        try await common.run { output in
          let vault = try VaultName(vault)
          let summaries: [KeySummary] = try await place.manage(
            over: { (server) async throws(KeyCustodyError) in
              try await server.ask(.get, "keycustody/v1/keys", of: vault)
            },
            here: { (_, custody) async throws(KeyCustodyError) in
              let any = custody.vaults.uri(vault, try KeyName("any"))
              let caller = try await custody.administrator(for: any)
              return try await custody.vaults.keys(
                in: vault, as: caller, context: CallContext(purpose: .administration)
              ).map { KeySummary($0, at: any) }
            })
          output.print(summaries.map(\.text).joined(separator: "\n"), summaries)
        }
      }
    }

    struct Enable: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Enable a version (the newest, unless one is named).")
      @OptionGroup var options: Options
      func run() async throws { try await options.set(true) }
    }

    struct Disable: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract:
          "Disable a version (the newest, unless one is named): data under it can't be read until it is enabled.")
      @OptionGroup var options: Options
      func run() async throws { try await options.set(false) }
    }

    struct Delete: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Soft-delete a key: recoverable for the retention.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run(
          over: { (server, key) async throws(KeyCustodyError) in
            guard key.version == nil else {
              throw KeyCustodyError(
                .unsupported, .notOffered, "The wire has no way to delete one version.",
                remedy: "Delete the key, disable the version, or run the command on the server's own machine.")
            }
            try await server.send(.delete, key.path + wire, of: key.vault)
          },
          here: { (vaults, uri, caller, context) async throws(KeyCustodyError) in
            try await vaults.deleteKey(uri, as: caller, context: context)
          })
      }
    }

    struct Recover: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Bring a soft-deleted key back.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run(
          over: { (server, key) async throws(KeyCustodyError) in
            try await server.send(.post, "deletedkeys/\(key.name)/recover" + wire, of: key.vault)
          },
          here: { (vaults, uri, caller, context) async throws(KeyCustodyError) in
            try await vaults.recoverKey(uri, as: caller, context: context)
          })
      }
    }

    struct Purge: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Destroy a soft-deleted key for good; refused while purge protection holds.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run(
          over: { (server, key) async throws(KeyCustodyError) in
            try await server.send(.delete, "deletedkeys/\(key.name)" + wire, of: key.vault)
          },
          here: { (vaults, uri, caller, context) async throws(KeyCustodyError) in
            try await vaults.purgeKey(uri, as: caller, context: context)
          })
      }
    }
  }
#endif
