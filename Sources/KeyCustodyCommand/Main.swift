#if CommandLine
  import ArgumentParser

  @main
  struct Main: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "keycustody",
      abstract: "Data encrypted under keys that the customer holds: rotate them, watch them, cut the service off.",
      version: version,
      subcommands: [
        TourCommand.self, SealCommand.self, OpenCommand.self, ResourceCommand.self, VaultCommand.self,
        KeyCommand.self, PolicyCommand.self, DoctorCommand.self,
      ])

    static let version = "0.1.0"

    static func main() async {
      Process.hardenAgainstDumps()
      let work = Task {
        var command = try parseAsRoot()
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
