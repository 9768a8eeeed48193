import Foundation
import GRDB
import KeyCustody
import KeyCustodySQLite
import KeyCustodyTestSupport

/// A folder with a database of sealed records in it, removed with this value.
final class SealedDatabase: Sendable {
  let folder: TemporaryFolder
  let notes: ResourceID

  init() throws {
    folder = try TemporaryFolder()
    notes = try ResourceID("notes")
  }

  var path: String { folder.appending("data.sqlite") }

  /// Opens the table as a configuration would.
  func open(_ more: [String: ConfigurationValue] = [:]) async throws -> any SealedTable {
    let values: [String: ConfigurationValue] = ["plugin": "sqlite", "path": "data.sqlite"]
    return try await [SQLitePlugin.plugin].openSealedTable(
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

  /// What looks as if it were sealed under a root key.
  static func sealed(_ mark: UInt8, size: Int = 100, under key: UInt8 = 1) -> [UInt8] {
    Array("KCR".utf8) + [1] + [UInt8](repeating: key, count: 8) + [UInt8](repeating: mark, count: size)
  }

  /// Makes a table of so many rows, and closes it.
  func fill(_ count: Int) async throws {
    let table = try await open()
    for number in 0..<count {
      try await table.put(Self.sealed(UInt8(number & 0xff)), label: [7], as: "item-\(1000 + number)", of: notes)
    }
    await table.close()
  }
}
