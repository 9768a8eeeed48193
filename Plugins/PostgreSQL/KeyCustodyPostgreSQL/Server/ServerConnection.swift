import CKeyCustodyPostgreSQL
import KeyCustody

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A connection to the server, for one thread at a time.
///
/// Everything blocks, and no longer than to a deadline: libpq is used without blocking, and the socket waited for here. Only
/// the name of a host is looked up by the C library, in its own time.
@safe
final class ServerConnection {
  // Safe: made in init, used by the methods alone, and freed in deinit.
  private let handle: OpaquePointer
  /// Statements that the server keeps.
  private var prepared: Set<String> = []
  /// Whether the server tells of changes on it.
  var isListening = false

  /// Connects.
  ///
  /// - Throws: `credentialRejected`; `unavailable`; `busy` where the server has no connection left.
  init(
    _ parameters: [String: String], password: borrowing SecretBytes?, by deadline: ContinuousClock.Instant,
    _ place: String
  ) throws(KeyCustodyError) {
    guard let started = unsafe Self.start(parameters, password) else {
      throw KeyCustodyError(.fault, .internalFault, "libpq has no memory for a connection.")
    }
    unsafe handle = started
    // Notices are printed on standard error otherwise.
    unsafe PQsetNoticeReceiver(handle, { _, _ in }, nil)
    // The code of an error can be told from its text alone here; and the text is of no language.
    unsafe PQsetErrorVerbosity(handle, PQERRORS_SQLSTATE)
    do throws(ServerFailure) { try finish(by: deadline) } catch {
      switch error {
      case .late: throw .serverUnreachable(place, "It did not answer in time.", nil)
      case .refused("28000", let words) where unsafe PQconnectionUsedPassword(handle) != 0:
        // So says who has passwords checked elsewhere (LDAP, PAM, RADIUS), and who lets nobody in for now.
        throw .loginRefused(place, "SQLSTATE 28000 \(words)")
      case .refused(let state, let words): throw KeyCustodyError(refusal: state, "SQLSTATE \(state) \(words)", place)
      case .lost(let words):
        throw .serverUnreachable(
          place, words.contains("certificate") || words.contains("SSL") ? "TLS failed." : "There is no connection.",
          words,
          remedy: words.contains("certificate") || words.contains("SSL")
            ? "Name the certificate authority as 'sslrootcert' in 'url', or choose another 'sslmode'."
            : "Check that the server runs and can be reached (pg_isready).")
      }
    }
    unsafe PQsetErrorVerbosity(handle, PQERRORS_TERSE)
    unsafe PQsetnonblocking(handle, 1)
  }

  deinit { unsafe PQfinish(handle) }

  /// Whether it can be used, and is in no transaction.
  var isIdle: Bool { unsafe PQstatus(handle) == CONNECTION_OK && PQtransactionStatus(handle) == PQTRANS_IDLE }

  /// What `poll` waits for.
  var socket: Int32 { unsafe PQsocket(handle) }

  private var words: String { unsafe String(cString: PQerrorMessage(handle)) }

  // MARK: Connecting

  private static func start(_ parameters: [String: String], _ password: borrowing SecretBytes?) -> OpaquePointer? {
    var names: [UnsafeMutablePointer<CChar>?] = unsafe []
    var values: [UnsafeMutablePointer<CChar>?] = unsafe []
    for (name, value) in parameters {
      unsafe names.append(strdup(name))
      unsafe values.append(strdup(value))
    }
    var secret: UnsafeMutableBufferPointer<CChar>?
    switch password {
    case nil: break
    case let password?:
      password.withBytes { bytes in
        let buffer = UnsafeMutableBufferPointer<CChar>.allocate(capacity: bytes.byteCount + 1)
        for index in 0..<bytes.byteCount { unsafe buffer[index] = CChar(bitPattern: bytes[index]) }
        unsafe buffer[bytes.byteCount] = 0
        unsafe secret = buffer
      }
      unsafe names.append(strdup("password"))
      unsafe values.append(secret?.baseAddress)
    }
    defer {
      if let secret = unsafe secret {
        if let start = secret.baseAddress { unsafe explicit_bzero(start, secret.count) }
        unsafe secret.deallocate()
        unsafe values.removeLast()
      }
      unsafe (names + values).forEach { unsafe free($0) }
    }
    let keywords = unsafe names.map { unsafe UnsafePointer($0) } + [nil]
    let contents = unsafe values.map { unsafe UnsafePointer($0) } + [nil]
    return unsafe PQconnectStartParams(keywords, contents, 0)
  }

  private func finish(by deadline: ContinuousClock.Instant) throws(ServerFailure) {
    var state = PGRES_POLLING_WRITING
    if unsafe PQstatus(handle) == CONNECTION_BAD { throw connectFailure() }
    while state != PGRES_POLLING_OK {
      switch state {
      case PGRES_POLLING_READING: _ = try wait(for: Int16(POLLIN), until: deadline)
      case PGRES_POLLING_WRITING: _ = try wait(for: Int16(POLLOUT), until: deadline)
      default: throw connectFailure()
      }
      unsafe state = PQconnectPoll(handle)
    }
  }

  /// Why there is no connection: by the SQLSTATE at the end of the text, where the server gave one.
  private func connectFailure() -> ServerFailure {
    let words = words
    let last = words.split(whereSeparator: \.isWhitespace).last ?? ""
    let isState =
      last.utf8.count == 5 && last.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) }
    return isState && words.contains(": ") ? .refused(String(last), message: "while connecting") : .lost(words)
  }

  // MARK: Waiting

  /// Waits until the socket is ready, or another file is.
  ///
  /// - Returns: what the socket is ready for.
  func wait(
    for events: Int16, until deadline: ContinuousClock.Instant, or other: Int32? = nil
  ) throws(ServerFailure) -> Int16 {
    while true {
      var files = [pollfd(fd: socket, events: events, revents: 0)]
      if let other { files.append(pollfd(fd: other, events: Int16(POLLIN), revents: 0)) }
      let left = deadline - .now
      guard left > .zero else { throw .late }
      let count = unsafe poll(&files, nfds_t(files.count), Int32(clamping: left.milliseconds + 1))
      if count > 0 { return files[0].revents }
      if count < 0, errno != EINTR { throw .lost("poll: errno \(errno)") }
    }
  }

  /// Takes in what has come; whether that was a notification.
  func takeNotifications() throws(ServerFailure) -> Bool {
    guard unsafe PQconsumeInput(handle) == 1 else { throw .lost(words) }
    var isTold = false
    while let notification = unsafe PQnotifies(handle) {
      isTold = true
      unsafe PQfreemem(notification)
    }
    return isTold
  }

  // MARK: Asking

  /// Sends statements at once, and gives their answers; after one that is refused the rest is not done.
  func exchange(_ steps: [Step], by deadline: ContinuousClock.Instant) throws(ServerFailure) -> [Answer] {
    // What came for whoever listens stays with the connection.
    guard unsafe PQenterPipelineMode(handle) == 1 else { throw .lost(words) }
    var sent: [String?] = []
    for step in steps {
      if let name = step.statement.name, !prepared.contains(name), !sent.contains(name) {
        guard unsafe PQsendPrepare(handle, name, step.statement.text, 0, nil) == 1 else { throw .lost(words) }
        sent.append(name)
      }
      guard send(step) else { throw .lost(words) }
      sent.append(nil)
    }
    guard unsafe PQpipelineSync(handle) == 1 else { throw .lost(words) }
    try flush(by: deadline)
    return try collect(sent, by: deadline)
  }

  private func send(_ step: Step) -> Bool {
    let parameters = step.parameters.map(\.bytes)
    // In one piece, with a byte more, so that an empty value has an address too and is not NULL.
    let all = parameters.flatMap(\.self) + [0]
    let lengths = parameters.map { Int32($0.count) }
    let formats = [Int32](repeating: 1, count: parameters.count)
    return unsafe all.withUnsafeBufferPointer { buffer in
      var offset = 0
      let places = unsafe parameters.map { bytes -> UnsafePointer<CChar>? in
        defer { offset += bytes.count }
        return unsafe buffer.baseAddress.map {
          unsafe UnsafeRawPointer($0 + offset).assumingMemoryBound(to: CChar.self)
        }
      }
      let count = Int32(parameters.count)
      if let name = step.statement.name {
        return unsafe PQsendQueryPrepared(handle, name, count, places, lengths, formats, 1) == 1
      }
      return unsafe PQsendQueryParams(handle, step.statement.text, count, nil, places, lengths, formats, 1) == 1
    }
  }

  private func flush(by deadline: ContinuousClock.Instant) throws(ServerFailure) {
    while true {
      let state = unsafe PQflush(handle)
      if state == 0 { return }
      guard state == 1 else { throw .lost(words) }
      // The server may want to be rid of answers before it takes more.
      let ready = try wait(for: Int16(POLLIN | POLLOUT), until: deadline)
      if ready & Int16(POLLIN) != 0, unsafe PQconsumeInput(handle) != 1 { throw .lost(words) }
    }
  }

  /// Gathers the answers; `sent` has a name for what prepares a statement, and `nil` for what runs one.
  private func collect(_ sent: [String?], by deadline: ContinuousClock.Instant) throws(ServerFailure) -> [Answer] {
    var answers: [Answer] = []
    var refusal: ServerFailure?
    for name in sent {
      switch try next(by: deadline) {
      case .answer(let answer): if let name { prepared.insert(name) } else { answers.append(answer) }
      case .refused(let failure): refusal = refusal ?? failure
      case .skipped: break
      case .synchronized, .nothing: throw .lost("an answer is missing")
      }
      guard case .nothing = try next(by: deadline) else { throw .lost("an answer too many") }
    }
    guard case .synchronized = try next(by: deadline), unsafe PQexitPipelineMode(handle) == 1 else {
      throw .lost("the end of the answers is missing")
    }
    if let refusal { throw refusal }
    return answers
  }

  private enum Result {
    case answer(Answer)
    case refused(ServerFailure)
    case skipped, synchronized, nothing
  }

  private func next(by deadline: ContinuousClock.Instant) throws(ServerFailure) -> Result {
    while unsafe PQisBusy(handle) == 1 {
      _ = try wait(for: Int16(POLLIN), until: deadline)
      guard unsafe PQconsumeInput(handle) == 1 else { throw .lost(words) }
    }
    guard let result = unsafe PQgetResult(handle) else { return .nothing }
    defer { unsafe PQclear(result) }
    switch unsafe PQresultStatus(result) {
    case PGRES_TUPLES_OK, PGRES_COMMAND_OK: return .answer(unsafe Answer(result))
    case PGRES_PIPELINE_SYNC: return .synchronized
    case PGRES_PIPELINE_ABORTED: return .skipped
    default:
      let state = unsafe PQresultErrorField(result, Int32(kc_pg_sqlstate)).map { unsafe String(cString: $0) }
      let severity = unsafe PQresultErrorField(result, Int32(kc_pg_severity)).map { unsafe String(cString: $0) }
      let words = unsafe String(cString: PQresultErrorMessage(result))
      // What is fatal ends the connection, and does not say what became of a commit.
      guard let state, severity == "ERROR", unsafe PQstatus(handle) == CONNECTION_OK else { throw .lost(words) }
      return .refused(.refused(state, message: words))
    }
  }
}

extension Answer {
  fileprivate init(_ result: OpaquePointer) {
    unsafe tag = String(cString: PQcmdStatus(result))
    unsafe changed = Int(String(cString: PQcmdTuples(result))) ?? 0
    let (height, width) = unsafe (PQntuples(result), PQnfields(result))
    rows = (0..<height).map { row in
      (0..<width).map { column in
        guard unsafe PQgetisnull(result, row, column) == 0, let value = unsafe PQgetvalue(result, row, column) else {
          return nil
        }
        let count = unsafe Int(PQgetlength(result, row, column))
        return unsafe Array(UnsafeRawBufferPointer(start: value, count: count))
      }
    }
  }
}
