import KeyCustody
import Synchronization

/// The one of this process that changes a store: changes that wait at the same time share a transaction.
///
/// A transaction takes two exchanges. The first locks the row of the store and looks up what is to be changed, the second
/// changes it and commits. Where the second is not answered, its outcome is found out (``settle(_:by:)``) before anything
/// is answered, read or changed.
final class ChangeWriter: Sendable {
  private struct Queue {
    var waiting: [WaitingChange] = []
    var settling: [Request<Bool>] = []
    var isScheduled = false
    var isClosed = false
  }
  /// How one transaction ended.
  private enum Ending {
    case answered([Result<StoreOutcome, KeyCustodyError>])
    /// Nothing was done.
    case failed(ServerFailure)
    /// It may have been done.
    case unknown(ChangeGroup, id: [UInt8], ServerFailure)
  }

  private static let groupSize = 256
  private static let groupBytes = 4 << 20
  /// For how many revisions it is noted that a transaction took place.
  static let memory: UInt64 = 100_000
  private let server: Server
  private let session: ServerSession
  private let pump: ChangePump
  private let thread: DedicatedThread
  private let queue = Mutex(Queue())
  private let unsettled = Mutex(false)

  init(_ server: Server, _ session: ServerSession, _ pump: ChangePump) throws(KeyCustodyError) {
    self.server = server
    self.session = session
    self.pump = pump
    thread = try DedicatedThread()
  }

  private var statements: StoreStatements { server.statements }

  /// Makes a change, in a transaction together with those that wait.
  func change(
    _ key: RecordKey, expecting expected: StoreRevision?, to value: [UInt8]?
  ) async throws(KeyCustodyError) -> StoreOutcome {
    let request = Request<StoreOutcome>(server.settings)
    let change = WaitingChange(key: key, expected: expected, value: value, request: request)
    let (place, limit) = (server.place, server.settings.queue)
    try queue.withLock { (queue) throws(KeyCustodyError) in
      guard !queue.isClosed else { throw .closedStore(place) }
      guard queue.waiting.count < limit else { throw .queueFull(place, limit) }
      queue.waiting.append(change)
      schedule(&queue)
    }
    return try await request.value(server.settings.environment.time)
  }

  /// Waits until no change of this process is under way whose outcome is unknown: what it touched is not read before.
  func settle() async throws(KeyCustodyError) {
    guard unsettled.withLock({ $0 }) else { return }
    let request = Request<Bool>(server.settings)
    let (place, limit) = (server.place, server.settings.queue)
    try queue.withLock { (queue) throws(KeyCustodyError) in
      guard !queue.isClosed else { throw .closedStore(place) }
      guard queue.settling.count < limit else { throw .queueFull(place, limit) }
      queue.settling.append(request)
      schedule(&queue)
    }
    _ = try await request.value(server.settings.environment.time)
  }

  private func schedule(_ queue: inout Queue) {
    guard !queue.isScheduled else { return }
    queue.isScheduled = true
    thread.perform { self.work() }
  }

  func refuseUse() { queue.withLock { $0.isClosed = true } }

  /// Answers what waits, then lets go of the connection.
  func close() async {
    refuseUse()
    await withCheckedContinuation { continuation in
      thread.perform {
        self.session.close()
        continuation.resume()
      }
    }
  }

  // MARK: On the thread

  private func work() {
    while true {
      let (group, settling) = queue.withLock { queue -> ([WaitingChange], [Request<Bool>]) in
        let group = Self.take(from: &queue.waiting)
        let settling = queue.settling
        queue.settling = []
        if group.isEmpty, settling.isEmpty { queue.isScheduled = false }
        return (group, settling)
      }
      guard !group.isEmpty || !settling.isEmpty else { return }
      settle(settling)
      let taken = group.filter { $0.request.take() }
      if !taken.isEmpty { make(taken) }
    }
  }

  private static func take(from waiting: inout [WaitingChange]) -> [WaitingChange] {
    var size = 0
    let count = waiting.prefix(groupSize).prefix { change in
      defer { size += change.value?.count ?? 0 }
      return size < groupBytes
    }.count
    defer { waiting.removeFirst(count) }
    return Array(waiting.prefix(count))
  }

  /// Makes the changes of a group in one transaction.
  private func make(_ group: [WaitingChange]) {
    let deadline = group.map(\.request.deadline).max() ?? .now
    var answers: [Result<StoreOutcome, KeyCustodyError>]
    do throws(KeyCustodyError) {
      answers = try answer(group, by: deadline)
    } catch { answers = group.map { _ in .failure(error) } }
    for (change, answer) in zip(group, answers) { change.request.give(answer) }
  }

  /// - Throws: where nothing was done.
  private func answer(
    _ group: [WaitingChange], by deadline: ContinuousClock.Instant
  ) throws(KeyCustodyError) -> [Result<StoreOutcome, KeyCustodyError>] {
    var attempts = 0
    while true {
      attempts += 1
      switch try transact(group, by: deadline) {
      case .answered(let answers): return answers
      case .failed(let failure):
        if case .lost = failure, attempts < 3 { continue }
        if failure.isCollision, attempts < 5 { continue }
        // Nothing was done, so this is no timeout.
        if case .late = failure { throw .serverUnreachable(server.place, "It did not answer in time.", nil) }
        throw KeyCustodyError(failure, server.place)
      case .unknown(let made, let id, let failure):
        switch settle(made, id, by: deadline) {
        case true?:
          pump.poke()
          return made.answers
        case false?:
          if attempts < 3 { continue }
          throw KeyCustodyError(ServerFailure.lost("\(failure)"), server.place)
        case nil:
          return made.answers(
            failing: .notConfirmed(server.place, "\(failure)"),
            refusing: .serverUnreachable(server.place, "The connection was lost.", "\(failure)"))
        }
      }
    }
  }

  /// Makes the changes, as far as that can be told.
  private func transact(
    _ group: [WaitingChange], by deadline: ContinuousClock.Instant
  ) throws(KeyCustodyError) -> Ending {
    let (statements, place) = (statements, server.place)
    let id = try server.settings.environment.random.bytes(16)
    // What goes wrong inside with a KeyCustodyError, or before anything is sent that changes something.
    var failure: KeyCustodyError?
    var pending: ChangeGroup?
    let ended = try session.use(by: deadline) { (connection) throws(ServerFailure) -> ChangeGroup? in
      let keys = ChangeGroup.keys(of: group).map { Step(statements.find, .text($0.description)) }
      let found = try connection.exchange([Step(statements.begin), Step(statements.lock)] + keys, by: deadline)
      unsettled.withLock { $0 = false }
      var made: ChangeGroup
      var steps: [Step]
      do throws(KeyCustodyError) {
        made = try ChangeGroup(
          group, over: try StoreState(found[1], place), rows: Array(found.dropFirst(2)), place)
        if !made.isEmpty { try forgetDeletions(&made, connection, by: deadline) }
        steps = made.isEmpty ? [] : try self.steps(of: &made, id)
      } catch {
        failure = error
        _ = try connection.exchange([Step(statements.rollback)], by: deadline)
        return nil
      }
      guard !made.isEmpty else {
        // What is there now is known, whatever becomes of this.
        _ = try? connection.exchange([Step(statements.rollback)], by: deadline)
        return made
      }
      pending = made
      if try !commit(steps, of: made, connection, by: deadline) {
        failure = KeyCustodyError(
          .fault, .internalFault, "Another program wrote to the tables of '\(place)'.",
          remedy: "Let nothing but the service write to them; look at what the records hold.")
      }
      return made
    }
    if let failure { throw failure }
    switch ended {
    case .success(let made?):
      if !made.isEmpty { pump.poke() }
      return .answered(made.answers)
    case .success(nil): throw KeyCustodyError(.fault, .internalFault, "A transaction gave no answer.")
    case .failure(let reason):
      guard let pending else { return .failed(reason) }
      // A refusal before the end is the end of the transaction.
      if case .refused = reason { return .failed(reason) }
      unsettled.withLock { $0 = true }
      return .unknown(pending, id: id, reason)
    }
  }

  /// Forgets the oldest deletions where there are too many.
  private func forgetDeletions(
    _ made: inout ChangeGroup, _ connection: ServerConnection, by deadline: ContinuousClock.Instant
  ) throws(KeyCustodyError) {
    let limit = server.settings.deletionLimit
    guard made.state.deletions > limit else { return }
    do throws(ServerFailure) {
      let offset = UInt64(max(1, limit / 10)) - 1
      let oldest = try connection.exchange([Step(statements.oldestDeletions, .number(offset))], by: deadline)
      guard let last = oldest[0].rows.first?.number(0) else { return }
      let gone = try connection.exchange([Step(statements.forgetDeletions, .number(last))], by: deadline)
      made.forget(upTo: StoreRevision(last), gone[0].changed)
    } catch { throw KeyCustodyError(error, server.place) }
  }

  /// What is sent at once, the commit last.
  private func steps(of made: inout ChangeGroup, _ id: [UInt8]) throws(KeyCustodyError) -> [Step] {
    let revision = made.state.revision.number
    var steps = try made.steps(statements)
    steps.append(Step(statements.noteWrite, .bytes(id), .number(revision)))
    return steps
  }

  /// - Returns: whether each step changed its row, which the lock makes sure of among those that keep to it.
  private func commit(
    _ steps: [Step], of made: ChangeGroup, _ connection: ServerConnection, by deadline: ContinuousClock.Instant
  ) throws(ServerFailure) -> Bool {
    var after: [Step] = []
    let revision = made.state.revision.number
    if revision > Self.memory, revision / 1000 != (revision - UInt64(made.answers.count)) / 1000 {
      after.append(Step(statements.forgetWrites, .number(revision - Self.memory)))
    }
    if server.settings.notifies {
      after.append(
        Step(statements.notify, .text(StoreStatements.channel(made.state.uuid)), .text("\(revision)")))
    }
    let answers = try connection.exchange(steps + after + [Step(statements.commit)], by: deadline)
    guard answers.last?.tag == "COMMIT" else { throw .refused("40000", message: "the transaction was rolled back") }
    return answers.prefix(steps.count).allSatisfy { $0.changed == 1 }
  }

  // MARK: Settling

  /// Finds out whether a transaction took place; tries until the deadline.
  ///
  /// It held the lock of the store's row. Whoever gets that lock now knows that it is over, and reads whether it noted
  /// itself.
  ///
  /// - Returns: `nil` where that can't be found out.
  private func settle(_ made: ChangeGroup, _ id: [UInt8], by deadline: ContinuousClock.Instant) -> Bool? {
    let (statements, place) = (statements, server.place)
    let nap = try? Wakeup()
    while ContinuousClock.now < deadline {
      do throws(KeyCustodyError) {
        let answers = try session.read(by: deadline) { (connection) throws(ServerFailure) in
          try connection.exchange(
            [
              Step(statements.begin), Step(statements.lock), Step(statements.findWrite, .bytes(id)),
              Step(statements.rollback),
            ], by: deadline)
        }
        unsettled.withLock { $0 = false }
        if !answers[2].rows.isEmpty { return true }
        let state = try StoreState(answers[1], place)
        // So much later it would not be known any more.
        let isRemembered = state.revision.number < made.state.revision.number + Self.memory / 2
        return isRemembered ? false : nil
      } catch {
        guard [.unavailable, .busy].contains(error.code) else { return nil }
        nap?.wait(for: min(error.retryAfter ?? .milliseconds(20), .milliseconds(50)))
      }
    }
    return nil
  }

  /// Waits for what is under way on the server, for those that want to read.
  private func settle(_ waiting: [Request<Bool>]) {
    let taken = waiting.filter { $0.take() }
    guard let deadline = taken.map(\.deadline).max() else { return }
    let result = Result { () throws(KeyCustodyError) -> Bool in
      guard unsettled.withLock({ $0 }) else { return true }
      let statements = statements
      _ = try session.read(by: deadline) { (connection) throws(ServerFailure) in
        try connection.exchange(
          [Step(statements.begin), Step(statements.lock), Step(statements.rollback)], by: deadline)
      }
      unsettled.withLock { $0 = false }
      return true
    }
    for request in taken { request.give(result) }
  }
}
