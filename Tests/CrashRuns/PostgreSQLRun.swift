import KeyCustody
import KeyCustodyPostgreSQL
import KeyCustodyTestSupport

/// A PostgreSQL server killed under load (kill -9 of all its processes), again and again.
struct PostgreSQLRun {
  let rounds: Int

  /// Runs it and prints the figures.
  ///
  /// - Returns: whether nothing was lost or doubled.
  func run() async throws -> Bool {
    let server = try PostgreSQLServer()
    let schema = PostgreSQLServer.schemaName()
    var stores: [any PolicyStore] = []
    for number in 0..<3 {
      let settings = server.settings(schema: schema).merging([
        "timeout": 5, "notifications": .boolean(number != 0), "pollMilliseconds": 100,
      ]) { $1 }
      stores.append(
        try await [PostgreSQLPlugin.plugin].openPolicyStore(
          KeyCustodyConfiguration(settings).root, RuntimeEnvironment()))
    }
    let start = ContinuousClock.now
    let counts = try await CrashLoad.run(server, stores, rounds: rounds, changes: 500)
    for store in stores { await store.close() }
    let seconds = (ContinuousClock.now - start).components.seconds
    print(
      """
      PostgreSQL killed \(rounds) times in \(seconds) s, under the load of 3 stores:
      \(counts.acknowledged) changes acknowledged, \(counts.lost) of them lost, \(counts.doubled) doubled
      \(counts.refused) refused with nothing done, \(counts.unknown) of unknown outcome (\(counts.unknownAndMade) made)
      \(counts.unexpected.count) answers that should not be \(counts.unexpected.prefix(3))
      """)
    return counts.lost + counts.doubled + counts.unexpected.count == 0
  }
}
