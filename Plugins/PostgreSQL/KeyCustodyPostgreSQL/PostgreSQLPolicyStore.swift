public import KeyCustody
import Synchronization

/// A policy store whose records are rows of a PostgreSQL database, shared by any number of processes.
///
/// A change is answered when the server has committed it. Changes of one process that wait at the same time share a
/// transaction; those of several take place one after the other, in the order of their revisions. Nothing is kept in
/// memory: what is read is what was committed last, whoever wrote it.
public final class PostgreSQLPolicyStore: PolicyStore {
  private let server: Server
  private let readers: ReaderPool
  private let writer: ChangeWriter
  private let pump: ChangePump
  private let isClosed = Mutex(false)

  /// `postgresql` and the number that the store was given when it was made.
  public let identity: ProviderIdentity

  /// Opens a store; makes its tables where there are none and that is allowed.
  ///
  /// - Throws: `unavailable` for a server that can't be reached; `credentialRejected`; `integrityFailure` (`damaged`,
  ///   `unknown-format`); `invalidInput` for tables of another program.
  package init(_ settings: PostgreSQLSettings) async throws(KeyCustodyError) {
    let server = Server(settings, .records(settings.schema))
    let (uuid, session) = try await server.open()
    self.server = server
    identity = ProviderIdentity(kind: "postgresql", instance: uuid.hexadecimal)
    readers = try ReaderPool(server)
    pump = try ChangePump(server, uuid)
    writer = try ChangeWriter(server, session, pump)
  }

  // The thread that watches would wait on for ever.
  deinit { pump.finish() }

  /// Reads a record.
  ///
  /// - Throws: `integrityFailure` (`damaged`), naming the record.
  public func read(_ key: RecordKey) async throws(KeyCustodyError) -> PolicyRecord? {
    let (statement, place) = (server.statements.find, server.place)
    return try await read([Step(statement, .text(key.description))]) { (answers) throws(KeyCustodyError) in
      try RecordRow.find(key, in: answers[0], place)
    }
  }

  /// Writes a record if the store still holds the revision expected.
  ///
  /// - Throws: `timeout` (`not-confirmed`) when it can't be found out whether the change was made; `busy` when too many
  ///   changes wait.
  public func compareAndSet(
    _ key: RecordKey, expecting revision: StoreRevision?, value: [UInt8]
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try PolicyStoreLimits.check(value)
    return try await writer.change(key, expecting: revision, to: value)
  }

  /// Removes a record if the store still holds the revision expected.
  ///
  /// - Throws: as ``compareAndSet(_:expecting:value:)``.
  public func delete(
    _ key: RecordKey, expecting revision: StoreRevision
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try await writer.change(key, expecting: revision, to: nil)
  }

  /// A page of records.
  ///
  /// - Throws: `integrityFailure` (`damaged`), naming a damaged record that belongs on the page.
  public func list(
    prefix: String, after key: RecordKey?, limit: Int
  ) async throws(KeyCustodyError) -> [PolicyRecord] {
    try requireOpen()
    // No key holds anything but printable ASCII.
    guard limit > 0, prefix.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else { return [] }
    let place = server.place
    let step = Step(
      // Every letter of a key stands before U+007F, so all that begin with the prefix stand before this.
      server.statements.page, .text(prefix), .text(key?.description ?? ""), .text("\(prefix)\u{7f}"),
      .number(UInt64(min(limit, PolicyStoreLimits.pageSize))))
    return try await read([step]) { (answers) throws(KeyCustodyError) in
      var records: [PolicyRecord] = []
      for row in answers[0].rows {
        guard let found = try RecordRow(row) else { throw RecordRow.damage(of: row, place) }
        records.append(found.record)
      }
      return records
    }
  }

  /// Changes after a revision, those of other processes included.
  ///
  /// A reader that does not keep up costs memory, never a change. While the server is away nothing is told; afterwards
  /// everything is.
  public func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    try requireOpen()
    try await writer.settle()
    return try await pump.watch(since: revision)
  }

  /// The newest revision.
  public func currentRevision() async throws(KeyCustodyError) -> StoreRevision {
    let place = server.place
    return try await read([Step(server.statements.state)]) { (answers) throws(KeyCustodyError) in
      try StoreState(answers[0], place).revision
    }
  }

  /// Reads, and once more what looks damaged: it may have been on its way.
  private func read<Value: Sendable>(
    _ steps: [Step], _ parse: @escaping @Sendable ([Answer]) throws(KeyCustodyError) -> Value
  ) async throws(KeyCustodyError) -> Value {
    try requireOpen()
    try await writer.settle()
    return try await readers.run { (session, deadline) throws(KeyCustodyError) in
      let ask = { () throws(KeyCustodyError) in
        try session.read(by: deadline) { (connection) throws(ServerFailure) in
          try connection.exchange(steps, by: deadline)
        }
      }
      do throws(KeyCustodyError) { return try parse(try ask()) } catch {
        guard error.code == .integrityFailure else { throw error }
        return try parse(try ask())
      }
    }
  }

  private func requireOpen() throws(KeyCustodyError) {
    guard !isClosed.withLock({ $0 }) else { throw .closedStore(server.place) }
  }

  /// Ends all use, after the changes that wait.
  public func close() async {
    isClosed.withLock { $0 = true }
    readers.refuseUse()
    writer.refuseUse()
    await pump.close()
    await readers.close()
    await writer.close()
  }
}
