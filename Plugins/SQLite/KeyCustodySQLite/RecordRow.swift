import Foundation
import GRDB
import KeyCustody
import KeyCustodyCrypto

/// A record as a row: key, revision, value, and a digest of all three.
///
/// The digest is SHA-256 of the revision (8 bytes), the key's length (2 bytes), the key and the value, followed by the
/// first eight bytes of SHA-256 of the key alone: they tell a damaged value from a damaged key.
struct RecordRow {
  static let columns = "key, revision, value, digest"
  /// What ``Identity`` is read from.
  static let columnsWithType = "\(columns), typeof(value)"

  let record: PolicyRecord
  let digest: [UInt8]

  /// A record to be written.
  init(_ record: PolicyRecord) throws(KeyCustodyError) {
    self.record = record
    digest =
      try Self.seal(record.key.description, record.revision, record.value) + Self.seal(ofName: record.key.description)
  }

  /// A row as it is found under a key.
  ///
  /// - Throws: `integrityFailure` (`damaged`), naming the key.
  init(_ row: Row, at key: RecordKey, of path: String) throws(KeyCustodyError) {
    guard let found = try Self(row), found.record.key == key else { throw .damagedRecord(key, path) }
    self = found
  }

  /// A row as it is found; `nil` for a damaged one.
  init?(_ row: Row) throws(KeyCustodyError) {
    guard case .string(let name) = (row[0] as DatabaseValue).storage,
      case .int64(let number) = (row[1] as DatabaseValue).storage,
      let value = Self.bytes(row[2]), let digest = Self.bytes(row[3]),
      number > 0, let key = try? RecordKey(name)
    else { return nil }
    let revision = StoreRevision(UInt64(number))
    guard digest.count == 40, try Self.seal(name, revision, value) == Array(digest[..<32]) else { return nil }
    record = PolicyRecord(key: key, revision: revision, value: value)
    self.digest = digest
  }

  /// A row that is whole, without its value, for those who read all rows.
  struct Identity {
    let key: RecordKey
    let revision: StoreRevision
    let digest: [UInt8]

    /// Looks at a row where it lies; `nil` for a damaged one.
    init?(_ row: Row, _ hasher: MessageHasher) throws {
      guard case .string(let name) = (row[0] as DatabaseValue).storage,
        case .int64(let number) = (row[1] as DatabaseValue).storage, number > 0,
        case .string("blob") = (row[4] as DatabaseValue).storage,
        let key = try? RecordKey(name), let digest = RecordRow.bytes(row[3]), digest.count == 40
      else { return nil }
      let revision = StoreRevision(UInt64(number))
      try hasher.begin()
      try hasher.add(RecordRow.head(name, revision))
      try row.withUnsafeData(atIndex: 2) { value in
        guard let value, !value.isEmpty else { return }
        try unsafe value.withUnsafeBytes { bytes in try unsafe hasher.add(RawSpan(_unsafeBytes: bytes)) }
      }
      guard try hasher.end().elementsEqual(digest.prefix(32)) else { return nil }
      (self.key, self.revision, self.digest) = (key, revision, digest)
    }
  }

  /// The key of a row whose content is damaged; `nil` where the key is damaged too.
  static func name(of row: Row) throws(KeyCustodyError) -> String? {
    guard case .string(let name) = (row[0] as DatabaseValue).storage, let digest = bytes(row[3]), digest.count == 40,
      try seal(ofName: name) == Array(digest[32...])
    else { return nil }
    return name
  }

  var arguments: StatementArguments {
    [
      record.key.description, Int64(clamping: record.revision.number), Data(record.value), Data(digest),
    ]
  }

  /// The bytes of a blob; `nil` for another type.
  static func bytes(_ value: DatabaseValue) -> [UInt8]? {
    guard case .blob(let data) = value.storage else { return nil }
    return Array(data)
  }

  private static func seal(
    _ name: String, _ revision: StoreRevision, _ value: [UInt8]
  ) throws(KeyCustodyError) -> [UInt8] {
    try Hashing.digest(.sha256, head(name, revision), value)
  }

  /// What is hashed before the value.
  private static func head(_ name: String, _ revision: StoreRevision) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(10 + name.utf8.count)
    for shift in stride(from: 56, through: 0, by: -8) {
      bytes.append(UInt8(truncatingIfNeeded: revision.number >> UInt64(shift)))
    }
    bytes.append(UInt8(truncatingIfNeeded: name.utf8.count >> 8))
    bytes.append(UInt8(truncatingIfNeeded: name.utf8.count))
    bytes.append(contentsOf: name.utf8)
    return bytes
  }

  static func seal(ofName name: String) throws(KeyCustodyError) -> [UInt8] {
    Array(try Hashing.sha256(Array(name.utf8)).prefix(8))
  }

  /// A number in eight bytes.
  static func bigEndian(_ number: UInt64) -> [UInt8] {
    stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: number >> UInt64($0)) }
  }
}
