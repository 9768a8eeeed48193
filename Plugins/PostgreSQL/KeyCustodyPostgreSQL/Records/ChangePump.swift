import KeyCustody
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Tells those who watch a store of its changes, in the order of their revisions, whichever process made them.
///
/// It reads from the database what came after the last revision told, when it is poked, when the server tells of a change,
/// and every now and then. No change shows up behind that revision later: see ``StoreState``.
final class ChangePump: Sendable {
  fileprivate struct Watcher {
    let stream: AsyncStream<StoreChange>.Continuation
    /// Up to where it was told.
    var position: StoreRevision
    /// Deletions up to here it knows, or need not be told.
    var forgotten: StoreRevision
    /// Waits for the first reading.
    var first: Request<Bool>?
  }
  private struct State {
    var watchers: [Int: Watcher] = [:]
    var next = 0
    var isRunning = false
    var isFinished = false
  }

  private static let pageSize: UInt64 = 1000
  private let server: Server
  private let uuid: [UInt8]
  private let session: ServerSession
  private let thread: DedicatedThread
  private let wakeup: Wakeup
  private let state = Mutex(State())

  init(_ server: Server, _ uuid: [UInt8]) throws(KeyCustodyError) {
    self.server = server
    self.uuid = uuid
    session = ServerSession(server)
    thread = try DedicatedThread()
    wakeup = try Wakeup()
  }

  /// Adds a watcher; returns when the past was read for it.
  func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    // Unbounded: a change that is dropped is a revocation that is not seen. A reader should keep up.
    let (stream, continuation) = AsyncStream.makeStream(of: StoreChange.self, bufferingPolicy: .unbounded)
    let first = Request<Bool>(server.settings)
    let place = server.place
    let id = try state.withLock { (state) throws(KeyCustodyError) -> Int in
      guard !state.isFinished else { throw .closedStore(place) }
      state.next += 1
      state.watchers[state.next] = Watcher(
        stream: continuation, position: revision, forgotten: revision, first: first)
      if !state.isRunning {
        state.isRunning = true
        thread.perform { self.run() }
      }
      return state.next
    }
    continuation.onTermination = { [weak self] _ in self?.remove(id) }
    wakeup.post()
    do throws(KeyCustodyError) { _ = try await first.value(server.settings.environment.time) } catch {
      remove(id)
      throw error
    }
    return stream
  }

  private func remove(_ id: Int) { state.withLock { state in _ = state.watchers.removeValue(forKey: id) } }

  /// Looks for changes now.
  func poke() { wakeup.post() }

  /// Ends every stream, and the thread's work.
  func finish() {
    let watchers = state.withLock { state in
      state.isFinished = true
      defer { state.watchers = [:] }
      return Array(state.watchers.values)
    }
    wakeup.post()
    // Outside the lock: ending a stream calls back.
    for watcher in watchers {
      watcher.first?.give(.failure(.closedStore(server.place)))
      watcher.stream.finish()
    }
  }

  /// Lets go of the connection.
  func close() async {
    finish()
    await withCheckedContinuation { continuation in
      thread.perform {
        self.session.close()
        continuation.resume()
      }
    }
  }

  // MARK: On the thread

  private func run() {
    while true {
      wakeup.clear()
      let (isFinished, start, newest) = state.withLock { state in
        (state.isFinished, state.watchers.values.map(\.position).min(), state.next)
      }
      if isFinished { return }
      guard let start else {
        wakeup.wait(for: nil)
        continue
      }
      let deadline = ContinuousClock.now + server.settings.timeout * 9 / 10
      do throws(KeyCustodyError) {
        if try advance(from: start, for: newest, by: deadline) { continue }
        try wait()
      } catch {
        fail(error)
        wakeup.wait(for: min(error.retryAfter ?? server.settings.pollInterval, server.settings.pollInterval))
      }
    }
  }

  /// Reads a page of changes and tells them; whether there may be more.
  private func advance(
    from start: StoreRevision, for newest: Int, by deadline: ContinuousClock.Instant
  ) throws(KeyCustodyError) -> Bool {
    var (page, found) = try read(after: start, by: deadline)
    // It may have been damaged on its way.
    if page.isDamaged { (page, found) = try read(after: start, by: deadline) }
    tell(page, found, to: newest)
    return !page.isLast
  }

  private func read(
    after start: StoreRevision, by deadline: ContinuousClock.Instant
  ) throws(KeyCustodyError) -> (ChangePage, StoreState) {
    let statements = server.statements
    let answers = try session.read(by: deadline) { (connection) throws(ServerFailure) in
      if server.settings.notifies, !connection.isListening {
        // Before the first reading, so that nothing comes between.
        _ = try connection.exchange([Step(StoreStatements.listen(uuid))], by: deadline)
        connection.isListening = true
      }
      return try connection.exchange(
        [
          Step(statements.beginSnapshot), Step(statements.state),
          Step(statements.changes, .number(start.number), .number(Self.pageSize)), Step(statements.commit),
        ], by: deadline)
    }
    let found = try StoreState(answers[1], server.place)
    return (try ChangePage(answers[2], isLast: answers[2].rows.count < Self.pageSize), found)
  }

  private func tell(_ page: ChangePage, _ found: StoreState, to newest: Int) {
    let firsts = state.withLock { state -> [Request<Bool>] in
      var firsts: [Request<Bool>] = []
      // Who came while the page was read may want what is before it, or know what is behind it: the next one is theirs.
      for (id, watcher) in state.watchers where id <= newest {
        var watcher = watcher
        if let first = watcher.first { firsts.append(first) }
        watcher.tell(page, found)
        state.watchers[id] = watcher
      }
      return firsts
    }
    for first in firsts { first.give(.success(true)) }
  }

  /// Whoever waits for a first reading is told that there is none; the others wait on.
  private func fail(_ error: KeyCustodyError) {
    let firsts = state.withLock { $0.watchers.values.compactMap(\.first) }
    for first in firsts { first.give(.failure(error)) }
  }

  /// Waits for news.
  private func wait() throws(KeyCustodyError) {
    let end = ContinuousClock.now + server.settings.pollInterval
    let ended = try session.use(by: end) { (connection) throws(ServerFailure) in
      do throws(ServerFailure) {
        // What came with the last answers does not make the socket ready again.
        if try connection.takeNotifications() { return }
        while true {
          let ready = try connection.wait(for: Int16(POLLIN), until: end, or: wakeup.file)
          // Either it was woken, or the server has something to say.
          if ready == 0 { return }
          if try connection.takeNotifications() { return }
        }
      } catch {
        if case .late = error { return }
        throw error
      }
    }
    if case .failure(let failure) = ended { throw KeyCustodyError(failure, server.place) }
  }
}

extension ChangePump.Watcher {
  /// Tells what is new to this watcher.
  fileprivate mutating func tell(_ page: ChangePage, _ found: StoreState) {
    if first != nil, position == .zero { forgotten = found.forgotten }
    first = nil
    if found.revision < position {
      // The database is an older one than it was: a backup, or a standby that had not received everything.
      stream.yield(.resynchronize(found.revision))
      (position, forgotten) = (found.revision, found.forgotten)
      return
    }
    if found.forgotten > max(position, forgotten) { stream.yield(.resynchronize(found.forgotten)) }
    forgotten = max(forgotten, found.forgotten)
    // Whether a damaged record was changed since is not known; who reads again is told of it.
    if page.isDamaged { stream.yield(.resynchronize(found.revision)) }
    for (revision, change) in page.changes where revision > position { stream.yield(change) }
    position = max(position, page.isLast ? found.revision : page.end)
  }
}

/// Changes as they were read.
struct ChangePage {
  private(set) var changes: [(StoreRevision, StoreChange)] = []
  /// The last revision on the page.
  private(set) var end = StoreRevision.zero
  /// Whether a row is left out.
  private(set) var isDamaged = false
  /// Whether there is nothing behind it.
  let isLast: Bool

  init(_ answer: Answer, isLast: Bool) throws(KeyCustodyError) {
    self.isLast = isLast
    for row in answer.rows { try add(row) }
  }

  private mutating func add(_ row: [[UInt8]?]) throws(KeyCustodyError) {
    if let number = row.number(1) { end = max(end, StoreRevision(number)) }
    if row.bytes(2) == nil {
      guard let number = row.number(1), let name = row.text(0), let key = try? RecordKey(name),
        row.bytes(3) == (try RecordRow.seal(ofName: "\(number) \(name)"))
      else { return isDamaged = true }
      changes.append((StoreRevision(number), .deleted(key, StoreRevision(number))))
    } else if let record = try RecordRow(row)?.record {
      changes.append((record.revision, .put(record)))
    } else {
      isDamaged = true
    }
  }
}
