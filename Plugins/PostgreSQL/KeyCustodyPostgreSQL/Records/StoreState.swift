import KeyCustody
import KeyCustodyCrypto

/// The one row of the table `store`: what the store as a whole is and how far it has come.
///
/// Whoever changes anything locks this row first, and holds it to the end of the transaction. So changes take place one
/// after the other, their revisions have no gaps, and none becomes visible before one of a lower revision: a transaction
/// can only have learnt its revision after the one before it had been committed for everybody to see.
struct StoreState: Sendable, Equatable {
  /// 16 random bytes: the store's identity.
  let uuid: [UInt8]
  /// The newest revision.
  var revision = StoreRevision.zero
  /// Deletions up to here are forgotten.
  var forgotten = StoreRevision.zero
  /// How many deletions are remembered.
  var deletions = 0

  init(uuid: [UInt8]) { self.uuid = uuid }

  /// Reads the row.
  ///
  /// - Throws: `integrityFailure` (`damaged`).
  init(_ answer: Answer, _ place: String) throws(KeyCustodyError) {
    guard let row = answer.rows.first, let uuid = row.bytes(0), uuid.count == 16, let revision = row.number(1),
      let forgotten = row.number(2), let deletions = row.number(3)
    else { throw .damagedStore(place, "what it says of itself can't be read") }
    self.uuid = uuid
    self.revision = StoreRevision(revision)
    self.forgotten = StoreRevision(forgotten)
    self.deletions = Int(clamping: deletions)
    guard try row.bytes(4) == digest() else {
      throw .damagedStore(place, "what it says of itself does not have the digest it names")
    }
  }

  func digest() throws(KeyCustodyError) -> [UInt8] {
    try Hashing.sha256(
      uuid + RecordRow.bigEndian(revision.number) + RecordRow.bigEndian(forgotten.number)
        + RecordRow.bigEndian(UInt64(deletions)))
  }
}
