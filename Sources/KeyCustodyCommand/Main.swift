#if CommandLine
  import ArgumentParser
  import KeyCustodyCrypto

  @main
  struct Main: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "keycustody",
      abstract: "Data encrypted under keys that the customer holds: rotate them, watch them, cut the service off.",
      version: version,
      subcommands: serving + [
        TourCommand.self, SealCommand.self, OpenCommand.self, ResourceCommand.self, ServiceCommand.self,
        VaultCommand.self, KeyCommand.self, SecretCommand.self, PolicyCommand.self, IdentityCommand.self,
        AuditCommand.self, DoctorCommand.self,
      ])

    #if Server
      private static let serving: [any ParsableCommand.Type] = [ServeCommand.self]
    #else
      private static let serving: [any ParsableCommand.Type] = []
    #endif

    static let version = "0.1.0"

    static func main() async {
      // What lives long holds keys; what is over at once starts quicker without.
      if CommandLine.arguments.dropFirst().first == "serve" { EagerBinding.restart() }
      Process.hardenAgainstDumps()
      let work = Task {
        var command: any ParsableCommand
        do { command = try parseAsRoot() } catch { ArgumentErrors.end(with: error) }
        if var asynchronous = command as? any AsyncParsableCommand {
          try await asynchronous.run()
        } else {
          try command.run()
        }
      }
      Process.atTermination { work.cancel() }
      do { try await work.value } catch {
        // Ended by a signal, after cleaning up: as the shell expects it.
        if let signal = Process.signalReceived { Process.exit(128 + signal) }
        Self.exit(withError: error)
      }
    }
  }
#else
  @main
  struct Main {
    static func main() { print("keycustody was built without its trait CommandLine.") }
  }
#endif
