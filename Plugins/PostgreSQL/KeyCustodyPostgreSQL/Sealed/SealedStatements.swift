import KeyCustody

/// The statements of a table of sealed records.
///
/// Every change is of a row at the revision that was found, so that one whose answer was lost, and which the server may do
/// yet, changes nothing that came after it.
struct SealedStatements: Sendable {
  private let schema: String
  private static let columns = "name, revision, head, size, label, digest"

  /// - Parameter schema: a name that needs no quotes.
  init(_ schema: String) { self.schema = "\"\(schema)\"" }

  // MARK: Reading

  var identity: Statement { Statement("SELECT uuid FROM \(schema).sealed_store WHERE id = 1", as: "identity") }
  /// By resource and name.
  var find: Statement {
    Statement("SELECT \(Self.columns) FROM \(schema).sealed WHERE resource = $1 AND name = $2", as: "find")
  }
  /// As ``find``, with the sealed bytes.
  var read: Statement {
    Statement("SELECT \(Self.columns), sealed FROM \(schema).sealed WHERE resource = $1 AND name = $2", as: "read")
  }
  /// By resource, last name seen, and limit.
  var page: Statement {
    Statement(
      """
      SELECT \(Self.columns) FROM \(schema).sealed WHERE resource = $1 AND name > $2 ORDER BY name LIMIT $3
      """, as: "page")
  }
  /// By resource, last name seen, limit, and the root key to leave out.
  ///
  /// The heads of a resource are few, and found one after the other; then the rows under each, by the index. What is left
  /// out costs nothing.
  var pageExcluding: Statement {
    Statement(
      """
      WITH RECURSIVE heads (head) AS (
        (SELECT head FROM \(schema).sealed WHERE resource = $1 ORDER BY head LIMIT 1)
        UNION ALL
        SELECT (SELECT next.head FROM \(schema).sealed next
          WHERE next.resource = $1 AND next.head > heads.head ORDER BY next.head LIMIT 1)
        FROM heads WHERE heads.head IS NOT NULL)
      SELECT found.* FROM heads CROSS JOIN LATERAL (
        SELECT \(Self.columns) FROM \(schema).sealed items
        WHERE items.resource = $1 AND items.head = heads.head AND items.name > $2 ORDER BY items.name LIMIT $3) found
      WHERE heads.head IS NOT NULL AND substring(heads.head from 5) <> $4 ORDER BY found.name LIMIT $3
      """, as: "page-excluding")
  }

  // MARK: Changing

  var insert: Statement {
    Statement(
      """
      INSERT INTO \(schema).sealed (resource, name, revision, head, size, label, digest, sealed)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (resource, name) DO NOTHING
      """, as: "insert")
  }
  /// As ``insert``, and the revision that is there.
  var update: Statement {
    Statement(
      """
      UPDATE \(schema).sealed SET revision = $3, head = $4, size = $5, label = $6, digest = $7, sealed = $8
      WHERE resource = $1 AND name = $2 AND revision = $9
      """, as: "update")
  }
  /// By resource, name, and the revision that is there.
  var delete: Statement {
    Statement("DELETE FROM \(schema).sealed WHERE resource = $1 AND name = $2 AND revision = $3", as: "delete")
  }

  // MARK: Making

  /// From no format to format 1.
  ///
  /// Names are bytes: any text is one, and they are ordered by their bytes.
  func makeTables(_ uuid: [UInt8]) -> [Step] {
    [
      Step(Statement("CREATE TABLE \(schema).sealed_store (id SMALLINT PRIMARY KEY, uuid BYTEA NOT NULL)")),
      Step(
        Statement(
          """
          CREATE TABLE \(schema).sealed (resource TEXT COLLATE "C" NOT NULL, name BYTEA NOT NULL, revision BIGINT NOT NULL,
          head BYTEA NOT NULL, size BIGINT NOT NULL, label BYTEA NOT NULL, digest BYTEA NOT NULL, sealed BYTEA NOT NULL,
          PRIMARY KEY (resource, name))
          """)),
      Step(Statement("CREATE UNIQUE INDEX sealed_by_head ON \(schema).sealed (resource, head, name)")),
      Step(Statement("INSERT INTO \(schema).sealed_store (id, uuid) VALUES (1, $1)"), .bytes(uuid)),
    ]
  }
}
