import KeyCustody

/// A change of one row, made by whoever has a connection.
///
/// It is made in two exchanges: the first finds the row's revision, the second changes the row if it still has that. Where
/// the second is not answered the first tells what became of it; and should the server do it late, it finds another revision.
struct RowChange: Sendable {
  let name: [UInt8]
  let resource: ResourceID
  /// The row's revision afterwards; `nil` where it is gone then.
  let revision: UInt64?
  /// What changes the row that was found; `nil` where that is not to be changed.
  let step: @Sendable ([[UInt8]?]?) throws(KeyCustodyError) -> Step?

  /// Makes the change.
  ///
  /// - Returns: whether it was made.
  /// - Throws: `timeout` (`not-confirmed`) where that can't be found out; for any other error it was not.
  func make(
    _ session: ServerSession, _ server: Server, find: Statement, by deadline: ContinuousClock.Instant
  ) throws(KeyCustodyError) -> Bool {
    // What was sent and not answered, and the revision that it was to change.
    var unanswered: String?
    var meant: UInt64?
    let nap = try Wakeup()
    while true {
      do throws(KeyCustodyError) {
        let answers = try session.read(by: deadline) { (connection) throws(ServerFailure) in
          try connection.exchange([Step(find, .text(resource.folded), .bytes(name))], by: deadline)
        }
        let row = answers[0].rows.first
        if let revision { if row?.number(1) == revision { return true } } else if row == nil { return true }
        let found = row?.number(1)
        let next = try step(row)
        // It may have been made, and the row changed again: what others wrote since is not for this one to change.
        if let unanswered, next == nil || found != meant { throw .notConfirmed(server.place, unanswered) }
        guard let step = next else { return false }
        let outcome = try session.use(by: deadline) { (connection) throws(ServerFailure) in
          try connection.exchange([step], by: deadline)
        }
        switch outcome {
        case .success(let answers): if answers[0].changed == 1 { return true }
        case .failure(let failure):
          if case .refused = failure {
            guard failure.isCollision else { throw KeyCustodyError(failure, server.place) }
          } else {
            (unanswered, meant) = ("\(failure)", found)
          }
        }
      } catch {
        if error.reason == .notConfirmed { throw error }
        guard let cause = unanswered else {
          // Nothing was changed, so this is no timeout.
          if error.code == .timeout { throw .serverUnreachable(server.place, "It did not answer in time.", nil) }
          throw error
        }
        guard [.unavailable, .busy].contains(error.code), ContinuousClock.now < deadline else {
          throw .notConfirmed(server.place, cause)
        }
        nap.wait(for: min(error.retryAfter ?? .milliseconds(20), .milliseconds(50)))
      }
      guard ContinuousClock.now < deadline else {
        if let unanswered { throw .notConfirmed(server.place, unanswered) }
        throw KeyCustodyError(
          .busy, .locked, "Others changed the row in the database '\(server.place)' again and again.",
          remedy: "Try again later.", retryAfter: .milliseconds(100))
      }
    }
  }
}
