import CKeyCustodyPKCS11
import KeyCustody
import Synchronization

/// Runs work on sessions of a token: so many at once, a bounded queue of those that wait, nobody longer than to the
/// deadline.
///
/// Each session has a thread of its own. A call that does not come back costs its thread; the task that waits for it is
/// answered at the deadline, and another thread takes the place.
final class PKCS11SessionPool: Sendable {
  private typealias State = PoolState<PoolJob, SessionWorker>
  private struct Shared {
    var pool: State
    var closing: Task<Void, Never>?
    var whenQuiet: CheckedContinuation<Void, Never>?
    var watch: (until: Duration, task: Task<Void, Never>)?
  }
  private let shared: Mutex<Shared>
  private let token: PKCS11Token
  private let time: any TimeSource
  private let patience: Duration

  /// The reason of errors that say that no session comes back.
  static let hanging = KeyCustodyError.Reason("token-hangs")
  /// How many tasks may wait for a session.
  static let queueLimit = 512

  /// A pool of up to `count` sessions, opened when they are needed; a call without a deadline of its own is given
  /// `patience`.
  ///
  /// Without `replacesLate` no call is begun in the place of one that does not come back.
  init(_ token: PKCS11Token, count: Int, replacesLate: Bool = true, patience: Duration, time: any TimeSource) {
    self.token = token
    self.patience = patience
    self.time = time
    shared = Mutex(Shared(pool: State(limit: count, lateLimit: replacesLate ? count : 0, queueLimit: Self.queueLimit)))
  }

  /// How many workers there are, and how many of those don't come back.
  var workers: (alive: Int, late: Int) { shared.withLock { ($0.pool.alive, $0.pool.late) } }

  /// How many calls wait for a session.
  var waiting: Int { shared.withLock { $0.pool.waiting } }

  /// Runs work on a session, as soon as one is free; again, where a call in it failed for the token's fault.
  ///
  /// - Throws: `busy` when too many wait already or the token has no session to give, `timeout` when the deadline passes
  ///   first, `unavailable`.
  func run<Result: ~Copyable & Sendable>(
    deadline: Duration?, patience: Duration? = nil,
    _ work: @escaping @Sendable (CryptokiSession) throws(PKCS11Failure) -> Result
  ) async throws(KeyCustodyError) -> Result {
    guard !token.module.cryptoki.isForked else { throw Cryptoki.forked }
    let now = time.running()
    let deadline = deadline ?? now + (patience ?? self.patience)
    guard now < deadline else { throw Self.lateInQueue }
    let box = ResultBox<Result>()
    let job = PoolJob(deadline: deadline) { (caller, job) throws(PKCS11Failure) in
      do throws(PKCS11Failure) {
        box.put(try caller.run(isWanted: { job.isWanted }, work))
        return nil
      } catch {
        guard error.code != CKR_SESSION_COUNT else { throw error }
        return error.translated
      }
    }
    if let error = await answer(to: job, now) { throw error }
    guard let result = box.take() else {
      throw KeyCustodyError(.fault, .internalFault, "The work on the token left no result.")
    }
    return result
  }

  private func answer(to job: PoolJob, _ now: Duration) async -> KeyCustodyError? {
    await withTaskCancellationHandler {
      await withCheckedContinuation { waiter in
        job.wait(waiter)
        submit(job, now)
        // A cancellation before the job stood in the queue found nothing to withdraw.
        if Task.isCancelled { withdraw(job) }
      }
    } onCancel: {
      withdraw(job)
    }
  }

  private func submit(_ job: PoolJob, _ now: Duration) {
    let answer = shared.withLock { shared in
      let answer = shared.pool.add(job, deadline: job.deadline, at: now)
      if case .run(let worker) = answer { shared.pool.begin(job, deadline: job.deadline, on: worker) }
      if case .refuse = answer { return answer }
      if shared.watch.map({ job.deadline < $0.until }) ?? true { watch(&shared, until: job.deadline) }
      return answer
    }
    switch answer {
    case .run(let worker): begin(job, on: worker)
    case .start: start()
    case .wait: break
    case .refuse(let error): job.answer(error)
    }
  }

  private func withdraw(_ job: PoolJob) {
    if shared.withLock({ $0.pool.leave(job) }) { job.answer(Self.cancelled) }
  }

  // MARK: Workers

  /// Starts a worker for the first that waits.
  private func start() {
    let worker: SessionWorker
    do throws(KeyCustodyError) { worker = try SessionWorker(token) } catch {
      let jobs = shared.withLock { shared in
        shared.pool.lose()
        return shared.pool.stranded()
      }
      for job in jobs { job.answer(error) }
      return
    }
    if case .run(let job) = shared.withLock({ $0.pool.takeWaiting(for: worker) }) { begin(job, on: worker) }
  }

  private func begin(_ job: PoolJob, on worker: SessionWorker) {
    worker.thread.perform { [self] in work(job, on: worker) }
  }

  /// Runs on the worker's thread, for as long as there is work.
  private func work(_ first: PoolJob, on worker: SessionWorker) {
    var job = first
    while true {
      let error: KeyCustodyError?
      do throws(PKCS11Failure) { error = try worker.run(job) } catch {
        return giveUp(worker, job, error)
      }
      let (next, quiet) = shared.withLock { shared in
        (shared.pool.finish(worker), Self.takeQuiet(&shared))
      }
      job.answer(error)
      quiet?.resume()
      switch next {
      case .run(let following): job = following
      case .rest: return
      case .end: return worker.close()
      }
    }
  }

  /// The token has no session for this worker: others do its work, if there are any.
  private func giveUp(_ worker: SessionWorker, _ job: PoolJob, _ failure: PKCS11Failure) {
    let now = time.running()
    let (rescue, quiet) = shared.withLock { shared in
      (shared.pool.giveUp(worker, at: now), Self.takeQuiet(&shared))
    }
    worker.close()
    if let other = rescue.rescuer { begin(job, on: other) }
    for job in rescue.stranded { job.answer(failure.translated) }
    quiet?.resume()
  }

  // MARK: Deadlines

  /// Wakes at the earliest deadline; most calls are over by then, so one task watches over very many.
  private func watch(_ shared: inout Shared, until deadline: Duration) {
    shared.watch?.task.cancel()
    shared.watch = (
      deadline,
      Task { [weak self, time] in
        var next: Duration? = deadline
        while let moment = next {
          guard (try? await time.wait(until: moment)) != nil, let self else { return }
          next = self.answerLate()
        }
      }
    )
  }

  private func answerLate() -> Duration? {
    let now = time.running()
    let (late, stranded, next, quiet) = shared.withLock { shared in
      let late = shared.pool.overdue(at: now)
      let next = shared.pool.nextDeadline
      if let next { shared.watch?.until = next } else { shared.watch = nil }
      return (late, shared.pool.stranded(), next, Self.takeQuiet(&shared))
    }
    for job in late.waited { job.answer(Self.lateInQueue) }
    for job in late.running { job.answer(Self.lateInToken) }
    for job in stranded { job.answer(State.allLate(workers.late)) }
    for _ in 0..<late.starts { start() }
    quiet?.resume()
    return next
  }

  // MARK: The end

  /// Refuses new work, lets running work end (no longer than to its deadline), closes the sessions.
  ///
  /// Everyone who calls it waits until that is done.
  func close(_ afterwards: @escaping @Sendable () async -> Void) async {
    let (task, jobs) = shared.withLock { shared -> (Task<Void, Never>, [PoolJob]) in
      if let task = shared.closing { return (task, []) }
      let (jobs, workers) = shared.pool.close()
      let task = Task {
        await untilQuiet()
        // A session that does not close is left to itself, and so is its module.
        let limit = time.running() + patience
        for worker in workers {
          try? await LateCall.run(on: worker.thread, deadline: limit, time, abandoned: { _ in }) { worker.close() }
        }
        await afterwards()
        self.shared.withLock { $0.watch?.task.cancel() }
      }
      shared.closing = task
      return (task, jobs)
    }
    for job in jobs { job.answer(LendingClosed.error) }
    await task.value
  }

  private func untilQuiet() async {
    await withCheckedContinuation { continuation in
      let isQuiet = shared.withLock { shared in
        if shared.pool.isQuiet { return true }
        shared.whenQuiet = continuation
        return false
      }
      if isQuiet { continuation.resume() }
    }
  }

  private static func takeQuiet(_ shared: inout Shared) -> CheckedContinuation<Void, Never>? {
    guard shared.pool.isQuiet else { return nil }
    defer { shared.whenQuiet = nil }
    return shared.whenQuiet
  }

  private static let lateInQueue = KeyCustodyError(
    .timeout, .deadline, "The call's deadline passed before a session of the token was free. Nothing was done.",
    remedy: "Raise 'sessions' if the token allows it, or the deadline.")
  private static let lateInToken = KeyCustodyError(
    .timeout, .deadline, "The token did not answer by the call's deadline. Whether it acted is unknown.",
    remedy: "Look before repeating what makes or destroys keys; check the token and its connection.")
  private static let cancelled = KeyCustodyError(
    .timeout, .init("cancelled"), "The call was cancelled before a session of the token was free. Nothing was done.")
}
