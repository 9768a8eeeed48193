#if CommandLine
  import ArgumentParser
  import KeyCustody
  import KeyCustodyEnvelope
  import KeyCustodyServices

  struct ResourceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "resource", abstract: "Make resources, and put them under a customer's key and back.",
      subcommands: [
        Create.self, List.self, Status.self, Watch.self, Identity.self, Enable.self, Update.self, Disable.self,
        Resume.self, Move.self, ResourceKeysCommand.self, Envelopes.self, Delete.self,
      ])

    /// Options of every command on one resource.
    struct Options: ParsableArguments {
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      @Argument(help: "The resource.") var resource: String

      /// Does the work, then prints the resource's state.
      ///
      /// - Parameter key: the customer's key that the work is about, where that is not the resource's.
      func run(
        key: String? = nil,
        _ body: @escaping (KeyCustody, ProtectedResource) async throws(KeyCustodyError) -> Void
      ) async throws {
        try await common.run { output in
          let status = try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
            let resource = try await custody.resource(try ResourceID(self.resource))
            do throws(KeyCustodyError) { try await body(custody, resource) } catch {
              throw await AccessAdvice(custody).advise(error, resource, key: key)
            }
            return try await resource.status()
          }
          output.print(status.text, status)
        }
      }
    }

    /// Where a resource's sealed data is kept, for conversions.
    struct StoreOptions: ParsableArguments {
      @Option(name: .customLong("store"), help: "A folder that holds the resource's sealed data; may be repeated.")
      var folders: [String] = []

      @Flag(help: "There is no sealed data: whatever there is could never be opened again.")
      var withoutStoredData = false

      /// The folders; none only where that was said.
      ///
      /// A conversion that ends destroys the older root key, and with it what no folder named here holds.
      func requiredStores(of resource: ResourceID) throws(KeyCustodyError) -> [any SealedStore] {
        guard withoutStoredData != folders.isEmpty else { return try stores(of: resource) }
        throw KeyCustodyError(
          .invalidInput, .init("store-required"),
          folders.isEmpty
            ? "No folder is named: what was sealed before and is not converted could never be opened again."
            : "Folders are named, and that there are none.",
          remedy: "Name the folders by --store FOLDER, or say --without-stored-data when nothing was sealed yet.")
      }

      func stores(of resource: ResourceID) throws(KeyCustodyError) -> [any SealedStore] {
        var stores: [any SealedStore] = []
        for folder in folders where !FileTools.isFolder("\(folder)/\(resource.folded)") {
          throw KeyCustodyError(
            .notFound, .storeUnknown, "The folder '\(folder)' holds nothing of the resource '\(resource)'.",
            remedy: "Check its name, and that its file system is mounted.")
        }
        for folder in folders { stores.append(try FolderSealedStore(folder: folder)) }
        return stores
      }
    }

    struct Create: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Make a resource, under service-managed keys.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      @Option(help: "The tenant that owns it.") var tenant: String
      @Option(help: "The rules it follows: bot, language, openai, storage or custom.") var profile = "custom"
      @Argument(help: "The resource.") var resource: String
      func run() async throws {
        try await common.run { output in
          let status = try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
            do throws(KeyCustodyError) {
              return try await custody.createResource(
                try ResourceID(resource), tenant: try TenantID(tenant), profile: try .named(profile)
              ).status()
            } catch {
              guard error.reason == .alreadyExists else { throw error }
              throw error.with(
                remedy: "Use it ('keycustody resource status \(resource)' shows where it stands), or take another name."
              )
            }
          }
          output.print(status.text, status)
        }
      }
    }

    struct List: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "List the resources.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      func run() async throws {
        try await common.run { output in
          let ids = try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
            try await custody.resourceIDs()
          }
          output.print(ids.map(\.spelling).joined(separator: "\n"), ids)
        }
      }
    }

    struct Status: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Show where a resource stands; tries its keys.")
      @OptionGroup var options: Options
      func run() async throws { try await options.run { (_, _) in } }
    }

    struct Watch: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Show where a resource stands whenever that changes.",
        discussion: "It goes on until it is interrupted, the resource is deleted, or with --until-settled nothing is "
          + "left to convert. Changes by other processes are seen where they share the policy store.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      @Argument(help: "The resource.") var resource: String
      @Flag(help: "End when no conversion is under way.") var untilSettled = false

      func run() async throws {
        try await common.run { output in
          try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
            let resource = try await custody.resource(try ResourceID(self.resource))
            for await status in resource.statusUpdates() {
              output.print(status.text, status)
              if untilSettled, !status.mode.isConverting, status.job == nil { break }
            }
          }
        }
      }
    }

    struct Identity: AsyncParsableCommand {
      enum Switch: String, ExpressibleByArgument, CaseIterable { case on, off }
      static let configuration = CommandConfiguration(abstract: "Switch a resource's managed identity on or off.")
      @Argument(help: "on or off.") var state: Switch
      @OptionGroup var options: Options
      func run() async throws {
        let state = state
        try await options.run { (_, resource) async throws(KeyCustodyError) in
          switch state {
          case .on: _ = try await resource.switchIdentityOn()
          case .off: try await resource.switchIdentityOff()
          }
        }
      }
    }

    struct Enable: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Put a resource under a customer's key.")
      @OptionGroup var options: Options
      @OptionGroup var store: StoreOptions
      @Option(help: "The key: VAULT/NAME[/VERSION] or its address.") var key: String
      func run() async throws {
        let (key, store) = (key, store)
        try await options.run(key: key) { (custody, resource) async throws(KeyCustodyError) in
          try await resource.enableCustomerKey(
            try custody.keyURI(key), converting: try store.requiredStores(of: resource.id))
        }
      }
    }

    struct Update: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Go over to a newer version, or to another key.")
      @OptionGroup var options: Options
      @OptionGroup var store: StoreOptions
      @Option(help: "The key: VAULT/NAME[/VERSION] or its address.") var key: String
      func run() async throws {
        let (key, store) = (key, store)
        try await options.run(key: key) { (custody, resource) async throws(KeyCustodyError) in
          // Where the keyset is wrapped anew, no data is converted and no store is needed.
          let isRewrapped = try await resource.profile().rotation == .rewrap
          try await resource.updateCustomerKey(
            try custody.keyURI(key),
            converting: isRewrapped ? store.stores(of: resource.id) : store.requiredStores(of: resource.id))
        }
      }
    }

    struct Disable: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Go back to service-managed keys.")
      @OptionGroup var options: Options
      @OptionGroup var store: StoreOptions
      func run() async throws {
        let store = store
        try await options.run { (_, resource) async throws(KeyCustodyError) in
          try await resource.disableCustomerKey(converting: try store.requiredStores(of: resource.id))
        }
      }
    }

    struct Resume: AsyncParsableCommand {
      static let configuration = CommandConfiguration(abstract: "Go on with a conversion that was interrupted.")
      @OptionGroup var options: Options
      @OptionGroup var store: StoreOptions
      func run() async throws {
        let store = store
        try await options.run { (_, resource) async throws(KeyCustodyError) in
          try await resource.resumeConversion(of: try store.requiredStores(of: resource.id))
        }
      }
    }

    struct Move: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Give a resource to another tenant; its identity and its access to a customer's key stay behind.")
      @OptionGroup var options: Options
      @Option(help: "The tenant that is to have it.") var tenant: String
      func run() async throws {
        let tenant = tenant
        try await options.run { (_, resource) async throws(KeyCustodyError) in
          try await resource.move(to: try TenantID(tenant))
        }
      }
    }

    struct Envelopes: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Print the wrapped root keys as a JSON array of JWEs: with the KEKs' private keys, all it takes.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      @Argument(help: "The resource.") var resource: String
      func run() async throws {
        try await common.run { _ in
          let envelopes = try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
            try await custody.resource(try ResourceID(resource)).envelopes()
          }
          Output(format: .json).print("", envelopes)
        }
      }
    }

    struct Delete: AsyncParsableCommand {
      static let configuration = CommandConfiguration(
        abstract: "Delete a resource and its keyset: its data can't be read again by anyone.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var configuration: ConfigurationOptions
      @Argument(help: "The resource.") var resource: String
      func run() async throws {
        try await common.run { output in
          try await configuration.withCustody { (custody) async throws(KeyCustodyError) in
            try await custody.deleteResource(try ResourceID(resource))
          }
          output.print("deleted \(resource)", ["deleted": resource])
        }
      }
    }
  }

  extension ResourceStatus {
    /// A few lines for people.
    var text: String {
      let health =
        switch self.health {
        case .available: "available"
        case .suspended(let reason): "suspended (\(reason))"
        case .unreachable(let reason): "unreachable (\(reason))"
        }
      return """
        resource   \(resource)
        mode       \(mode.rawValue)
        key        \(key?.description ?? "service-managed")
        identity   \(identity?.description ?? "off")
        health     \(health)
        """ + (job.map { "\n\($0.text)" } ?? "")
    }
  }

  extension Job {
    /// A line or two for people.
    var text: String {
      var text = "conversion \(progress.items) of \(progress.totalItems) items, \(progress.bytes) bytes"
      if let rate = progress.rate, let seconds = progress.remainingSeconds {
        text += ", \(Int(rate)) a second, about \(Int(seconds.rounded(.up))) s left"
      }
      if let obstacle { text += "\nin its way \(obstacle.message)" }
      return text
    }
  }
#endif
