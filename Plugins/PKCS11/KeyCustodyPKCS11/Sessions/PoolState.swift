import KeyCustody

/// Who works, who waits and who is late: the rules of a pool as a plain value.
///
/// A worker whose call does not come back by its job's deadline is *late*: it counts no more, and another may be started
/// in its place, up to a limit.
struct PoolState<Job: AnyObject, Worker: AnyObject> {
  /// What to do with a new job.
  enum Answer {
    /// Give it to a worker.
    case run(on: Worker)
    /// It waits in the queue; start a worker that comes for it.
    case start
    /// It waits in the queue.
    case wait
    /// Go away.
    case refuse(KeyCustodyError)
  }
  /// What a worker does next.
  enum Next {
    /// Another job.
    case run(Job)
    /// Nothing, until it is given a job.
    case rest
    /// It ends.
    case end
  }
  private struct Running {
    let job: Job
    let deadline: Duration
    var isLate = false
  }

  private let limit: Int
  private let lateLimit: Int
  private let queueLimit: Int
  private var idle: [Worker] = []
  private var queue: [(job: Job, deadline: Duration)] = []
  private var running: [ObjectIdentifier: Running] = [:]
  /// Workers that are not late, resting ones included.
  private(set) var alive = 0
  /// The token has no more sessions to give before this moment.
  private var growsFrom: Duration = .zero
  private(set) var isClosed = false

  init(limit: Int, lateLimit: Int, queueLimit: Int) {
    self.limit = limit
    self.lateLimit = lateLimit
    self.queueLimit = queueLimit
  }

  /// Whether nothing waits or runs, late ones aside.
  var isQuiet: Bool { queue.isEmpty && running.values.allSatisfy(\.isLate) }
  /// Workers that are late.
  var late: Int { running.values.count { $0.isLate } }
  /// How many jobs wait.
  var waiting: Int { queue.count }

  /// Takes a job.
  mutating func add(_ job: Job, deadline: Duration, at now: Duration) -> Answer {
    guard !isClosed else { return .refuse(LendingClosed.error) }
    if let worker = idle.popLast() { return .run(on: worker) }
    if canGrow(at: now) {
      alive += 1
      queue.append((job, deadline))
      return .start
    }
    guard alive > 0 else { return .refuse(Self.allLate(late)) }
    guard queue.count < queueLimit else { return .refuse(Self.full(queue.count)) }
    queue.append((job, deadline))
    return .wait
  }

  private func canGrow(at now: Duration) -> Bool {
    alive < limit && alive + late < limit + lateLimit && (alive == 0 || now >= growsFrom)
  }

  /// Notes that a worker could not be started.
  mutating func lose() { alive -= 1 }

  /// Notes that a worker begins a job.
  mutating func begin(_ job: Job, deadline: Duration, on worker: Worker) {
    running[ObjectIdentifier(worker)] = Running(job: job, deadline: deadline)
  }

  /// Takes a worker back.
  mutating func finish(_ worker: Worker) -> Next {
    let wasLate = running.removeValue(forKey: ObjectIdentifier(worker))?.isLate ?? false
    if wasLate {
      guard alive < limit, !isClosed else { return .end }
      alive += 1
    }
    if !queue.isEmpty {
      let next = queue.removeFirst()
      begin(next.job, deadline: next.deadline, on: worker)
      return .run(next.job)
    }
    if isClosed {
      alive -= 1
      return .end
    }
    idle.append(worker)
    return .rest
  }

  /// Takes a worker back for which the token had no session, and its job.
  ///
  /// - Returns: a resting worker for the job; otherwise the jobs that nobody is left to do, the worker's own among them
  ///   unless it waits in the queue now.
  mutating func giveUp(_ worker: Worker, at now: Duration) -> (rescuer: Worker?, stranded: [Job]) {
    guard let entry = running.removeValue(forKey: ObjectIdentifier(worker)) else { return (nil, []) }
    growsFrom = now + .seconds(1)
    // Answered already.
    guard !entry.isLate else { return (nil, []) }
    alive -= 1
    if let other = idle.popLast() {
      begin(entry.job, deadline: entry.deadline, on: other)
      return (other, [])
    }
    queue.insert((entry.job, entry.deadline), at: 0)
    return (nil, stranded())
  }

  /// Stops a job's waiting; `false` when it waits no longer.
  mutating func leave(_ job: Job) -> Bool {
    guard let index = queue.firstIndex(where: { $0.job === job }) else { return false }
    queue.remove(at: index)
    return true
  }

  /// The jobs whose deadline has passed: those that waited leave, workers on others are late from now on.
  ///
  /// - Returns: also how many workers are to be started for those who still wait.
  mutating func overdue(at now: Duration) -> (waited: [Job], running: [Job], starts: Int) {
    let waited = queue.filter { $0.deadline <= now }.map(\.job)
    queue.removeAll { $0.deadline <= now }
    var slow: [Job] = []
    for (worker, entry) in running where !entry.isLate && entry.deadline <= now {
      running[worker]?.isLate = true
      alive -= 1
      slow.append(entry.job)
    }
    var starts = 0
    while starts < queue.count, canGrow(at: now) {
      alive += 1
      starts += 1
    }
    return (waited, slow, starts)
  }

  /// A job for a worker that was started for those who wait.
  mutating func takeWaiting(for worker: Worker) -> Next {
    guard !queue.isEmpty else {
      guard !isClosed else {
        alive -= 1
        return .end
      }
      idle.append(worker)
      return .rest
    }
    let next = queue.removeFirst()
    begin(next.job, deadline: next.deadline, on: worker)
    return .run(next.job)
  }

  /// Everybody who waits, when no worker is left who could come to them.
  mutating func stranded() -> [Job] {
    guard alive == 0, !queue.isEmpty else { return [] }
    defer { queue = [] }
    return queue.map(\.job)
  }

  /// The earliest deadline of those that wait or run.
  var nextDeadline: Duration? {
    let first = queue.map(\.deadline).min()
    let second = running.values.filter { !$0.isLate }.map(\.deadline).min()
    return [first, second].compactMap { $0 }.min()
  }

  /// Takes no more jobs; hands out those that wait, and the workers that rest.
  mutating func close() -> (jobs: [Job], workers: [Worker]) {
    isClosed = true
    defer {
      alive -= idle.count
      queue = []
      idle = []
    }
    return (queue.map(\.job), idle)
  }

  static func allLate(_ count: Int) -> KeyCustodyError {
    KeyCustodyError(
      .unavailable, PKCS11SessionPool.hanging, "\(count) calls to the token don't come back.",
      remedy: "Check the token and its connection.", retryAfter: .seconds(1))
  }

  private static func full(_ count: Int) -> KeyCustodyError {
    KeyCustodyError(
      .busy, .init("queue-full"), "\(count) calls wait for a session of the token already.",
      remedy: "Raise 'sessions' if the token allows it, or send fewer calls.", retryAfter: .milliseconds(250))
  }
}

/// The one answer after closing.
enum LendingClosed {
  static let error = KeyCustodyError(
    .unavailable, .closed, "This backend was closed.", remedy: "Open it again.")
}
