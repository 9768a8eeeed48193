#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyServices
  import KeyCustodyVault

  struct SecretCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "secret", abstract: "Set, list, delete and recover the secrets of a vault.",
      subcommands: [Set.self, List.self, Delete.self, Recover.self, Purge.self])

    /// Options of every command on one secret.
    struct Options: ParsableArguments {
      @OptionGroup var common: CommonOptions
      @OptionGroup var place: ManagedPlace
      @Argument(help: "The secret: VAULT/NAME.") var secret: String

      /// Does the work at a server, or here as the administrator of the vault's tenant.
      func run(
        over remote: @escaping (RemoteServer, VaultName, SecretName) async throws(KeyCustodyError) -> (String, JSON),
        here local:
          @escaping (Vaults, SecretURI, Principal, CallContext) async throws(KeyCustodyError) -> (String, JSON)
      ) async throws {
        try await common.run { output in
          let parts = secret.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
          guard parts.count == 2 else {
            throw KeyCustodyError(
              .invalidInput, .malformed, "'\(secret.prefix(80))' is not a secret.", remedy: "Write VAULT/NAME.")
          }
          let (vault, name) = (try VaultName(parts[0]), try SecretName(parts[1]))
          let (text, value) = try await place.manage(
            over: { (server) async throws(KeyCustodyError) in try await remote(server, vault, name) },
            here: { (_, custody) async throws(KeyCustodyError) in
              let uri = custody.vaults.secretURI(vault, name)
              let caller = try await custody.administrator(of: vault)
              return try await local(
                custody.vaults, uri, caller, CallContext(purpose: .administration, principal: caller.id))
            })
          output.printJSON(text, value)
        }
      }
    }

    /// The `id` of what a server tells of a secret, without its version where that is not meant.
    fileprivate static func id(_ told: JSON, withVersion: Bool = true) -> String {
      let id = told["id"]?.string ?? ""
      let parts = id.split(separator: "/")
      return withVersion || parts.count < 5 ? id : String(id.dropLast((parts.last?.count ?? 0) + 1))
    }

    struct Set: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Set a secret's value, read from a file or a pipe.")
      @OptionGroup var options: Options
      @Option(help: "The file with the value; '-' for what is piped in.") var valueFile: String
      @Option(help: "What the value is.") var contentType: String?

      func run() async throws {
        let (file, contentType) = (valueFile, contentType)
        try await options.run(
          over: { (server, vault, name) async throws(KeyCustodyError) in
            var body = JSON.Object()
            body["value"] = .string(String(decoding: try Self.value(file), as: UTF8.self))
            if let contentType { body["contentType"] = .string(contentType) }
            let told = try await server.askJSON(.put, "secrets/\(name)" + KeyCommand.wire, of: vault, .object(body))
            return ("set \(id(told))", ["id": .string(id(told))])
          },
          here: { (vaults, uri, caller, context) async throws(KeyCustodyError) in
            let set = try await vaults.setSecret(
              SecretBytes(copying: try Self.value(file)), at: uri,
              attributes: SecretAttributes(contentType: contentType), as: caller, context: context)
            return ("set \(set.uri)", ["id": .string(set.uri.description)])
          })
      }

      private static func value(_ file: String) throws(KeyCustodyError) -> [UInt8] {
        let value = file == "-" ? try StandardInput.read() : try WholeFile.read(Running.path(file))
        guard String(validating: value, as: UTF8.self) != nil else {
          throw KeyCustodyError(
            .invalidInput, .malformed, "The value is not UTF-8 text, which secrets are.",
            remedy: "Write bytes as base64, and say so by --content-type.")
        }
        return value
      }
    }

    struct List: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "List the secrets of a vault, without their values.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var place: ManagedPlace
      @Argument(help: "The vault.") var vault: String

      /// A secret, as it is listed.
      private struct Entry {
        var id: String
        var isEnabled: Bool
      }

      func run() async throws {
        try await common.run { output in
          let vault = try VaultName(vault)
          let secrets = try await place.manage(
            over: { (server) async throws(KeyCustodyError) in try await Self.all(of: vault, at: server) },
            here: { (_, custody) async throws(KeyCustodyError) in try await Self.all(of: vault, in: custody) })
          output.printJSON(
            secrets.map { "\($0.id)  \($0.isEnabled ? "enabled" : "disabled")" }.joined(separator: "\n"),
            .array(secrets.map { ["id": .string($0.id), "enabled": .bool($0.isEnabled)] }))
        }
      }

      private static func all(of vault: VaultName, in custody: KeyCustody) async throws(KeyCustodyError) -> [Entry] {
        let caller = try await custody.administrator(of: vault)
        var found: [Entry] = []
        var next: String?
        repeat {
          let page = try await custody.vaults.listSecrets(
            in: vault, after: next, as: caller, context: CallContext(purpose: .administration, principal: caller.id))
          found += page.items.map { Entry(id: $0.uri.description, isEnabled: $0.attributes.isEnabled) }
          next = page.next
        } while next != nil
        return found
      }

      private static func all(of vault: VaultName, at server: RemoteServer) async throws(KeyCustodyError) -> [Entry] {
        var found: [Entry] = []
        var path = "secrets" + KeyCommand.wire
        while true {
          let page = try await server.askJSON(.get, path, of: vault)
          for item in page["value"]?.array ?? [] {
            found.append(Entry(id: id(item), isEnabled: item["attributes"]?["enabled"]?.bool ?? false))
          }
          // By what the address asks for: where the server is, the command knows.
          guard let query = page["nextLink"]?.string?.split(separator: "?", maxSplits: 1).last else { return found }
          path = "secrets?\(query)"
        }
      }
    }

    struct Delete: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Soft-delete a secret: recoverable for the retention.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run(
          over: { (server, vault, name) async throws(KeyCustodyError) in
            let told = try await server.askJSON(.delete, "secrets/\(name)" + KeyCommand.wire, of: vault)
            let until = told["scheduledPurgeDate"]?.integer ?? 0
            return Self.told(id(told, withVersion: false), until)
          },
          here: { (vaults, uri, caller, context) async throws(KeyCustodyError) in
            let deleted = try await vaults.deleteSecret(uri, as: caller, context: context)
            return Self.told(uri.description, deleted.deletion.scheduledPurge.seconds)
          })
      }

      private static func told(_ id: String, _ until: Int64) -> (String, JSON) {
        ("deleted \(id), recoverable until \(until)", ["id": .string(id), "deletedUntil": .integer(until)])
      }
    }

    struct Recover: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Bring a soft-deleted secret back.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run(
          over: { (server, vault, name) async throws(KeyCustodyError) in
            let path = "deletedsecrets/\(name)/recover" + KeyCommand.wire
            let told = try await server.askJSON(.post, path, of: vault)
            return ("recovered \(id(told))", ["id": .string(id(told))])
          },
          here: { (vaults, uri, caller, context) async throws(KeyCustodyError) in
            let secret = try await vaults.recoverSecret(uri, as: caller, context: context)
            return ("recovered \(secret.uri)", ["id": .string(secret.uri.description)])
          })
      }
    }

    struct Purge: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Destroy a soft-deleted secret for good; refused while purge protection holds.")
      @OptionGroup var options: Options
      func run() async throws {
        let secret = options.secret
        try await options.run(
          over: { (server, vault, name) async throws(KeyCustodyError) in
            try await server.send(.delete, "deletedsecrets/\(name)" + KeyCommand.wire, of: vault)
            return ("gone: \(secret)", ["gone": .string(secret)])
          },
          here: { (vaults, uri, caller, context) async throws(KeyCustodyError) in
            try await vaults.purgeSecret(uri, as: caller, context: context)
            return ("gone: \(uri)", ["gone": .string(uri.description)])
          })
      }
    }
  }
#endif
