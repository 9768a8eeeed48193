import KeyCustody
import KeyCustodyCrypto

/// What the policy store remembers of a log: its latest checkpoint, and where in the files that was.
///
/// It stands apart from the folder, so that a log that was cut is found when it is opened, and lets an opening begin at
/// the latest checkpoint.
struct AuditState: Codable, Sendable {
  private var note: String
  private var edge: [String]
  private var previous: String
  private var file: Int
  private var length: Int

  init(_ checkpoint: AuditCheckpoint, at position: AuditTail.Position) {
    note = checkpoint.note
    edge = position.edge.hashes.map(\.base64URL)
    previous = position.previous.base64URL
    file = position.file
    length = position.length
  }

  /// Where a log's records are: apart for each name, so that a log can be begun anew under another one.
  static func record(_ name: String, of origin: String) throws(KeyCustodyError) -> RecordKey {
    let log = Array(try Hashing.sha256(Array(origin.utf8)).prefix(8)).hexadecimal
    return try RecordKey("audit/\(log)/\(name)")
  }

  /// What is known of a log; `nil` for one that was never begun.
  static func read(_ origin: String, in store: any PolicyStore) async throws(KeyCustodyError) -> AuditState? {
    try await RecordView<AuditState>(store).read(record("checkpoint", of: origin))
  }

  /// The checkpoint and the place, which must belong together.
  ///
  /// - Throws: `integrityFailure`.
  func read(_ key: AuditVerifierKey) throws(KeyCustodyError) -> (AuditCheckpoint, AuditTail.Position) {
    let checkpoint = try AuditCheckpoint(note: note, key: key)
    guard
      let edge = MerkleEdge(size: checkpoint.size, hashes: edge.map { [UInt8](base64URL: $0) ?? [] }),
      try edge.root() == checkpoint.root, let previous = [UInt8](base64URL: previous), file > 0, length >= 0
    else {
      throw KeyCustodyError(
        .integrityFailure, .damaged,
        "What the policy store has of the audit log '\(key.name)' is not what it should be.",
        remedy: "Restore the policy store from a backup.")
    }
    return (checkpoint, AuditTail.Position(edge: edge, previous: previous, file: file, length: length))
  }

  /// Writes the state, unless a later one is there.
  static func write(
    _ checkpoint: AuditCheckpoint, at position: AuditTail.Position, to store: any PolicyStore, key: AuditVerifierKey
  ) async throws(KeyCustodyError) {
    let records = RecordView<AuditState>(store)
    let name = try record("checkpoint", of: key.name)
    let state = AuditState(checkpoint, at: position)
    if try await records.create(name, state) { return }
    try await records.update(name) { (found) throws(KeyCustodyError) in
      if try found.read(key).0.size < checkpoint.size { found = state }
    }
  }
}
