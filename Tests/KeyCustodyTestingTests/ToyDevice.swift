import KeyCustody
import KeyCustodyTesting
import Synchronization

/// A device with items under names, behind sessions and a login: what toys under faults stand on.
final class ToyDevice: Sendable {
  enum Failure: Error, Hashable {
    case broken, full, noSession, notLoggedIn, wrongPIN
  }
  private struct State {
    var items: [String: [UInt8]] = [:]
    var session = 0
    var isLoggedIn = false
  }
  private let state = Mutex(State())
  let faults = FaultSwitch(Set(FaultKind.allCases))
  let instance: String
  private static let count = Atomic(0)

  init() { instance = "device \(Self.count.add(1, ordering: .relaxed).newValue)" }

  /// Opens a session.
  func open() async throws(Failure) -> Int {
    try await call { state in
      state.session += 1
      return state.session
    }
  }

  /// Logs in, for every session.
  func logIn(_ session: Int) async throws(Failure) {
    let isRefused = faults.refusesCredential()
    try await call { (state) throws(Failure) in
      guard session == state.session else { throw .noSession }
      if isRefused { throw .wrongPIN }
      state.isLoggedIn = true
    }
  }

  func read(_ name: String, _ session: Int) async throws(Failure) -> [UInt8]? {
    try await call(session) { $0.items[name] }
  }
  func names(_ session: Int) async throws(Failure) -> [String] {
    try await call(session) { $0.items.keys.sorted() }
  }
  /// Adds an item; `false` when the name is taken.
  func add(_ name: String, _ bytes: [UInt8], _ session: Int) async throws(Failure) -> Bool {
    try await call(session, grows: true) { state in
      guard state.items[name] == nil else { return false }
      state.items[name] = bytes
      return true
    }
  }
  /// Replaces an item.
  func write(_ name: String, _ bytes: [UInt8], _ session: Int) async throws(Failure) {
    try await call(session, grows: true) { $0.items[name] = bytes }
  }
  func remove(_ name: String, _ session: Int) async throws(Failure) -> Bool {
    try await call(session) { $0.items.removeValue(forKey: name) != nil }
  }

  private func call<Answer: Sendable>(
    _ session: Int? = nil, grows: Bool = false, _ work: @Sendable (inout State) throws(Failure) -> Answer
  ) async throws(Failure) -> Answer {
    let action = await faults.enterSuspending(grows: grows)
    switch action {
    case .fail(.full): throw .full
    case .fail: throw .broken
    case .cut:
      state.withLock { state in
        state.session += 1
        state.isLoggedIn = false
      }
    case .logOut: state.withLock { $0.isLoggedIn = false }
    case .work, .workThenFail, .lookEmpty, .corrupt: break
    }
    let answer = try state.withLock { (state) throws(Failure) -> Answer in
      if let session {
        guard session == state.session else { throw .noSession }
        guard state.isLoggedIn else { throw .notLoggedIn }
      }
      guard action == .lookEmpty, session != nil else { return try work(&state) }
      var nothing = State()
      nothing.session = state.session
      return try work(&nothing)
    }
    if action == .workThenFail { throw .broken }
    guard action == .corrupt else { return answer }
    if let bytes = answer as? [UInt8], let flipped = FaultSwitch.flipped(bytes) as? Answer { return flipped }
    if let names = answer as? [String], let fewer = names.map({ $0.uppercased() }) as? Answer { return fewer }
    return answer
  }
}

/// A way to a device that opens a session and logs in as needed, and says what failed.
final class ToyLink: Sendable {
  private struct State {
    var session: Int?
    var isRejected = false
    var isAway = false
    var isFirstRefusal = true
  }
  let device: ToyDevice
  private let state = Mutex(State())
  private let flaw: FaultFlaw?
  let broadcaster = EventBroadcaster<KeyProviderEvent>()

  init(_ device: ToyDevice, _ flaw: FaultFlaw?) {
    self.device = device
    self.flaw = flaw
  }

  /// Works with the device; where its session is gone, once more with a new one.
  ///
  /// - Parameter changes: whether the work may have happened when no answer comes.
  func run<Answer: Sendable>(
    changes: Bool = false, deadline: Duration? = nil,
    _ work: @escaping @Sendable (ToyDevice, Int) async throws(ToyDevice.Failure) -> Answer
  ) async throws(KeyCustodyError) -> Answer {
    if flaw == .cachesFailure, state.withLock({ $0.isAway }) { throw Self.away }
    guard let deadline, flaw != .hangsPastDeadline else { return try await attempt(changes, work) }
    let remaining = deadline - SystemTime().running()
    do {
      return try await firstAnswer(within: remaining) { [self] () async throws(KeyCustodyError) in
        try await attempt(changes, work)
      }
    }
  }

  private func attempt<Answer: Sendable>(
    _ changes: Bool, _ work: @Sendable (ToyDevice, Int) async throws(ToyDevice.Failure) -> Answer
  ) async throws(KeyCustodyError) -> Answer {
    for round in 0..<3 {
      let isLast = round == 2
      do throws(ToyDevice.Failure) {
        let answer = try await work(device, try await session())
        tell(isAway: false)
        return answer
      } catch {
        switch error {
        case .wrongPIN:
          if flaw == .retriesCredential, !isLast { continue }
          state.withLock { $0.isRejected = flaw != .retriesCredential }
          throw KeyCustodyError(.credentialRejected, .wrongSecret, "The PIN was refused.")
        case .noSession, .notLoggedIn:
          if flaw == .notFoundWhenLoggedOut {
            throw KeyCustodyError(.notFound, .keyVersionUnknown, "There is no such key.")
          }
          if flaw == .keepsDeadSessions { throw Self.away }
          state.withLock { $0.session = nil }
          if isLast { throw Self.away }
        case .full: throw KeyCustodyError(.unavailable, "no-space", "The device is full.")
        case .broken:
          tell(isAway: true)
          if state.withLock({ $0.isRejected }) { throw Self.rejected }
          // Whether a change was made before the answer was lost is not known.
          if changes, flaw != .lostAnswerIsRefusal {
            throw KeyCustodyError(.timeout, .unreachable, "The device did not answer; it may have happened.")
          }
          throw flaw == .outageIsFault ? KeyCustodyError(.fault, .internalFault, "The device is broken.") : Self.away
        }
      }
    }
    throw Self.away
  }

  /// The session there is, or a new one.
  private func session() async throws(ToyDevice.Failure) -> Int {
    if state.withLock({ $0.isRejected }) { throw .wrongPIN }
    if let session = state.withLock({ $0.session }) { return session }
    let session = try await device.open()
    try await device.logIn(session)
    state.withLock { $0.session = session }
    return session
  }

  private func tell(isAway: Bool) {
    let changed = state.withLock { state in
      defer { state.isAway = isAway || (state.isAway && flaw == .cachesFailure) }
      return state.isAway != isAway
    }
    guard changed else { return }
    if isAway { broadcaster.send(.unavailable(reason: "broken")) }
    if !isAway, flaw != .forgetsAvailable { broadcaster.send(.available) }
  }

  private static let away = KeyCustodyError(.unavailable, .unreachable, "The device can't be reached.")
  private static let rejected = KeyCustodyError(.credentialRejected, .wrongSecret, "The PIN was refused.")
}

/// Runs `body`, and gives up waiting for it after a while of real time.
private func firstAnswer<Answer: Sendable>(
  within limit: Duration, _ body: @escaping @Sendable () async throws(KeyCustodyError) -> Answer
) async throws(KeyCustodyError) -> Answer {
  let (answers, sender) = AsyncStream.makeStream(of: Result<Answer, KeyCustodyError>.self)
  Task {
    do throws(KeyCustodyError) { sender.yield(.success(try await body())) } catch { sender.yield(.failure(error)) }
  }
  let timer = Task {
    // The time the caller allows; one that was answered does not wait for it.
    try await Task.sleep(for: limit)
    sender.finish()
  }
  defer { timer.cancel() }
  for await answer in answers { return try answer.get() }
  throw KeyCustodyError(.timeout, .deadline, "The device did not answer in time.")
}
