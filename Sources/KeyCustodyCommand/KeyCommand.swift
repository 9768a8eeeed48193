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

    /// What is printed of a key.
    struct KeyForm: Encodable {
      var key: String
      var type: String
      var role: String
      var deletedUntil: Int64?
      var versions: [VersionForm]
      struct VersionForm: Encodable {
        var version: String
        var enabled: Bool
        var created: Int64
        var expires: Int64?
      }

      init(_ record: KeyRecord, _ uri: KeyURI) {
        key = KeyURI(authority: uri.authority, name: record.name).description
        type = record.type.description
        role = record.role.rawValue
        deletedUntil = record.deletion?.scheduledPurge.seconds
        versions = record.versions.map {
          VersionForm(
            version: $0.version.description, enabled: $0.isEnabled, created: $0.created.seconds,
            expires: $0.expires?.seconds)
        }
      }

      var text: String {
        let head = "\(key)  \(type)  \(role)" + (deletedUntil.map { "  deleted, recoverable until \($0)" } ?? "")
        return ([head] + versions.map { "  \($0.version)  \($0.enabled ? "enabled" : "disabled")" })
          .joined(separator: "\n")
      }
    }

    /// Options of every command on one key.
    struct Options: ParsableArguments {
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      @Argument(help: "The key: VAULT/NAME[/VERSION] or its address.") var key: String

      /// Does the work as the administrator of the vault's tenant, then prints the key.
      func run(
        _ body: @escaping (Vaults, KeyURI, Principal, CallContext) async throws(KeyCustodyError) -> Void
      ) async throws {
        try await common.run { output in
          let form = try await configuration.withCustody { (custody) async throws(KeyCustodyError) -> KeyForm? in
            let uri = try custody.keyURI(key)
            let caller = try await custody.administrator(for: uri)
            let context = CallContext(purpose: .administration, principal: caller.id)
            try await body(custody.vaults, uri, caller, context)
            return try await custody.vaults.keys(in: try uri.vault, as: caller, context: context)
              .first { $0.name == uri.name }.map { KeyForm($0, uri) }
          }
          if let form { output.print(form.text, form) } else { output.print("gone: \(key)", ["gone": key]) }
        }
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
        try await options.run { (vaults, uri, caller, context) async throws(KeyCustodyError) in
          guard let role = KeyRole(rawValue: role) else {
            throw KeyCustodyError(
              .invalidInput, .badName, "'\(role.prefix(40))' is not a role.", remedy: "Use wrapping or signing.")
          }
          _ = try await vaults.createKey(uri, type: try KeyType(type), role: role, as: caller, context: context)
        }
      }
    }

    struct Rotate: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Make a new version, which becomes the newest.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run { (vaults, uri, caller, context) async throws(KeyCustodyError) in
          _ = try await vaults.rotateKey(uri, as: caller, context: context)
        }
      }
    }

    struct Show: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Show a key and its versions.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run { (vaults, uri, caller, context) async throws(KeyCustodyError) in
          _ = try await vaults.key(uri, as: caller, context: context)
        }
      }
    }

    struct List: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "List the keys of a vault, deleted ones included.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      @Argument(help: "The vault.") var vault: String
      func run() async throws {
        try await common.run { output in
          let forms = try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
            let any = custody.vaults.uri(try VaultName(vault), try KeyName("any"))
            let caller = try await custody.administrator(for: any)
            return try await custody.vaults.keys(
              in: try any.vault, as: caller, context: CallContext(purpose: .administration)
            ).map { KeyForm($0, any) }
          }
          output.print(forms.map(\.text).joined(separator: "\n"), forms)
        }
      }
    }

    struct Enable: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Enable a version (the newest, unless one is named).")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run { (vaults, uri, caller, context) async throws(KeyCustodyError) in
          try await vaults.updateKey(uri, isEnabled: true, as: caller, context: context)
        }
      }
    }

    struct Disable: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract:
          "Disable a version (the newest, unless one is named): data under it can't be read until it is enabled.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run { (vaults, uri, caller, context) async throws(KeyCustodyError) in
          try await vaults.updateKey(uri, isEnabled: false, as: caller, context: context)
        }
      }
    }

    struct Delete: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Soft-delete a key: recoverable for the retention.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run { (vaults, uri, caller, context) async throws(KeyCustodyError) in
          try await vaults.deleteKey(uri, as: caller, context: context)
        }
      }
    }

    struct Recover: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Bring a soft-deleted key back.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run { (vaults, uri, caller, context) async throws(KeyCustodyError) in
          try await vaults.recoverKey(uri, as: caller, context: context)
        }
      }
    }

    struct Purge: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Destroy a soft-deleted key for good; refused while purge protection holds.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run { (vaults, uri, caller, context) async throws(KeyCustodyError) in
          try await vaults.purgeKey(uri, as: caller, context: context)
        }
      }
    }
  }
#endif
