#if CommandLine
  import ArgumentParser
  import KeyCustody

  struct TourCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "tour",
      abstract: "See it work: real files, a real key, enabled, rotated, revoked, restored and disabled again.",
      discussion: """
        Makes everything it needs in a temporary folder (with --backend pkcs11 a SoftHSM token too) and removes it at \
        the end. Without files it takes those below the current folder and a generated one of 256 MiB.
        """)

    enum Backend: String, ExpressibleByArgument, CaseIterable, Sendable { case memory, file, pkcs11 }

    @OptionGroup var common: CommonOptions
    @Option(help: "Which key provider holds the keys.") var backend: Backend = .pkcs11
    @Option(name: .customLong("pkcs11-module"), help: "The PKCS#11 module; SoftHSM's unless given.")
    var module: String?
    @Flag(help: "Log what happens to standard error.") var verbose = false
    @Argument(help: "Files to seal.") var files: [String] = []

    func run() async throws {
      try await common.run { output in
        let folder = try FileTools.temporaryFolder()
        defer { FileTools.remove(folder) }
        var tour = try await Tour(
          folder: folder, backend: backend, module: module, files: files, output: output, verbose: verbose)
        guard try await tour.run() else { throw ExitCode.failure }
      }
    }
  }
#endif
