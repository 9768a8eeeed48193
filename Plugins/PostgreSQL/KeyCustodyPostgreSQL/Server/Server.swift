import KeyCustody
import KeyCustodyCrypto
import Logging
import Synchronization

/// The server as all connections of a store see it: whether it is there, which store is in it, and which password it refused.
final class Server: Sendable {
  private struct State {
    /// The store's number, once it was opened.
    var uuid: [UInt8]?
    /// How often in a row there was no connection, and when to try again.
    var failures = 0
    var next = ContinuousClock.now
    var cause: KeyCustodyError?
    var refused: RefusedPassword?
    /// The host that was there the last time.
    var host = 0
  }

  let settings: PostgreSQLSettings
  /// Which tables are used.
  let kind: StoreKind
  let statements: StoreStatements
  private let state = Mutex(State())

  init(_ settings: PostgreSQLSettings, _ kind: StoreKind) {
    self.settings = settings
    self.kind = kind
    statements = StoreStatements(settings.schema)
  }

  var place: String { settings.place }

  /// Opens the store that is there, or makes it.
  ///
  /// - Returns: the store's number, and a session that may be used on.
  func open() async throws(KeyCustodyError) -> (uuid: [UInt8], session: ServerSession) {
    let session = ServerSession(self)
    let opener = try BlockingWorker()
    let request = Request<[UInt8]>(settings)
    let opening = Task {
      await opener.run {
        guard request.take() else { return }
        request.give(
          Result { () throws(KeyCustodyError) in try StoreSchema.open(session, self, by: request.deadline) })
      }
    }
    let uuid = try await request.value(settings.environment.time)
    await opening.value
    remember(uuid)
    return (uuid, session)
  }

  /// Notes which store was opened.
  private func remember(_ uuid: [UInt8]) { state.withLock { $0.uuid = uuid } }

  /// Connects, and finds the store that was opened.
  ///
  /// - Throws: `unavailable`, without trying, a moment after that failed; `integrityFailure` (`backend-mismatch`) for
  ///   another store; `credentialRejected`, without trying, for a password that was refused.
  func connect(by deadline: ContinuousClock.Instant) throws(KeyCustodyError) -> ServerConnection {
    let (wait, cause) = state.withLock { ($0.next - .now, $0.cause) }
    if wait > .zero, let cause {
      throw KeyCustodyError(
        cause.code, cause.reason, cause.message, remedy: cause.remedy, retryAfter: wait, diagnostic: cause.diagnostic)
    }
    do throws(KeyCustodyError) {
      let connection = try connectAtOnce(by: deadline)
      let hadFailed = state.withLock { state in
        defer { (state.failures, state.cause) = (0, nil) }
        return state.cause != nil
      }
      if hadFailed { settings.environment.logger.notice("The database '\(place)' can be used again.") }
      return connection
    } catch {
      if [.unavailable, .busy].contains(error.code) { note(error) }
      throw error
    }
  }

  private func connectAtOnce(by deadline: ContinuousClock.Instant) throws(KeyCustodyError) -> ServerConnection {
    let connection = try authenticate(by: deadline)
    let setting = Statement(
      "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
    let uuid = state.withLock { $0.uuid }
    let answers: [Answer]
    do throws(ServerFailure) {
      // A commit that does not wait for the disk is none.
      answers = try connection.exchange(
        [Step(setting)] + (uuid == nil ? [] : [Step(kind.version), Step(kind.identity)]), by: deadline)
    } catch { throw KeyCustodyError(error, place) }
    guard let uuid else { return connection }
    try StoreSchema.checkVersion(answers[1], self)
    guard try kind.uuid(answers[2], place) == uuid else {
      throw KeyCustodyError(
        .integrityFailure, .backendMismatch,
        "The database '\(place)' holds another \(kind.name) than the one that was opened.",
        remedy: "Find out why; then start the service anew.")
    }
    return connection
  }

  /// Connects, showing a password once.
  private func authenticate(by deadline: ContinuousClock.Instant) throws(KeyCustodyError) -> ServerConnection {
    guard let reference = settings.password else {
      let none: SecretBytes? = nil
      return try reach(password: none, by: deadline)
    }
    let read = try reference.load(settings.environment)
    let code = try read.withBytes { (bytes) throws(KeyCustodyError) in
      try Hashing.hmac(.sha256, key: bytes, [Array("refused".utf8)])
    }
    let digest = code.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
    let password: SecretBytes? = consume read
    let refused = state.withLock { $0.refused }.flatMap { $0.digest == digest ? $0 : nil }
    if let refused, refused.isKept(at: .now) {
      throw refused.pause == nil
        ? .passwordRefused(place, "not shown again") : .loginRefused(place, "not shown again for now")
    }
    do throws(KeyCustodyError) {
      let connection = try reach(password: password, by: deadline)
      state.withLock { $0.refused = nil }
      return connection
    } catch {
      if error.code == .credentialRejected {
        let isForGood = error.reason != KeyCustodyError.loginRefused
        state.withLock { $0.refused = RefusedPassword(digest, after: refused, isForGood: isForGood, at: .now) }
      }
      throw error
    }
  }

  /// Connects to the first host that is there and is what is wanted, beginning with the last one that was.
  ///
  /// Each has its share of the time, so that one that is silent keeps nobody from the next.
  private func reach(
    password: borrowing SecretBytes?, by deadline: ContinuousClock.Instant
  ) throws(KeyCustodyError) -> ServerConnection {
    let hosts = settings.hosts
    let first = state.withLock { $0.host } % hosts.count
    var failure: KeyCustodyError?
    for turn in hosts.indices {
      let host = (first + turn) % hosts.count
      let now = ContinuousClock.now
      do throws(KeyCustodyError) {
        let share = now + (deadline - now) / (hosts.count - turn)
        let connection = try ServerConnection(hosts[host], password: password, by: share, place)
        state.withLock { $0.host = host }
        return connection
      } catch {
        guard [.unavailable, .busy].contains(error.code) else { throw error }
        // What a server said tells more than that another did not.
        if failure == nil || error.isOfServer && failure?.isOfServer != true { failure = error }
      }
    }
    throw failure ?? .serverUnreachable(place, "It did not answer in time.", nil)
  }

  /// Puts the next try off: by 50 ms at first, by up to a second in the end, and not by all processes alike.
  private func note(_ error: KeyCustodyError) {
    let isFirst = state.withLock { state in
      state.failures += 1
      let pause = min(1000, 50 << min(state.failures - 1, 5))
      state.next = .now + .milliseconds(Int.random(in: pause / 2...pause))
      defer { state.cause = error }
      return state.cause == nil
    }
    if isFirst { settings.environment.logger.warning("\(error.debugDescription)") }
  }
}

extension KeyCustodyError {
  /// Whether a server gave it a code.
  fileprivate var isOfServer: Bool { diagnostic?.hasPrefix("SQLSTATE") ?? false }
}
