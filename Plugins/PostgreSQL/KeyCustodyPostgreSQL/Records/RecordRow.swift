import KeyCustody
import KeyCustodyCrypto

/// A record as a row: key, revision, value, and a digest of all three.
///
/// The digest is SHA-256 of the revision (8 bytes), the key's length (2 bytes), the key and the value, followed by the
/// first eight bytes of SHA-256 of the key alone: they tell a damaged value from a damaged key.
struct RecordRow {
  let record: PolicyRecord
  let digest: [UInt8]

  /// A record to be written.
  init(_ record: PolicyRecord) throws(KeyCustodyError) {
    self.record = record
    let name = record.key.description
    digest = try Self.seal(name, record.revision, record.value) + Self.seal(ofName: name)
  }

  /// A row as it is found; `nil` for a damaged one.
  init?(_ row: [[UInt8]?]) throws(KeyCustodyError) {
    guard let name = row.text(0), let number = row.number(1), let value = row.bytes(2), let digest = row.bytes(3),
      number > 0, let key = try? RecordKey(name)
    else { return nil }
    let revision = StoreRevision(number)
    guard digest.count == 40, try Self.seal(name, revision, value) == Array(digest[..<32]) else { return nil }
    record = PolicyRecord(key: key, revision: revision, value: value)
    self.digest = digest
  }

  /// The one row found under a key; `nil` for none.
  ///
  /// - Throws: `integrityFailure` (`damaged`), naming the key.
  static func find(_ key: RecordKey, in answer: Answer, _ place: String) throws(KeyCustodyError) -> PolicyRecord? {
    guard let row = answer.rows.first else { return nil }
    guard let found = try RecordRow(row), found.record.key == key else { throw .damagedRecord(key, place) }
    return found.record
  }

  /// What is said of a damaged row: the name of the record, where that is not damaged too.
  static func damage(of row: [[UInt8]?], _ place: String) -> KeyCustodyError {
    guard let name = row.text(0), let key = try? RecordKey(name), let digest = row.bytes(3), digest.count == 40,
      (try? seal(ofName: name)) == Array(digest[32...])
    else { return .damagedStore(place, "the key of a record can't be read") }
    return .damagedRecord(key, place)
  }

  private static func seal(
    _ name: String, _ revision: StoreRevision, _ value: [UInt8]
  ) throws(KeyCustodyError) -> [UInt8] {
    var bytes = bigEndian(revision.number)
    bytes.reserveCapacity(10 + name.utf8.count + value.count)
    bytes += bigEndian(UInt64(name.utf8.count)).suffix(2)
    bytes += name.utf8
    bytes += value
    return try Hashing.sha256(bytes)
  }

  /// What stands beside a name so that damage of it is noticed.
  static func seal(ofName name: String) throws(KeyCustodyError) -> [UInt8] {
    Array(try Hashing.sha256(Array(name.utf8)).prefix(8))
  }

  /// A number in eight bytes.
  static func bigEndian(_ number: UInt64) -> [UInt8] {
    stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: number >> UInt64($0)) }
  }
}
