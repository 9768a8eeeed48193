import KeyCustody
import KeyCustodyEnvelope
import Synchronization

/// One worker's work on one job, for as long as the job is its own.
final class JobAttempt: Sendable {
  private let key: RecordKey
  private let custody: KeyCustody
  private let pace: Pace
  private let interval: Duration
  private let stores: @Sendable (ResourceID) async throws(KeyCustodyError) -> [any SealedStore]
  private struct State {
    var record: JobRecord
    var revision: StoreRevision
    /// Since when the time is not yet in the job's seconds.
    var counted: Duration
    var isLost = false
    /// Whether the job was planned once more since it was claimed: then it is not over with this attempt.
    var isPlannedAgain = false
  }
  private let state: Mutex<State>
  private let resource: ResourceID
  private let worker: String?

  init(
    _ key: RecordKey, _ claimed: RecordView<JobRecord>.Revised, custody: KeyCustody, pace: Pace, interval: Duration,
    stores: @escaping @Sendable (ResourceID) async throws(KeyCustodyError) -> [any SealedStore]
  ) {
    self.key = key
    self.custody = custody
    self.pace = pace
    self.interval = interval
    self.stores = stores
    resource = claimed.value.job.resource
    worker = claimed.value.claim?.worker
    state = Mutex(
      State(record: claimed.value, revision: claimed.revision, counted: custody.environment.time.running()))
  }

  /// - Returns: whether the job is finished.
  func run() async -> Bool {
    let work = Task { () async -> KeyCustodyError? in
      do throws(KeyCustodyError) { try await convert() } catch { return error }
      return nil
    }
    let beats = Task { await beat { work.cancel() } }
    let error = await withTaskCancellationHandler {
      await work.value
    } onCancel: {
      work.cancel()
    }
    beats.cancel()
    await beats.value
    if let error { return await giveBack(error) }
    return await finish()
  }

  private func convert() async throws(KeyCustodyError) {
    let places = try await stores(resource)
    let handle: ProtectedResource
    do throws(KeyCustodyError) { handle = try await custody.resource(resource) } catch {
      // It was deleted: there is nothing left to do.
      if error.reason == .resourceUnknown { return }
      throw error
    }
    if state.withLock({ $0.record.job.progress.totalItems == 0 }) {
      let outgoing = try await handle.rootKeyUse(in: places).filter {
        $0.layer == .customer && $0.group == .longTerm && !$0.isPrimary
      }
      state.withLock {
        $0.record.job.progress.totalItems = outgoing.reduce(0) { $0 + ($1.items ?? 0) }
        $0.record.job.progress.totalBytes = outgoing.reduce(0) { $0 + ($1.bytes ?? 0) }
      }
    }
    _ = try await handle.resumeConversion(of: places, pace: pace) { item in
      self.state.withLock {
        $0.record.job.progress.items += 1
        $0.record.job.progress.bytes += item.size
      }
    }
  }

  /// Shows signs of life with the progress so far, until the job is somebody else's.
  private func beat(ifLost: () -> Void) async {
    let time = custody.environment.time
    while true {
      do { try await time.wait(until: time.running() + interval) } catch { return }
      if await !write({ $0.claim?.beat += 1 }) { return ifLost() }
    }
  }

  /// Writes the job down.
  ///
  /// - Returns: `false` when it is not this worker's any more. What is only out of reach may be its own still.
  private func write(_ change: (inout JobRecord) -> Void) async -> Bool {
    let now = custody.environment.time.running()
    state.withLock { state in
      state.record.job.progress.seconds += (now - state.counted).inSeconds
      state.counted = now
      change(&state.record)
    }
    do throws(KeyCustodyError) {
      while true {
        let (record, revision) = state.withLock { ($0.record, $0.revision) }
        if let written = try await custody.jobs.replace(key, expecting: revision, with: record) {
          state.withLock { $0.revision = written.revision }
          break
        }
        guard await isOwn() else { return false }
      }
    } catch { return true }
    custody.resourceChanges.send(resource)
    return true
  }

  /// Whether the record in the store is this worker's all the same: an earlier answer was lost, or the job was planned
  /// again.
  private func isOwn() async -> Bool {
    guard let found = try? await custody.jobs.readRevised(key), found.value.claim?.worker == worker else {
      state.withLock { $0.isLost = true }
      return false
    }
    state.withLock { state in
      state.revision = found.revision
      if found.value.plans != state.record.plans { state.isPlannedAgain = true }
      state.record.plans = found.value.plans
    }
    return true
  }

  private func finish() async -> Bool {
    // A change that was planned again meanwhile is not over with this one.
    guard let record = try? await custody.record(resource) else { return await remove() }
    guard !record.mode.isConverting, record.outgoing.isEmpty else { return await giveBack(nil) }
    return await remove()
  }

  private func remove() async -> Bool {
    let (revision, isPlannedAgain) = state.withLock { ($0.revision, $0.isPlannedAgain) }
    if isPlannedAgain { return await giveBack(nil) }
    switch try? await custody.jobs.store.delete(key, expecting: revision) {
    case .stored: return true
    case .conflict: _ = await isOwn()
    case nil: break
    }
    return await giveBack(nil)
  }

  /// Lets go of the job, with what was in its way.
  private func giveBack(_ error: KeyCustodyError?) async -> Bool {
    guard !state.withLock({ $0.isLost }) else { return false }
    _ = await write { record in
      record.claim = nil
      guard let error, error.reason != .closed else { return }
      record.job.obstacle = Job.Obstacle(
        reason: error.reason.rawValue, message: error.message, attempts: (record.job.obstacle?.attempts ?? 0) + 1)
    }
    return false
  }
}

extension Duration {
  /// This many seconds.
  var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
