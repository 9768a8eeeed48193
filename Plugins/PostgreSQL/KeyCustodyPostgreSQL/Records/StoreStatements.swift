import KeyCustody

/// The statements of a store, in SQL that is not PostgreSQL's alone, but for what tells of changes.
struct StoreStatements: Sendable {
  private let schema: String

  /// - Parameter schema: a name that needs no quotes.
  init(_ schema: String) { self.schema = "\"\(schema)\"" }

  // MARK: Reading

  var state: Statement {
    Statement("SELECT uuid, revision, forgotten, deletions, digest FROM \(schema).store WHERE id = 1", as: "state")
  }
  var find: Statement {
    Statement("SELECT key, revision, value, digest FROM \(schema).records WHERE key = $1", as: "find")
  }
  /// By prefix, last key seen, what is behind all keys with the prefix, and limit.
  var page: Statement {
    Statement(
      """
      SELECT key, revision, value, digest FROM \(schema).records
      WHERE key >= $1 AND key > $2 AND key < $3 ORDER BY key LIMIT $4
      """, as: "page")
  }
  /// Records (with a value) and deletions (without) after a revision, up to a limit.
  var changes: Statement {
    Statement(
      """
      (SELECT key, revision, value, digest FROM \(schema).records WHERE revision > $1 ORDER BY revision LIMIT $2)
      UNION ALL
      (SELECT key, revision, NULL, digest FROM \(schema).deletions WHERE revision > $1 ORDER BY revision LIMIT $2)
      ORDER BY revision LIMIT $2
      """, as: "changes")
  }
  /// A transaction in which all is read as it was at one moment.
  var beginSnapshot: Statement { Statement("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", as: "begin-snapshot") }

  // MARK: Changing

  var begin: Statement { Statement("BEGIN ISOLATION LEVEL READ COMMITTED", as: "begin") }
  var commit: Statement { Statement("COMMIT", as: "commit") }
  var rollback: Statement { Statement("ROLLBACK", as: "rollback") }
  var lock: Statement { Statement("\(state.text) FOR UPDATE", as: "lock") }
  var insert: Statement {
    Statement("INSERT INTO \(schema).records (key, revision, value, digest) VALUES ($1, $2, $3, $4)", as: "insert")
  }
  var update: Statement {
    Statement("UPDATE \(schema).records SET revision = $2, value = $3, digest = $4 WHERE key = $1", as: "update")
  }
  var delete: Statement { Statement("DELETE FROM \(schema).records WHERE key = $1", as: "delete") }
  var noteDeletion: Statement {
    Statement("INSERT INTO \(schema).deletions (revision, key, digest) VALUES ($1, $2, $3)", as: "note-deletion")
  }
  /// The revision of the oldest deletions' last one.
  var oldestDeletions: Statement {
    Statement("SELECT revision FROM \(schema).deletions ORDER BY revision LIMIT 1 OFFSET $1")
  }
  var forgetDeletions: Statement { Statement("DELETE FROM \(schema).deletions WHERE revision <= $1") }
  /// Notes that a transaction took place, so that its author can find out.
  var noteWrite: Statement {
    Statement("INSERT INTO \(schema).writes (id, revision) VALUES ($1, $2)", as: "note-write")
  }
  var findWrite: Statement { Statement("SELECT revision FROM \(schema).writes WHERE id = $1", as: "find-write") }
  var forgetWrites: Statement { Statement("DELETE FROM \(schema).writes WHERE revision <= $1", as: "forget-writes") }
  var save: Statement {
    Statement(
      """
      UPDATE \(schema).store SET revision = $1, forgotten = $2, deletions = $3, digest = $4
      WHERE id = 1 AND revision = $5
      """, as: "save")
  }

  // MARK: Telling

  /// The channel of a store.
  static func channel(_ uuid: [UInt8]) -> String { "key_custody_\(uuid.hexadecimal)" }
  static func listen(_ uuid: [UInt8]) -> Statement { Statement("LISTEN \(channel(uuid))") }
  var notify: Statement { Statement("SELECT pg_notify($1, $2)", as: "notify") }

  // MARK: Making

  /// From a store of no format to one of format 1.
  ///
  /// Keys are ordered by their bytes (`COLLATE "C"`).
  func makeTables(_ state: StoreState) throws(KeyCustodyError) -> [Step] {
    [
      Step(
        Statement(
          """
          CREATE TABLE \(schema).store (id SMALLINT PRIMARY KEY, uuid BYTEA NOT NULL, revision BIGINT NOT NULL,
          forgotten BIGINT NOT NULL, deletions BIGINT NOT NULL, digest BYTEA NOT NULL)
          """)),
      Step(
        Statement(
          """
          CREATE TABLE \(schema).records (key TEXT COLLATE "C" PRIMARY KEY, revision BIGINT NOT NULL,
          value BYTEA NOT NULL, digest BYTEA NOT NULL)
          """)),
      Step(Statement("CREATE UNIQUE INDEX records_by_revision ON \(schema).records (revision)")),
      Step(
        Statement(
          """
          CREATE TABLE \(schema).deletions (revision BIGINT PRIMARY KEY, key TEXT COLLATE "C" NOT NULL,
          digest BYTEA NOT NULL)
          """)),
      Step(Statement("CREATE TABLE \(schema).writes (id BYTEA PRIMARY KEY, revision BIGINT NOT NULL)")),
      Step(
        Statement(
          "INSERT INTO \(schema).store (id, uuid, revision, forgotten, deletions, digest) VALUES (1, $1, 0, 0, 0, $2)"),
        .bytes(state.uuid), .bytes(try state.digest())),
    ]
  }
}
