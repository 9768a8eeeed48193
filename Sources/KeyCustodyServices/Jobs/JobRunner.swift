public import KeyCustody
import KeyCustodyEnvelope
import Logging
import Synchronization

/// Does in the background what changes of keys leave to do: converts stored data, and tells how far it is.
///
/// Any number of processes may run one over a store that they share: a job is worked on by one at a time, and taken
/// over when that one does not show signs of life for ``Settings/patience``. Whatever ends a worker, at any instant, the
/// job goes on from where it was: what is converted already is left alone. Jobs see sealed data only, never plaintext.
///
/// ```swift
/// let runner = JobRunner(custody) { resource in [store] }
/// await runner.run()  // until the task is cancelled
/// ```
public final class JobRunner: Sendable {
  /// How jobs are worked on.
  public struct Settings: Sendable {
    /// Items a second for all jobs together; `nil` for as many as can be.
    public var itemsPerSecond: Int?
    /// Bytes a second for all jobs together; `nil` for as many as can be.
    public var bytesPerSecond: Int64?
    /// How many jobs are worked on at a time.
    public var width = 2
    /// Between two looks for jobs that others planned, and between two signs of life.
    public var interval = Duration.seconds(10)
    /// After how long without a sign of life a job is taken over.
    public var patience = Duration.seconds(30)
    /// Between two rounds of upkeep (``KeyCustody/upkeep(rotatingServiceKeysAfter:progress:)``); `nil` for none.
    public var upkeepInterval: Duration? = .seconds(3600)
    /// The service's own KEKs get a new version when the newest is older; `nil` leaves them.
    public var serviceKeyAge: Duration? = .seconds(90 * 86_400)

    /// As many as can be, two jobs at a time.
    public init() {}
  }

  private let custody: KeyCustody
  private let stores: @Sendable (ResourceID) async throws(KeyCustodyError) -> [any SealedStore]
  private let settings: Settings
  private let pace: Pace
  private let worker: String
  private struct State {
    /// The jobs that are being worked on by ``run()``.
    var working: Set<RecordKey> = []
    /// Those that it began in this round: what others have, or what failed, is not tried again at once.
    var tried: Set<RecordKey> = []
    /// The one that was begun last: the others have their turn before those in front of it.
    var last: RecordKey?
    /// Whether there was a tick since the round began.
    var isRoundDue = false

    /// Notes that a job is begun, where there is room and it was not tried yet.
    mutating func begin(_ key: RecordKey, width: Int) -> Bool {
      // One that is planned again while it is worked on is begun again after that.
      guard working.count < width, !working.contains(key), tried.insert(key).inserted else { return false }
      working.insert(key)
      last = key
      return true
    }

    /// Lets all be tried again, if it is time; called when each was tried.
    mutating func beginRound() -> Bool {
      guard isRoundDue else { return false }
      (isRoundDue, tried, last) = (false, [], nil)
      return true
    }
  }
  private let state = Mutex(State())
  /// What was seen of jobs that others have: the revision, and since when it stands.
  private let sightings = Mutex<[RecordKey: (revision: StoreRevision, since: Duration)]>([:])

  /// - Parameter stores: where a resource's sealed data is kept, all of it.
  /// - Throws: `fault` when the random source fails.
  public init(
    _ custody: KeyCustody, settings: Settings = Settings(),
    stores: @escaping @Sendable (ResourceID) async throws(KeyCustodyError) -> [any SealedStore]
  ) throws(KeyCustodyError) {
    self.custody = custody
    self.settings = settings
    self.stores = stores
    pace = Pace(
      itemsPerSecond: settings.itemsPerSecond, bytesPerSecond: settings.bytesPerSecond, time: custody.environment.time)
    worker = try custody.environment.random.bytes(8).hexadecimal
  }

  /// Works on jobs until the task is cancelled, and looks after all resources from time to time.
  ///
  /// Neither waits for the other: a long job holds up no upkeep, and no other job as long as there is room.
  public func run() async {
    let time = custody.environment.time
    let (planned, told) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let (rounds, due) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let jobs = custody.jobsPlanned.stream()
    let listening = Task {
      for await resource in jobs {
        if let path = try? JobRecord.path(resource) { state.withLock { _ = $0.tried.remove(path) } }
        told.yield()
      }
    }
    let ticks = Task { [settings] in
      while !Task.isCancelled {
        told.yield()
        due.yield()
        do { try await time.wait(until: time.running() + settings.interval) } catch { break }
        state.withLock { $0.isRoundDue = true }
      }
      told.finish()
      due.finish()
    }
    await withTaskCancellationHandler {
      async let upkeep: Void = lookAfterAll(rounds)
      await workOnJobs(planned, told)
      await upkeep
    } onCancel: {
      for task in [listening, ticks] { task.cancel() }
    }
  }

  private func lookAfterAll(_ rounds: AsyncStream<Void>) async {
    for await _ in rounds {
      do throws(KeyCustodyError) { try await runUpkeep() } catch {
        guard !Task.isCancelled else { return }
        custody.environment.logger.warning(
          "a round of upkeep was not all done", metadata: ["error": "\(error.code)/\(error.reason.rawValue)"])
      }
    }
  }

  /// Begins what is pending whenever there is room, as often as it is told.
  private func workOnJobs(_ planned: AsyncStream<Void>, _ told: AsyncStream<Void>.Continuation) async {
    await withDiscardingTaskGroup { group in
      for await _ in planned {
        for record in await begun() {
          group.addTask {
            let isFinished = await self.work(on: record)
            self.state.withLock { state in
              state.working.remove(record.key)
              if isFinished { state.tried.remove(record.key) }
            }
            // There is room for another one now.
            told.yield()
          }
        }
      }
    }
  }

  /// As many jobs as there is room for; they count as begun.
  ///
  /// Each is tried once before any is tried again, and again only after the next tick.
  private func begun() async -> [PolicyRecord] {
    var begun: [PolicyRecord] = []
    var last = state.withLock { $0.last }
    var isWhole = last == nil
    while state.withLock({ $0.working.count < settings.width }), !Task.isCancelled {
      // What was begun is worked on, whatever becomes of the rest.
      guard let page = try? await custody.jobs.store.list(prefix: JobRecord.prefix, after: last, limit: 100) else {
        break
      }
      for record in page where state.withLock({ $0.begin(record.key, width: settings.width) }) { begun.append(record) }
      last = page.last?.key
      guard page.count < 100 else { continue }
      last = nil
      guard isWhole else {
        // Those before the place where it began.
        isWhole = true
        continue
      }
      guard begun.isEmpty, state.withLock({ $0.beginRound() }) else { break }
    }
    return begun
  }

  /// Works on what is pending and not somebody else's, once.
  ///
  /// A job that fails is left for the next time, with what was in its way.
  ///
  /// - Returns: how many jobs were finished.
  @discardableResult
  public func runPending() async throws(KeyCustodyError) -> Int {
    var finished = 0
    var last: RecordKey?
    while true {
      let page = try await custody.jobs.store.list(prefix: JobRecord.prefix, after: last, limit: 100)
      finished += try await run(page)
      last = page.last?.key
      if page.count < 100 || Task.isCancelled { return finished }
    }
  }

  /// Looks after all resources, if it is time, and nobody else has just begun to.
  ///
  /// - Returns: `nil` when it was not this worker's turn.
  @discardableResult
  public func runUpkeep() async throws(KeyCustodyError) -> UpkeepReport? {
    guard let interval = settings.upkeepInterval, try await takeRound(interval) else { return nil }
    return try await custody.upkeep(rotatingServiceKeysAfter: settings.serviceKeyAge)
  }

  /// Whether the next round is this worker's: whoever changes the record first has it.
  private func takeRound(_ interval: Duration) async throws(KeyCustodyError) -> Bool {
    let key = try RecordKey("upkeep")
    let rounds = RecordView<UpkeepRound>(custody.resources.store)
    guard let found = try await custody.resources.store.read(key) else {
      return try await rounds.create(key, UpkeepRound(worker: worker, number: 1, begun: custody.environment.time.now()))
    }
    let last = try rounds.decode(found).value
    let (now, wall) = (custody.environment.time.running(), custody.environment.time.now())
    let isDue = sightings.withLock { sightings in
      guard let seen = sightings[key], seen.revision == found.revision else {
        sightings[key] = (found.revision, now)
        return false
      }
      return now - seen.since >= interval
    }
    // By either: processes may never run for so long, and a clock may be set back.
    guard isDue || last.begun + interval <= wall else { return false }
    let next = UpkeepRound(worker: worker, number: last.number + 1, begun: wall)
    return try await rounds.replace(key, expecting: found.revision, with: next) != nil
  }

  private func run(_ page: [PolicyRecord]) async throws(KeyCustodyError) -> Int {
    await withTaskGroup(of: Bool.self) { group in
      var finished = 0
      for (index, record) in page.enumerated() {
        if index >= settings.width, await group.next() == true { finished += 1 }
        group.addTask { await self.work(on: record) }
      }
      for await isFinished in group where isFinished { finished += 1 }
      return finished
    }
  }

  /// - Returns: whether the job is finished.
  private func work(on record: PolicyRecord) async -> Bool {
    guard !Task.isCancelled, let claimed = try? await claim(record) else { return false }
    let attempt = JobAttempt(
      record.key, claimed, custody: custody, pace: pace, interval: settings.interval, stores: stores)
    return await attempt.run()
  }

  /// The job, if this worker has it now.
  private func claim(
    _ record: PolicyRecord
  ) async throws(KeyCustodyError) -> RecordView<JobRecord>.Revised? {
    let view = custody.jobs
    var job = try view.decode(record).value
    if let claim = job.claim {
      guard isAbandoned(record, claim) else { return nil }
    }
    job.claim = JobRecord.Claim(worker: worker, beat: 0)
    return try await view.replace(record.key, expecting: record.revision, with: job)
  }

  /// Whether whoever has the job showed no sign of life for long enough, by the time that passes here.
  private func isAbandoned(_ record: PolicyRecord, _ claim: JobRecord.Claim) -> Bool {
    let now = custody.environment.time.running()
    return sightings.withLock { sightings in
      guard let seen = sightings[record.key], seen.revision == record.revision else {
        sightings[record.key] = (record.revision, now)
        return false
      }
      guard now - seen.since >= settings.patience else { return false }
      sightings[record.key] = nil
      return true
    }
  }
}

/// Whose the last round of upkeep was.
private struct UpkeepRound: Codable, Sendable {
  var worker: String
  var number: Int
  var begun: Timestamp
}
