import KeyCustody

/// Finds the tables of a store, makes them, and brings them to the present format.
enum StoreSchema {
  /// The format that this version writes.
  static let version: UInt64 = 1

  /// Opens the store of the server's kind, and gives its number.
  ///
  /// - Throws: `unavailable` where there are no tables and none may be made; `integrityFailure` (`unknown-format`) for
  ///   tables of a later version.
  static func open(_ session: ServerSession, _ server: Server, by deadline: ContinuousClock.Instant)
    throws(KeyCustodyError) -> [UInt8]
  {
    // Another process may be making them too: whoever comes second looks again, and not at once.
    let nap = try Wakeup()
    for attempt in 0..<20 {
      if attempt > 1 { nap.wait(for: .milliseconds(1 << min(attempt, 6))) }
      switch try found(session, server, by: deadline) {
      case version: return try uuid(session, server, by: deadline)
      case let found? where found < version: try migrate(session, server, by: deadline)
      case let found?: throw unknown(found, server)
      case nil:
        guard server.settings.creates else { throw absent(server) }
        try make(session, server, by: deadline)
      }
    }
    throw .serverUnreachable(server.place, "Its tables can't be made: others make them at the same time.", nil)
  }

  static func checkVersion(_ answer: Answer, _ server: Server) throws(KeyCustodyError) {
    guard let found = answer.rows.first?.number(0) else { throw .damagedStore(server.place, "it names no format") }
    guard found <= version else { throw unknown(found, server) }
  }

  private static func unknown(_ found: UInt64, _ server: Server) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .unknownFormat,
      "The \(server.kind.name) in the database '\(server.place)' is of format \(found), which this version does not know.",
      remedy: "Use the version that wrote it, or a later one.")
  }

  private static func absent(_ server: Server) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, .unreachable, "There is no \(server.kind.name) in the database '\(server.place)'.",
      remedy: "Check 'url' and 'schema', or set 'create' to true to make a new one.")
  }

  /// The format of the tables; `nil` where there are none.
  private static func found(
    _ session: ServerSession, _ server: Server, by deadline: ContinuousClock.Instant
  ) throws(KeyCustodyError) -> UInt64? {
    // Not kept prepared: the table may be made later on the same connection.
    let statement = Statement(server.kind.version.text)
    switch try once(
      session, server, by: deadline,
      { (connection) throws(ServerFailure) in
        try connection.exchange([Step(statement)], by: deadline)
      })
    {
    case .success(let answers):
      guard let found = answers[0].rows.first?.number(0) else {
        throw .damagedStore(server.place, "it names no format")
      }
      return found
    case .failure(.refused("42P01", _)), .failure(.refused("3F000", _)): return nil
    case .failure(.refused("42703", _)):
      throw KeyCustodyError(
        .invalidInput, .badConfigurationValue, "The schema of '\(server.place)' holds tables of another program.",
        remedy: "Give the name of another one as 'schema'.")
    case .failure(let failure): throw KeyCustodyError(failure, server.place)
    }
  }

  private static func uuid(
    _ session: ServerSession, _ server: Server, by deadline: ContinuousClock.Instant
  ) throws(KeyCustodyError) -> [UInt8] {
    let answers = try session.read(by: deadline) { (connection) throws(ServerFailure) in
      try connection.exchange([Step(server.kind.identity)], by: deadline)
    }
    return try server.kind.uuid(answers[0], server.place)
  }

  private static func make(
    _ session: ServerSession, _ server: Server, by deadline: ContinuousClock.Instant
  ) throws(KeyCustodyError) {
    let (statements, kind) = (server.statements, server.kind)
    var refusal: ServerFailure?
    let made = try once(session, server, by: deadline) { (connection) throws(ServerFailure) in
      do throws(ServerFailure) {
        _ = try connection.exchange([Step(kind.makeSchema)], by: deadline)
      } catch {
        // It is there, or this user may not make it but only use it.
        if case .refused("42501", _) = error { refusal = error } else if !error.isCollision { throw error }
      }
      return try connection.exchange(
        [Step(statements.begin)] + kind.makeFormat + [Step(statements.commit)], by: deadline)
    }
    guard case .failure(let failure) = made, !failure.isCollision else { return }
    guard case .refused("3F000", _) = failure else { throw KeyCustodyError(failure, server.place) }
    // Either there is none, or another has just made it: a server's sessions hear of that a little later than it can
    // be collided with.
    if let refusal { throw KeyCustodyError(refusal, server.place) }
  }

  /// Takes one step to the present format, where nobody else has taken it yet.
  private static func migrate(
    _ session: ServerSession, _ server: Server, by deadline: ContinuousClock.Instant
  ) throws(KeyCustodyError) {
    let (statements, kind) = (server.statements, server.kind)
    let tables = try kind.tables(try server.settings.environment.random.bytes(16))
    let migrated = try once(session, server, by: deadline) { (connection) throws(ServerFailure) in
      // Whoever holds this row migrates; the others find it done.
      let found = try connection.exchange([Step(statements.begin), Step(kind.lockVersion)], by: deadline)
      guard found[1].rows.first?.number(0) == 0 else {
        return try connection.exchange([Step(statements.rollback)], by: deadline)
      }
      return try connection.exchange(
        tables + [Step(kind.saveVersion), Step(statements.commit)], by: deadline)
    }
    if case .failure(let failure) = migrated, !failure.isCollision { throw KeyCustodyError(failure, server.place) }
  }

  /// Works with a connection, and once more with a new one where it turns out to be lost: each step may be taken twice.
  private static func once(
    _ session: ServerSession, _ server: Server, by deadline: ContinuousClock.Instant,
    _ work: (ServerConnection) throws(ServerFailure) -> [Answer]
  ) throws(KeyCustodyError) -> Result<[Answer], ServerFailure> {
    let first = try session.use(by: deadline, work)
    guard case .failure(.lost) = first else { return first }
    return try session.use(by: deadline, work)
  }
}
