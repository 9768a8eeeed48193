import CKeyCustodyPKCS11
import KeyCustody
import KeyCustodyCrypto

/// The content of a data object: a record of the store, or its counter.
///
/// `KCPR`, a format byte 1, the revision (8 bytes), the length of the key (2) and of the value (4), all big-endian; key;
/// value; SHA-256 over everything before it.
enum StoredRecord {
  /// CKA_APPLICATION of records.
  static let application = "key-custody/v1/policy"
  /// CKA_APPLICATION of the counter.
  static let counterApplication = "key-custody/v1/policy-counter"
  private static let magic = Array("KCPR".utf8) + [1]
  private static let headLength = 5 + 8 + 2 + 4

  static func encode(_ record: PolicyRecord) throws(KeyCustodyError) -> [UInt8] {
    try encode(record.key.description, record.revision, record.value)
  }

  static func encode(
    _ key: String, _ revision: StoreRevision, _ value: [UInt8]
  ) throws(KeyCustodyError) -> [UInt8] {
    let name = Array(key.utf8)
    let body =
      magic + bytes(revision.number, 8) + bytes(UInt64(name.count), 2) + bytes(UInt64(value.count), 4)
      + name + value
    return body + (try Hashing.sha256(body))
  }

  /// Reads what ``encode(_:_:_:)`` wrote; `nil` for anything torn or altered.
  static func decode(_ stored: [UInt8]) throws(KeyCustodyError) -> (
    key: String, revision: StoreRevision, value: [UInt8]
  )? {
    guard stored.count >= headLength + 32, stored.starts(with: magic) else { return nil }
    let body = Array(stored.dropLast(32))
    guard constantTimeEqual(try Hashing.sha256(body), Array(stored.suffix(32))) else { return nil }
    let revision = number(body[5..<13])
    // No store counts so far; what follows from a planted one must not overflow.
    guard revision < 1 << 62 else { return nil }
    let nameLength = Int(number(body[13..<15]))
    let valueLength = Int(number(body[15..<19]))
    guard body.count == headLength + nameLength + valueLength else { return nil }
    let name = body[headLength..<headLength + nameLength]
    return (String(decoding: name, as: UTF8.self), StoreRevision(revision), Array(body[(headLength + nameLength)...]))
  }

  private static func bytes(_ number: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).reversed().map { UInt8(truncatingIfNeeded: number >> (8 * UInt64($0))) }
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }

  /// A private data object that holds a record.
  static func template(_ application: String, label: String, value: [UInt8]) -> Template {
    Template([
      (CKA_CLASS, .number(CKO_DATA)), (CKA_TOKEN, .flag(true)), (CKA_PRIVATE, .flag(true)),
      (CKA_MODIFIABLE, .flag(false)), (CKA_APPLICATION, .bytes(Array(application.utf8))),
      (CKA_LABEL, .bytes(Array(label.utf8))), (CKA_VALUE, .bytes(value)),
    ])
  }

  /// What finds all objects of an application, or those of one label.
  static func search(_ application: String, label: String? = nil) -> Template {
    let all = Template([
      (CKA_CLASS, .number(CKO_DATA)), (CKA_TOKEN, .flag(true)), (CKA_APPLICATION, .bytes(Array(application.utf8))),
    ])
    return label.map { all + Template([(CKA_LABEL, .bytes(Array($0.utf8)))]) } ?? all
  }
}
