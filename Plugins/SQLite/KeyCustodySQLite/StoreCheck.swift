import GRDB
import KeyCustody
import KeyCustodyCrypto

/// All records looked at once, at opening: whether each is found under its name, and whether any is missing.
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
  /// several times as much. Which name is which record's is the same in both where their sums are.
  private static func isWhole(_ database: Database, _ state: StoreState) throws -> Bool {
    guard let names = try names(database) else { return false }
    var (sum, found) = (state, NameSum())
    let rows = try Row.fetchCursor(database, sql: "SELECT rowid, revision, digest FROM records NOT INDEXED")
    while let row = try rows.next() {
      guard case .int64(let place) = (row[0] as DatabaseValue).storage,
        case .int64(let number) = (row[1] as DatabaseValue).storage, number > 0,
        UInt64(number) <= state.revision.number, let digest = RecordRow.bytes(row[2]), digest.count == 40
      else { return false }
      sum.toggle(digest)
      found.add(digest[32...], at: place)
    }
    return found == names && sum.sum.allSatisfy { $0 == 0 }
  }

  /// What the index's names come to; `nil` where one is none, or out of order.
  private static func names(_ database: Database) throws -> NameSum? {
    var (sum, last) = (NameSum(), [UInt8]())
    let hasher = try MessageHasher()
    let rows = try Row.fetchCursor(
      database, sql: "SELECT rowid, key FROM records INDEXED BY records_by_key ORDER BY key")
    while let row = try rows.next() {
      guard case .int64(let place) = (row[0] as DatabaseValue).storage,
        case .string(let text) = (row[1] as DatabaseValue).storage
      else { return nil }
      let name = Array(text.utf8)
      guard last.lexicographicallyPrecedes(name) else { return nil }
      try hasher.begin()
      try hasher.add(name)
      sum.add(try hasher.end()[..<8], at: place)
      last = name
    }
    return sum
  }

  /// Names and where their records lie, in whatever order they come: how many, and a sum that chance does not repeat.
  private struct NameSum: Equatable {
    private var count = 0
    private var sum: UInt64 = 0

    /// Adds a name by the first eight bytes of its hash.
    mutating func add(_ hash: ArraySlice<UInt8>, at place: Int64) {
      let number = hash.reduce(0) { $0 << 8 | UInt64($1) }
      let mixed = (number ^ (UInt64(bitPattern: place) &* 0x9e37_79b9_7f4a_7c15)) &* 0xd6e8_feb8_6659_fd93
      sum &+= mixed ^ mixed >> 32
      count += 1
    }
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
