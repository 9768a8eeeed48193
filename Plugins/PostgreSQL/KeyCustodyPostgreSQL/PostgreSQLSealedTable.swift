public import KeyCustody
import KeyCustodyCrypto
import Synchronization

/// A table of sealed records in a PostgreSQL database, shared by any number of processes.
///
/// A change is answered when the server has committed it. Nothing is kept in memory: what is read is what was committed last,
/// whoever wrote it. What a listing leaves out is not read: the rows under a root key are found by an index.
public final class PostgreSQLSealedTable: SealedTable {
  private let server: Server
  private let statements: SealedStatements
  private let connections: ReaderPool
  private static let step = 200

  /// `postgresql` and the number that the table was given when it was made.
  public let identity: ProviderIdentity

  /// Opens a table; makes it where there is none and that is allowed.
  ///
  /// - Throws: `unavailable` for a server that can't be reached; `credentialRejected`; `integrityFailure` (`damaged`,
  ///   `unknown-format`); `invalidInput` for tables of another program.
  package init(_ settings: PostgreSQLSettings) async throws(KeyCustodyError) {
    server = Server(settings, .sealed(settings.schema))
    statements = SealedStatements(settings.schema)
    identity = ProviderIdentity(kind: "postgresql", instance: try await server.open().uuid.hexadecimal)
    connections = try ReaderPool(server)
  }

  /// The database and the schema.
  public var place: String { "the database '\(server.place)'" }

  // MARK: Reading

  /// Rows in order; those under the root key are neither read nor answered.
  ///
  /// - Throws: `integrityFailure` (`damaged`), naming a damaged row that belongs on the page.
  public func page(
    of resource: ResourceID, after name: String?, excluding rootKey: [UInt8]?, limit: Int
  ) async throws(KeyCustodyError) -> [SealedRow] {
    let count = UInt64(max(0, min(limit, SealedTableLimits.pageSize)))
    let last = name.map { Array($0.utf8) } ?? []
    let step =
      if let rootKey {
        Step(statements.pageExcluding, .text(resource.folded), .bytes(last), .number(count), .bytes(rootKey))
      } else {
        Step(statements.page, .text(resource.folded), .bytes(last), .number(count))
      }
    let place = server.place
    return try await read(step) { (answer) throws(KeyCustodyError) in
      var rows: [SealedRow] = []
      for row in answer.rows { rows.append(try SealedRow(row, of: resource, place)) }
      return rows
    }
  }

  /// A row with its sealed bytes.
  ///
  /// - Throws: `integrityFailure` (`damaged`), naming the row.
  public func read(_ name: String, of resource: ResourceID) async throws(KeyCustodyError) -> SealedContent? {
    let place = server.place
    let step = Step(statements.read, .text(resource.folded), .bytes(Array(name.utf8)))
    return try await read(step) { (answer) throws(KeyCustodyError) in
      guard let row = answer.rows.first else { return nil }
      return try SealedContent(row, of: resource, place)
    }
  }

  /// Reads, and once more what looks damaged: it may have been on its way.
  private func read<Value: Sendable>(
    _ step: Step, _ parse: @escaping @Sendable (Answer) throws(KeyCustodyError) -> Value
  ) async throws(KeyCustodyError) -> Value {
    try await connections.run { (session, deadline) throws(KeyCustodyError) in
      let ask = { () throws(KeyCustodyError) in
        try session.read(by: deadline) { (connection) throws(ServerFailure) in
          try connection.exchange([step], by: deadline)
        }
      }
      do throws(KeyCustodyError) { return try parse(try ask()[0]) } catch {
        guard error.code == .integrityFailure else { throw error }
        return try parse(try ask()[0])
      }
    }
  }

  // MARK: Changing

  /// Writes a row.
  ///
  /// - Throws: `timeout` (`not-confirmed`) when it can't be found out whether that was done; `busy` when too many calls
  ///   wait.
  public func put(
    _ sealed: [UInt8], label: [UInt8], as name: String, of resource: ResourceID
  ) async throws(KeyCustodyError) {
    try SealedTableLimits.check(name: name, label: label, sealed: sealed)
    let (statements, place) = (statements, server.place)
    let row = SealedRow(name: name, revision: try newRevision(), label: label, sealed: sealed)
    _ = try await make(
      RowChange(name: Array(name.utf8), resource: resource, revision: row.revision) {
        (found) throws(KeyCustodyError) in
        guard let found else { return try row.step(statements.insert, sealed, of: resource) }
        guard let revision = found.number(1) else { throw .damagedRow(name, resource, place) }
        return try row.step(statements.update, sealed, of: resource, over: revision)
      })
  }

  /// Writes other sealed bytes, if the row still is at that revision.
  ///
  /// - Throws: as ``put(_:label:as:of:)``.
  public func replace(
    _ sealed: [UInt8], as name: String, of resource: ResourceID, expecting revision: UInt64
  ) async throws(KeyCustodyError) -> Bool {
    try SealedTableLimits.check(name: name, sealed: sealed)
    let (statements, place, new) = (statements, server.place, try newRevision())
    return try await make(
      RowChange(name: Array(name.utf8), resource: resource, revision: new) { (found) throws(KeyCustodyError) in
        guard let found, found.number(1) == revision else { return nil }
        let label = try SealedRow(found, of: resource, place).label
        let row = SealedRow(name: name, revision: new, label: label, sealed: sealed)
        return try row.step(statements.update, sealed, of: resource, over: revision)
      })
  }

  /// Removes a row.
  ///
  /// - Throws: as ``put(_:label:as:of:)``.
  public func remove(_ name: String, of resource: ResourceID) async throws(KeyCustodyError) {
    let (statements, place, bytes) = (statements, server.place, Array(name.utf8))
    _ = try await make(
      RowChange(name: bytes, resource: resource, revision: nil) { (found) throws(KeyCustodyError) in
        guard let found else { return nil }
        guard let revision = found.number(1) else { throw .damagedRow(name, resource, place) }
        return Step(statements.delete, .text(resource.folded), .bytes(bytes), .number(revision))
      })
  }

  /// Removes every row of a resource, a few hundred at a time.
  public func removeAll(of resource: ResourceID) async throws(KeyCustodyError) {
    let page = Step(statements.page, .text(resource.folded), .bytes([]), .number(UInt64(Self.step)))
    let delete = statements.delete
    var isDone = false
    while !isDone {
      isDone = try await connections.run { (session, deadline) throws(KeyCustodyError) in
        // Each may be done twice: a row that was written anew meanwhile has another revision.
        let rows = try session.read(by: deadline) { (connection) throws(ServerFailure) in
          try connection.exchange([page], by: deadline)
        }[0].rows
        guard !rows.isEmpty else { return true }
        let steps = rows.map { row in
          Step(delete, .text(resource.folded), .bytes(row.bytes(0) ?? []), .number(row.number(1) ?? 0))
        }
        _ = try session.read(by: deadline) { (connection) throws(ServerFailure) in
          try connection.exchange(steps, by: deadline)
        }
        return false
      }
    }
  }

  private func make(_ change: RowChange) async throws(KeyCustodyError) -> Bool {
    let (server, find) = (server, statements.find)
    return try await connections.run { (session, deadline) throws(KeyCustodyError) in
      try change.make(session, server, find: find, by: deadline)
    }
  }

  private func newRevision() throws(KeyCustodyError) -> UInt64 {
    try SealedRow.newRevision(server.settings.environment.random)
  }

  /// Ends all use, after the calls that wait.
  public func close() async { await connections.close() }
}
