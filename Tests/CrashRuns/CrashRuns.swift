#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What is killed under load (kill -9), again and again, to count what became of the changes.
///
/// Ends with 1 when an acknowledged change is lost, one is doubled, or anything else is not as it was answered.
@main
enum CrashRuns {
  static func main() async throws {
    do {
      let options = try CrashOptions(CommandLine.arguments.dropFirst())
      let isMet =
        switch options.kind {
        case .postgresql: try await PostgreSQLRun(rounds: options.rounds ?? 20).run()
        case .vault: try await runVaults(options)
        }
      exit(isMet ? 0 : 1)
    } catch {
      print("crash: \(error)")
      exit(2)
    }
  }

  /// Half of the rounds with each of the policy stores that need no server.
  private static func runVaults(_ options: CrashOptions) async throws -> Bool {
    let rounds = options.rounds ?? 200
    var isMet = true
    for (store, share) in [(ServedVault.Store.sqlite, rounds - rounds / 2), (.file, rounds / 2)] where share > 0 {
      let vault = try ServedVault(executable: options.executable, store: store)
      let run = try VaultRun(vault, rounds: share, seed: options.seed)
      isMet = try await run.run() && isMet
    }
    return isMet
  }
}
