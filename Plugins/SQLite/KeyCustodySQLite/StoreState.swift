import Foundation
import GRDB
import KeyCustody
import KeyCustodyCrypto

/// The one row of the table `store`: what the store as a whole is and how far it has come.
struct StoreState: Sendable, Equatable {
  /// 16 random bytes: the store's identity.
  var uuid: [UInt8]
  /// The newest revision.
  var revision = StoreRevision.zero
  /// Deletions up to here are forgotten.
  var forgotten = StoreRevision.zero
  /// How many deletions are remembered.
  var deletions = 0
  /// The digests of all records, joined by exclusive or: a record that is missing, or of another time, changes it.
  var sum = [UInt8](repeating: 0, count: 32)

  init(uuid: [UInt8]) { self.uuid = uuid }

  /// Puts a record's digest into the sum, or takes it out.
  mutating func toggle(_ digest: [UInt8]) { for index in sum.indices { sum[index] ^= digest[index] } }

  /// Reads the row.
  ///
  /// - Throws: `integrityFailure` (`damaged`).
  init(_ database: Database, at path: String) throws {
    let statement = try database.cachedStatement(
      sql: "SELECT uuid, revision, forgotten, deletions, sum, digest FROM store WHERE id = 1")
    guard let row = try Row.fetchOne(statement), let uuid = RecordRow.bytes(row[0]), let sum = RecordRow.bytes(row[4]),
      case .int64(let revision) = (row[1] as DatabaseValue).storage,
      case .int64(let forgotten) = (row[2] as DatabaseValue).storage,
      case .int64(let deletions) = (row[3] as DatabaseValue).storage,
      uuid.count == 16, sum.count == 32, revision >= 0, forgotten >= 0, deletions >= 0
    else { throw KeyCustodyError.damagedDatabase(path, "what it says of itself can't be read") }
    self.uuid = uuid
    self.sum = sum
    self.revision = StoreRevision(UInt64(revision))
    self.forgotten = StoreRevision(UInt64(forgotten))
    self.deletions = Int(deletions)
    guard try RecordRow.bytes(row[5]) == digest() else {
      throw KeyCustodyError.damagedDatabase(path, "what it says of itself does not have the digest it names")
    }
  }

  /// Writes the row of a new store.
  func insert(into database: Database) throws {
    try database.execute(
      sql: "INSERT INTO store (revision, forgotten, deletions, sum, digest, uuid, id) VALUES (?, ?, ?, ?, ?, ?, 1)",
      arguments: try values() + [Data(uuid)])
  }

  /// Writes the row in place of what is known to be there.
  ///
  /// - Throws: `fault` where something else is: the store has one writer.
  func save(to database: Database, over known: StoreState) throws {
    let statement = try database.cachedStatement(
      sql:
        "UPDATE store SET revision = ?, forgotten = ?, deletions = ?, sum = ?, digest = ? WHERE id = 1 AND revision = ?"
    )
    try statement.execute(arguments: try values() + [Int64(clamping: known.revision.number)])
    guard database.changesCount == 1 else {
      throw KeyCustodyError(
        .fault, .internalFault, "Another program wrote to the database of this store.",
        remedy: "Let nothing but the service write to it; start the service anew.")
    }
  }

  private func values() throws(KeyCustodyError) -> StatementArguments {
    [
      Int64(clamping: revision.number), Int64(clamping: forgotten.number), deletions, Data(sum), Data(try digest()),
    ]
  }

  private func digest() throws(KeyCustodyError) -> [UInt8] {
    try Hashing.sha256(
      uuid + RecordRow.bigEndian(revision.number) + RecordRow.bigEndian(forgotten.number)
        + RecordRow.bigEndian(UInt64(deletions)) + sum)
  }
}
