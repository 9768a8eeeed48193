import Foundation
import KeyCustody
import KeyCustodyPostgreSQL
import KeyCustodyTestSupport

/// A schema of a test's own on a server, and how to open the store in it.
struct ServerStore: Sendable {
  let server: PostgreSQLServer
  let schema = PostgreSQLServer.schemaName()

  /// On the server that tests share, or one of the test's own.
  init(_ own: PostgreSQLServer? = nil) throws { server = try own ?? .shared() }

  /// Opens the store as a configuration would.
  func open(
    _ more: [String: ConfigurationValue] = [:], _ environment: RuntimeEnvironment = RuntimeEnvironment()
  ) async throws -> any PolicyStore {
    let values = server.settings(schema: schema).merging(more) { $1 }
    return try await [PostgreSQLPlugin.plugin].openPolicyStore(KeyCustodyConfiguration(values).root, environment)
  }

  /// Opens a table of sealed records in the schema as a configuration would.
  func openTable(_ more: [String: ConfigurationValue] = [:]) async throws -> any SealedTable {
    let values = server.settings(schema: schema).merging(more) { $1 }
    return try await [PostgreSQLPlugin.plugin].openSealedTable(
      KeyCustodyConfiguration(values).root, RuntimeEnvironment())
  }

  /// Runs a statement as another program would; `$` stands for the schema.
  @discardableResult
  func ask(_ statement: String) throws -> String {
    try server.ask(statement.replacingOccurrences(of: "$", with: schema))
  }

  /// Ends all sessions of stores in this schema.
  func endSessions() throws {
    try ask("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = '$'")
  }
}

/// Does it again as often as it is told to come later.
func persistently<Value: Sendable>(_ work: () async throws -> Value) async throws -> Value {
  let end = ContinuousClock.now + .seconds(180)
  while true {
    do { return try await work() } catch let error as KeyCustodyError {
      guard [.unavailable, .busy, .timeout].contains(error.code), ContinuousClock.now < end else { throw error }
      // As a client does: the error says how long to stay away.
      try await Task.sleep(for: error.retryAfter ?? .milliseconds(20))
    }
  }
}
