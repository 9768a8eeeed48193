import KeyCustody

/// A kind of store: the tables it has in its schema, as far as finding, making and recognising them goes.
///
/// Two kinds may share a schema; each has a table of its own that names its format.
struct StoreKind: Sendable {
  /// What it is called in messages.
  let name: String
  /// Answers what tells the store from others of its kind.
  let identity: Statement
  /// The store's number, by that answer.
  let uuid: @Sendable (Answer, String) throws(KeyCustodyError) -> [UInt8]
  /// From no format to format 1, for a store of this number.
  let tables: @Sendable ([UInt8]) throws(KeyCustodyError) -> [Step]
  private let schema: String
  private let format: String

  /// A policy store.
  static func records(_ schema: String) -> StoreKind {
    let statements = StoreStatements(schema)
    return StoreKind(
      name: "store", identity: statements.state,
      uuid: { (answer, place) throws(KeyCustodyError) in try StoreState(answer, place).uuid },
      tables: { (uuid) throws(KeyCustodyError) in try statements.makeTables(StoreState(uuid: uuid)) },
      schema: "\"\(schema)\"", format: "\"\(schema)\".format")
  }

  /// A table of sealed records.
  static func sealed(_ schema: String) -> StoreKind {
    let statements = SealedStatements(schema)
    return StoreKind(
      name: "table of sealed records", identity: statements.identity,
      uuid: { (answer, place) throws(KeyCustodyError) in
        guard let uuid = answer.rows.first?.bytes(0), uuid.count == 16 else {
          throw .damagedStore(place, "what it says of itself can't be read")
        }
        return uuid
      },
      tables: { (uuid) throws(KeyCustodyError) in statements.makeTables(uuid) },
      schema: "\"\(schema)\"", format: "\"\(schema)\".sealed_format")
  }

  var version: Statement { Statement("SELECT version FROM \(format) WHERE id = 1", as: "version") }
  var lockVersion: Statement { Statement("\(version.text) FOR UPDATE") }
  var saveVersion: Statement { Statement("UPDATE \(format) SET version = version + 1 WHERE id = 1") }
  var makeSchema: Statement { Statement("CREATE SCHEMA \(schema)") }
  var makeFormat: [Step] {
    [
      Step(Statement("CREATE TABLE \(format) (id SMALLINT PRIMARY KEY, version INTEGER NOT NULL)")),
      Step(Statement("INSERT INTO \(format) (id, version) VALUES (1, 0)")),
    ]
  }
}
