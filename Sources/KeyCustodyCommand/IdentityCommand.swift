#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyServices
  import KeyCustodyVault

  struct IdentityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "identity", abstract: "Make, switch and remove the principals that use vaults.",
      subcommands: [
        Create.self, List.self, Show.self, Secret.self, Federate.self, Enable.self, Disable.self, Delete.self,
        AdministratorCommand.self,
      ])

    /// Options of every command on one principal.
    struct Options: ParsableArguments {
      @OptionGroup var common: CommonOptions
      @OptionGroup var place: ManagedPlace
      @Argument(help: "The principal: its name, or TENANT/NAME.") var name: String
      @Option(help: "Its tenant. (default: that of the configuration's server)") var tenant: String?

      /// Does the work at a server, whose answer is what is printed, or here.
      func run(
        over remote: @escaping (RemoteServer, SubjectID) async throws(KeyCustodyError) -> IdentityDescription,
        here local: @escaping (Administration, PrincipalID) async throws(KeyCustodyError) -> IdentityDescription,
        _ text: @escaping (IdentityDescription) -> String
      ) async throws {
        try await common.run { output in
          let told = try await place.manage(
            over: { (server) async throws(KeyCustodyError) in
              try await remote(server, try ManagedPlace.own(name, tenant: tenant))
            },
            here: { (administration, _) async throws(KeyCustodyError) in
              try await local(administration, try place.configuration.principal(name, tenant: tenant))
            })
          output.print(text(told), told)
        }
      }
    }

    fileprivate static func object(_ members: [(String, JSON)]) -> JSON {
      .object(members.reduce(into: JSON.Object()) { $0[$1.0] = $1.1 })
    }

    /// An outside subject that a principal trusts.
    struct FederationOptions: ParsableArguments {
      @Option(help: "An outside issuer whose tokens it may show in place of a secret (an https URL).")
      var federatedIssuer: String?
      @Option(help: "The subject of those tokens.") var federatedSubject: String?
      @Option(help: "The audience of those tokens.") var federatedAudience = FederatedCredential.usualAudience
      @Option(help: "A PEM file of the authorities to trust for that issuer. (default: the system's)")
      var federatedCa: String?
      @Option(help: "A file with that issuer's key set (JWKS), so that nothing is asked over a network.")
      var federatedKeys: String?

      func validate() throws {
        guard (federatedIssuer == nil) == (federatedSubject == nil) else {
          throw ValidationError("--federated-issuer and --federated-subject go together.")
        }
      }

      var credential: FederatedCredential? {
        guard let federatedIssuer, let federatedSubject else { return nil }
        return FederatedCredential(
          issuer: FederatedIssuer(
            federatedIssuer, caFile: federatedCa.map(Running.absolute), keySetFile: federatedKeys.map(Running.absolute)),
          subject: federatedSubject, audience: federatedAudience)
      }

      /// The same, for a server: which files it reads is for its operator to say.
      var body: [(String, JSON)] {
        get throws(KeyCustodyError) {
          guard let credential else { return [] }
          guard credential.issuer.caFile == nil, credential.issuer.keySetFile == nil else {
            throw KeyCustodyError(
              .invalidInput, .badConfigurationValue, "Files of an issuer are named on the server's own machine.",
              remedy: "Leave --federated-ca and --federated-keys out, or run the command there.")
          }
          return [
            ("issuer", .string(credential.issuer.name)), ("subject", .string(credential.subject)),
            ("audience", .string(credential.audience)),
          ]
        }
      }
    }

    struct Create: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Make a service principal and print its secret, which is shown this once.")
      @OptionGroup var options: Options
      @OptionGroup var federation: FederationOptions
      @Flag(help: "Make no secret.") var withoutSecret = false
      @Flag(help: "Let it administer its tenant: vaults, their rules, principals. It gets at no key by that.")
      var administrator = false

      func run() async throws {
        let (federation, withoutSecret, administrator) = (federation, withoutSecret, administrator)
        try await options.run(
          over: { (server, name) async throws(KeyCustodyError) in
            var body: [(String, JSON)] = [
              ("name", .string(name.spelling)), ("withoutSecret", .bool(withoutSecret)),
              ("administrator", .bool(administrator)),
            ]
            let trusted = try federation.body
            if !trusted.isEmpty { body.append(("federation", object(trusted))) }
            return try await server.ask(.post, "keycustody/v1/identities", object(body))
          },
          here: { (administration, id) async throws(KeyCustodyError) in
            try await administration.createIdentity(
              id, trusting: federation.credential, hasSecret: !withoutSecret, isAdministrator: administrator)
          },
          { told in
            let secret = told.clientSecret.map { "\nclient id      \(told.clientID)\nclient secret  \($0)" } ?? ""
            return "made \(told.principal)\(secret)"
          })
      }
    }

    struct List: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "List the principals of a tenant.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var place: ManagedPlace
      @Option(help: "The tenant. (default: that of the configuration's server)") var tenant: String?

      func run() async throws {
        try await common.run { output in
          let found: [IdentityDescription] = try await place.manage(
            over: { (server) async throws(KeyCustodyError) in
              guard tenant == nil else {
                throw KeyCustodyError(
                  .invalidInput, .badName, "Over HTTPS an administrator sees its own tenant.",
                  remedy: "Leave --tenant out.")
              }
              return try await server.ask(.get, "keycustody/v1/identities")
            },
            here: { (administration, _) async throws(KeyCustodyError) in
              let tenant = if let tenant { try TenantID(tenant) } else { try place.configuration.usualTenant() }
              return try await administration.identities(of: tenant)
            })
          output.print(found.map(IdentityCommand.line).joined(separator: "\n"), found)
        }
      }
    }

    struct Show: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Show a principal.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run(
          over: { (server, name) async throws(KeyCustodyError) in
            try await server.ask(.get, "keycustody/v1/identities/\(name)")
          },
          here: { (administration, id) async throws(KeyCustodyError) in try await administration.identity(id) },
          IdentityCommand.line)
      }
    }

    private static func line(_ told: IdentityDescription) -> String {
      "\(told.principal)  \(told.kind?.rawValue ?? "-")  \(told.enabled ?? false ? "enabled" : "disabled")"
        + (told.administrator ?? false ? "  administrator" : "")
    }

    struct Secret: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Give a principal another client secret and print it; those it has go on working.")
      @OptionGroup var options: Options
      @Option(help: "After how many days it ends. (default: never)") var days: Int?
      func run() async throws {
        let days = days
        try await options.run(
          over: { (server, name) async throws(KeyCustodyError) in
            try await server.ask(
              .post, "keycustody/v1/identities/\(name)/secret",
              object(days.map { [("days", .integer(Int64($0)))] } ?? []))
          },
          here: { (administration, id) async throws(KeyCustodyError) in
            guard (1...3650).contains(days ?? 1) else {
              throw KeyCustodyError(
                .invalidInput, .wrongSize, "A secret lives 1 to 3650 days.", remedy: "Choose --days.")
            }
            let now = SystemTime().now()
            return try await administration.issueSecret(
              for: id, expires: days.map { now + .seconds(86_400 * $0) })
          }, { "client secret  \($0.clientSecret ?? "")" })
      }
    }

    struct Federate: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Let a principal show tokens of an outside issuer in place of a secret (workload identity).")
      @OptionGroup var options: Options
      @OptionGroup var federation: FederationOptions
      @Flag(help: "Take it back.") var remove = false
      func run() async throws {
        let (federation, remove) = (federation, remove)
        try await options.run(
          over: { (server, name) async throws(KeyCustodyError) in
            try await server.ask(
              .post, "keycustody/v1/identities/\(name)/federate",
              object(try federation.body + [("removed", .bool(remove))]))
          },
          here: { (administration, id) async throws(KeyCustodyError) in
            guard let credential = federation.credential else {
              throw KeyCustodyError(
                .invalidInput, .malformed, "Which issuer and subject is missing.",
                remedy: "Give --federated-issuer and --federated-subject.")
            }
            return try await administration.federate(id, credential, isRemoved: remove)
          },
          { told in
            let trusts = told.removed ?? false ? "trusts no longer" : "trusts"
            return "\(told.principal) \(trusts) \(told.subject ?? "") of \(told.issuer ?? "")"
          })
      }
    }

    struct Enable: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Switch a principal on.")
      @OptionGroup var options: Options
      func run() async throws { try await options.set(true) }
    }

    struct Disable: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Switch a principal off: nothing it was given works any more, tokens included.")
      @OptionGroup var options: Options
      func run() async throws { try await options.set(false) }
    }

    struct Delete: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Remove a principal and all that it was given.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run(
          over: { (server, name) async throws(KeyCustodyError) in
            try await server.ask(.delete, "keycustody/v1/identities/\(name)")
          },
          here: { (administration, id) async throws(KeyCustodyError) in try await administration.deleteIdentity(id) },
          { "removed \($0.principal)" })
      }
    }

    struct AdministratorCommand: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        commandName: "administrator",
        abstract: "Let a principal administer its tenant, or take that back; for the server's operator alone.")
      @OptionGroup var options: Options
      @Flag(help: "Take it back.") var remove = false
      func run() async throws {
        let remove = remove
        try await options.run(
          over: { (_, _) async throws(KeyCustodyError) in
            throw KeyCustodyError(
              .denied, .accessDenied, "Administrators are made on the server's own machine.",
              remedy: "Ask the server's operator.")
          },
          here: { (administration, id) async throws(KeyCustodyError) in
            if !remove { _ = try await administration.identity(id) }
            return try await administration.setAdministrator(!remove, id)
          }, { "\($0.principal) \($0.administrator ?? false ? "administers" : "no longer administers") its tenant" })
      }
    }
  }

  extension IdentityCommand.Options {
    /// Switches the principal on or off.
    fileprivate func set(_ isEnabled: Bool) async throws {
      try await run(
        over: { (server, name) async throws(KeyCustodyError) in
          try await server.ask(.patch, "keycustody/v1/identities/\(name)", ["enabled": .bool(isEnabled)])
        },
        here: { (administration, id) async throws(KeyCustodyError) in
          try await administration.setEnabled(isEnabled, id)
        }, { "\(isEnabled ? "enabled" : "disabled") \($0.principal)" })
    }
  }

  extension ConfigurationOptions {
    /// The tenant of what is named without one.
    func usualTenant() throws(KeyCustodyError) -> TenantID {
      try TenantID(try configuration().root.section("server").string("tenant") ?? "main")
    }

    /// A principal by its name within a tenant, or by TENANT/NAME.
    func principal(_ text: String, tenant: String? = nil) throws(KeyCustodyError) -> PrincipalID {
      guard !text.contains("/") else { return try PrincipalID(text) }
      let tenant = if let tenant { try TenantID(tenant) } else { try usualTenant() }
      return PrincipalID(tenant: tenant, subject: try SubjectID(text))
    }
  }
#endif
