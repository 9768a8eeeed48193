import KeyCustody
import Synchronization

/// Lends sessions of a token to tasks: a fixed number of sessions, a bounded queue of those that wait.
final class PKCS11SessionPool: Sendable {
  private typealias Waiter = CheckedContinuation<Result<PKCS11Session, KeyCustodyError>, Never>
  private struct State {
    var lending: LendingState<PKCS11Session, Waiter>
    var closing: Task<Void, Never>?
    var whenAllAreBack: CheckedContinuation<Void, Never>?
    var nextTicket = 0
  }
  private let state: Mutex<State>
  private let sessions: [PKCS11Session]
  private let time: any TimeSource

  /// How many tasks may wait for a session.
  static let queueLimit = 512

  /// Opens the sessions.
  init(_ token: PKCS11Token, count: Int, time: any TimeSource) async throws(KeyCustodyError) {
    var sessions: [PKCS11Session] = []
    for _ in 0..<count { sessions.append(try PKCS11Session(token)) }
    self.sessions = sessions
    self.time = time
    state = Mutex(State(lending: LendingState(idle: sessions, queueLimit: Self.queueLimit)))
    do {
      for session in sessions { try await session.open() }
    } catch {
      for session in sessions { await session.close() }
      throw error
    }
  }

  /// Runs work on a session, as soon as one is free.
  ///
  /// - Throws: `busy` when too many wait already, `timeout` when the deadline passes first, `unavailable` (`closed`).
  func run<Result: ~Copyable>(
    deadline: Duration?, isRepeatable: Bool,
    _ work: @Sendable (CryptokiSession) throws(PKCS11Failure) -> sending Result
  ) async throws(KeyCustodyError) -> sending Result {
    let session = try await take(deadline: deadline)
    defer { give(back: session) }
    do { return try await session.run(isRepeatable: isRepeatable, work) } catch { throw error.translated }
  }

  private func take(deadline: Duration?) async throws(KeyCustodyError) -> PKCS11Session {
    if let deadline, time.running() >= deadline { throw Self.late }
    let (idle, ticket) = state.withLock { state in
      state.nextTicket += 1
      return (state.lending.takeIdle(), state.nextTicket)
    }
    if let idle { return idle }
    let alarm = deadline.map { deadline in
      Task { [time, weak self] in
        guard (try? await time.wait(until: deadline)) != nil else { return }
        self?.leave(ticket, Self.late)
      }
    }
    defer { alarm?.cancel() }
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { (waiter: Waiter) in
        switch state.withLock({ $0.lending.enter(ticket, waiter) }) {
        case .lend(let session): waiter.resume(returning: .success(session))
        case .refuse(let error): waiter.resume(returning: .failure(error))
        case .wait:
          // What happened before the waiter stood in the queue found nobody to wake.
          if Task.isCancelled { leave(ticket, Self.cancelled) }
          if let deadline, time.running() >= deadline { leave(ticket, Self.late) }
        }
      }
    } onCancel: {
      leave(ticket, Self.cancelled)
    }
    return try result.get()
  }

  private func leave(_ ticket: Int, _ error: KeyCustodyError) {
    state.withLock { $0.lending.leave(ticket) }?.resume(returning: .failure(error))
  }

  private func give(back session: PKCS11Session) {
    let (next, done) = state.withLock { state -> (Waiter?, CheckedContinuation<Void, Never>?) in
      let next = state.lending.give(back: session)
      guard state.lending.lent == 0, let done = state.whenAllAreBack else { return (next, nil) }
      state.whenAllAreBack = nil
      return (next, done)
    }
    next?.resume(returning: .success(session))
    done?.resume()
  }

  /// Refuses new work, lets running work end, closes the sessions.
  ///
  /// Everyone who calls it waits until that is done.
  func close(_ afterwards: @escaping @Sendable () async -> Void) async {
    let (task, waiters) = state.withLock { state -> (Task<Void, Never>, [Waiter]) in
      if let task = state.closing { return (task, []) }
      let waiters = state.lending.close()
      let task = Task {
        await allBack()
        for session in sessions { await session.close() }
        await afterwards()
      }
      state.closing = task
      return (task, waiters)
    }
    for waiter in waiters { waiter.resume(returning: .failure(LendingClosed.error)) }
    await task.value
  }

  private func allBack() async {
    await withCheckedContinuation { continuation in
      let isDone = state.withLock { state in
        if state.lending.lent == 0 { return true }
        state.whenAllAreBack = continuation
        return false
      }
      if isDone { continuation.resume() }
    }
  }

  private static let late = KeyCustodyError(
    .timeout, .deadline, "The call's deadline passed before a session of the token was free. Nothing was done.",
    remedy: "Raise 'sessions' if the token allows it, or the deadline.")
  private static let cancelled = KeyCustodyError(
    .timeout, .init("cancelled"), "The call was cancelled before a session of the token was free. Nothing was done.")
}
