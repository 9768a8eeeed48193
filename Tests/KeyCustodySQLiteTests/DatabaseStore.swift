import Foundation
import GRDB
import KeyCustody
import KeyCustodySQLite
import KeyCustodyTestSupport

/// A folder with a database in it, removed with this value.
final class DatabaseStore: Sendable {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  var path: String { folder.appending("records.sqlite") }

  /// Opens the store as a configuration would.
  func open(_ more: [String: ConfigurationValue] = [:]) async throws -> any PolicyStore {
    let values: [String: ConfigurationValue] = ["plugin": "sqlite", "path": "records.sqlite"]
    return try await [SQLitePlugin.plugin].openPolicyStore(
      KeyCustodyConfiguration(values.merging(more) { $1 }).root, RuntimeEnvironment(baseDirectory: folder.path))
  }

  /// Works on the closed database as another program would.
  func tamper(_ work: (Database) throws -> Void) throws {
    let queue = try DatabaseQueue(path: path)
    try queue.writeWithoutTransaction(work)
    try queue.close()
  }

  /// What a statement answers, as another program would see it.
  func ask(_ statement: String) throws -> String? {
    var answer: String?
    try tamper { answer = try String.fetchOne($0, sql: statement) }
    return answer
  }

  /// Makes a store with these records, closes it, and gives the file's bytes.
  func filled(_ keys: [String], size: Int = 40) async throws -> [UInt8] {
    let store = try await open()
    for key in keys { try await store.put(key, [UInt8](repeating: 0x41, count: size)) }
    await store.close()
    return try folder.read("records.sqlite")
  }
}
