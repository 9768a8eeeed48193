#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyEnvelope
  import KeyCustodyServices

  /// `keycustody resource keys`: the root keys of a resource.
  struct ResourceKeysCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "keys", abstract: "List, add, re-wrap and destroy a resource's root keys.",
      subcommands: [List.self, Add.self, Rewrap.self, Destroy.self], defaultSubcommand: List.self)

    /// Options of each: what it does ends with the list.
    struct Options: ParsableArguments {
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      @OptionGroup var store: ResourceCommand.StoreOptions
      @Argument(help: "The resource.") var resource: String

      /// Does the work, then prints the root keys with what the named folders hold under each.
      func run(
        _ body: @escaping (ProtectedResource) async throws(KeyCustodyError) -> Void
      ) async throws {
        try await common.run { output in
          let keys = try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
            let resource = try await custody.resource(try ResourceID(self.resource))
            try await body(resource)
            return try await resource.rootKeyUse(in: try store.stores(of: resource.id))
          }
          let lines = keys.map { $0.line(isCounted: !store.folders.isEmpty) }
          output.print(lines.joined(separator: "\n"), keys)
        }
      }
    }

    struct List: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "List the root keys, with how much each protects in the folders that --store names.")
      @OptionGroup var options: Options
      func run() async throws { try await options.run { (_) in } }
    }

    struct Add: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Make a new root key for new data and retire the one before.",
        discussion: "'keycustody resource resume' then puts stored data under it.")
      @Option(help: "The layer: service or customer.", transform: Self.layer) var layer: Layer = .customer
      @OptionGroup var options: Options
      func run() async throws {
        let layer = layer
        try await options.run { (resource) async throws(KeyCustodyError) in
          try await resource.addRootKey(layer)
        }
      }

      private static func layer(_ text: String) throws -> Layer {
        guard let layer = Layer(rawValue: text) else { throw ValidationError("Write 'service' or 'customer'.") }
        return layer
      }
    }

    struct Rewrap: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Wrap the root keys under the newest versions of the service's own keys; no data is touched.")
      @OptionGroup var options: Options
      func run() async throws {
        try await options.run { (resource) async throws(KeyCustodyError) in try await resource.rewrapServiceKeys() }
      }
    }

    struct Destroy: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Destroy a retired root key of the customer layer that nothing is under any more.")
      @Option(help: "The root key, by its id.") var key: String
      @OptionGroup var options: Options
      func run() async throws {
        let (key, store) = (key, options.store)
        try await options.run { (resource) async throws(KeyCustodyError) in
          try await resource.destroyRootKey(
            try RootKeyID(key), unusedIn: try store.requiredStores(of: resource.id))
        }
      }
    }
  }

  /// `keycustody service`: the service's own keys.
  struct ServiceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "service", abstract: "The service's own keys, and its registration in customers' tenants.",
      subcommands: [Rotate.self, Register.self, Unregister.self])

    struct Register: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Register the service in a customer's tenant.",
        discussion: "From then on it has a principal there that can be granted access to keys, as a bot needs.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      @Argument(help: "The tenant.") var tenant: String
      func run() async throws {
        try await common.run { output in
          let id = try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
            try await custody.register(in: try TenantID(tenant))
          }
          output.print("registered as \(id)", ["principal": id.description])
        }
      }
    }

    struct Unregister: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Take the registration back: what was granted by it is suspended.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      @Argument(help: "The tenant.") var tenant: String
      func run() async throws {
        try await common.run { output in
          try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
            try await custody.unregister(in: try TenantID(tenant))
          }
          output.print("no longer registered in \(tenant)", ["tenant": tenant])
        }
      }
    }

    struct Rotate: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Make new versions of the service's own keys and take every resource over to them.",
        discussion: "Data is not touched. When it is interrupted, --no-new-version goes on.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      @Flag(inversion: .prefixedNo, help: "Whether new versions are made first.") var newVersion = true

      private struct Result: Encodable {
        var keys: [KeyURI]
        var resources = 0
        var rootKeys = 0
        var failed: [String] = []
      }

      func run() async throws {
        try await common.run { output in
          let (result, error) = try await configuration.withCustody {
            (custody) async throws(KeyCustodyError) in try await rewrapAll(custody)
          }
          let made = result.keys.map { "made \($0)\n" }.joined()
          output.print("\(made)wrapped \(result.rootKeys) root keys of \(result.resources) resources anew", result)
          guard let error else { return }
          throw KeyCustodyError(
            error.code, error.reason,
            "\(result.failed.count) resources were not taken over (\(result.failed.prefix(10).joined(separator: ", "))); the "
              + "first because: \(error.message)",
            remedy: "\(error.remedy) Then go on: keycustody service rotate --no-new-version.")
        }
      }

      /// Takes every resource over, going on past those that can't be.
      private func rewrapAll(_ custody: KeyCustody) async throws(KeyCustodyError) -> (Result, KeyCustodyError?) {
        var result = Result(keys: newVersion ? try await custody.rotateServiceKeys() : [])
        var first: KeyCustodyError?
        for id in try await custody.resourceIDs() {
          do throws(KeyCustodyError) {
            result.rootKeys += try await custody.resource(id).rewrapServiceKeys()
            result.resources += 1
          } catch {
            // Deleted since they were listed: nothing is left to take over.
            guard error.reason != .resourceUnknown else { continue }
            first = first ?? error
            result.failed.append(id.spelling)
          }
        }
        return (result, first)
      }
    }
  }

  extension RootKeyUse {
    fileprivate func line(isCounted: Bool) -> String {
      let state = isPrimary ? "primary" : "retired"
      let held = isCounted ? items.map { "\($0) stored, \(byteCount(Double(bytes ?? 0)))" } ?? "not counted" : ""
      return "\(id)  \(layer.rawValue)/\(group.rawValue)  \(state)  \(kek)  \(held)"
    }
  }
#endif
