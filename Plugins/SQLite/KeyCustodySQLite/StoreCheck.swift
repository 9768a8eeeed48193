import GRDB
import KeyCustody
import KeyCustodyCrypto

/// All records looked at once, at opening: whether each is under its name, and whether any is missing.
///
/// Looking up a key compares it with keys on the way; so a damaged key can hide others that are whole. That the keys are
/// in order, and that the digests of all records come to the sum that the store names, rules it out. Values are not read:
/// each is compared with its digest when somebody asks for it, and only where something is wrong are all of them, to tell
/// how much.
struct StoreCheck {
  /// Why a record that is not found may have been there; `nil` where nothing is missing.
  private(set) var obstacle: KeyCustodyError?
  /// Whether every deletion that is remembered can be told.
  private(set) var knowsDeletions: Bool

  /// Looks at all records.
  ///
  /// - Throws: `integrityFailure` (`damaged`) where records are missing, so that nothing may be said of the rest.
  init(_ database: Database, _ state: StoreState, at path: String) throws {
    if try !Self.isWhole(database, state) { obstacle = try Self.obstacle(database, state, at: path) }
    knowsDeletions = try StoreQueries(database: database, path: path).knowsDeletions(state.deletions)
  }

  /// Whether there is every record, under its name and in order.
  private static func isWhole(_ database: Database, _ state: StoreState) throws -> Bool {
    var sum = state
    var last: RecordKey?
    var count = 0
    let hasher = try MessageHasher()
    let rows = try Row.fetchCursor(
      database, sql: "SELECT key, revision, digest FROM records INDEXED BY records_by_key ORDER BY key")
    while let row = try rows.next() {
      count += 1
      guard case .string(let name) = (row[0] as DatabaseValue).storage, let key = try? RecordKey(name),
        last.map({ $0 < key }) ?? true, case .int64(let number) = (row[1] as DatabaseValue).storage, number > 0,
        UInt64(number) <= state.revision.number, let digest = RecordRow.bytes(row[2]), digest.count == 40
      else { return false }
      try hasher.begin()
      try hasher.add(Array(name.utf8))
      guard try hasher.end().prefix(8).elementsEqual(digest[32...]) else { return false }
      sum.toggle(digest)
      last = key
    }
    let total = try Int.fetchOne(database, sql: "SELECT count(*) FROM records NOT INDEXED")
    return total == count && sum.sum.allSatisfy { $0 == 0 }
  }

  /// Why a record that is not found may have been there; `nil` where nothing is missing.
  private static func obstacle(
    _ database: Database, _ state: StoreState, at path: String
  ) throws -> KeyCustodyError? {
    var sum = state
    var last: RecordKey?
    var damaged = 0
    var isOrdered = true
    var count = 0
    let hasher = try MessageHasher()
    let rows = try Row.fetchCursor(
      database, sql: "SELECT \(RecordRow.columnsWithType) FROM records INDEXED BY records_by_key ORDER BY key")
    while let row = try rows.next() {
      count += 1
      if let found = try RecordRow.Identity(row, hasher) {
        sum.toggle(found.digest)
        if let last { isOrdered = isOrdered && last < found.key }
        last = found.key
        guard found.revision <= state.revision else {
          throw KeyCustodyError.damagedDatabase(path, "a record is newer than the store")
        }
      } else {
        damaged += 1
        guard let name = try RecordRow.name(of: row), let key = try? RecordKey(name) else { continue }
        // The digest as it is stored: it is right where the value alone is damaged.
        if let digest = RecordRow.bytes(row[3]) { sum.toggle(digest) }
        if let last { isOrdered = isOrdered && last < key }
        last = key
      }
    }
    let total = try Int.fetchOne(database, sql: "SELECT count(*) FROM records NOT INDEXED")
    let isComplete = isOrdered && total == count && sum.sum.allSatisfy { $0 == 0 }
    if isComplete { return nil }
    guard damaged > 0, isOrdered, total == count else {
      throw KeyCustodyError.damagedDatabase(path, "records are missing, out of order or of another time")
    }
    return .damagedDatabase(
      path, "\(damaged) of its \(count) records can't be told by name, so that what is not found may be among them")
  }
}
