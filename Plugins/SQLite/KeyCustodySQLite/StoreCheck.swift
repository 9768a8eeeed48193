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
  ///
  /// The index is read for the names and the table for the digests, each as it lies: what looks each name's record up reads
  /// several times as much. The names are those of the digests where their hashes come to the same sum.
  private static func isWhole(_ database: Database, _ state: StoreState) throws -> Bool {
    guard let (count, names) = try names(database) else { return false }
    var sum = state
    var (found, stored) = (0, [UInt8](repeating: 0, count: 8))
    let rows = try Row.fetchCursor(database, sql: "SELECT revision, digest FROM records NOT INDEXED")
    while let row = try rows.next() {
      guard case .int64(let number) = (row[0] as DatabaseValue).storage, number > 0,
        UInt64(number) <= state.revision.number, let digest = RecordRow.bytes(row[1]), digest.count == 40
      else { return false }
      sum.toggle(digest)
      for index in stored.indices { stored[index] ^= digest[32 + index] }
      found += 1
    }
    return found == count && stored == names && sum.sum.allSatisfy { $0 == 0 }
  }

  /// How many names the index has, and what their hashes come to; `nil` where one is none, or out of order.
  private static func names(_ database: Database) throws -> (count: Int, sum: [UInt8])? {
    var (count, sum, last) = (0, [UInt8](repeating: 0, count: 8), [UInt8]())
    let hasher = try MessageHasher()
    let rows = try Row.fetchCursor(database, sql: "SELECT key FROM records INDEXED BY records_by_key ORDER BY key")
    while let row = try rows.next() {
      guard case .string(let text) = (row[0] as DatabaseValue).storage else { return nil }
      let name = Array(text.utf8)
      guard last.lexicographicallyPrecedes(name) else { return nil }
      try hasher.begin()
      try hasher.add(name)
      let hash = try hasher.end()
      for index in sum.indices { sum[index] ^= hash[index] }
      last = name
      count += 1
    }
    return (count, sum)
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
