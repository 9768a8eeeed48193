import KeyCustody
import Logging
import Synchronization

/// Signs a log's state every so many records or so much time, and keeps the checkpoint beside the records and in the
/// policy store.
///
/// A checkpoint that can't be made is tried again later; records don't wait for it.
final class CheckpointMaker: Sendable {
  private struct State {
    /// Ends of files that are finished: each gets a checkpoint of its own, so that it can be checked wherever it goes.
    var due: [AuditTail.Position] = []
    var newest: AuditTail.Position
    var made: AuditCheckpoint?
    var timer: Task<Void, Never>?
    /// The timer has ended since the last checkpoint was begun.
    var isTimeUp = false
    /// The making in hand, for the next one to wait for.
    var making: Task<Result<Void, KeyCustodyError>, Never>?
  }

  private let signer: AuditSigner
  private let store: any PolicyStore
  private let time: any TimeSource
  private let logger: Logger
  private let settings: AuditLog.Settings
  /// Adds a checkpoint to the file beside the records of that number.
  private let keep: @Sendable (AuditCheckpoint, Int) async throws(KeyCustodyError) -> Void
  private let state: Mutex<State>
  private let signals: AsyncStream<Void>.Continuation
  private let work: Mutex<Task<Void, Never>?> = Mutex(nil)

  init(
    signer: AuditSigner, store: any PolicyStore, environment: RuntimeEnvironment, settings: AuditLog.Settings,
    from position: AuditTail.Position, latest: AuditCheckpoint?,
    keep: @escaping @Sendable (AuditCheckpoint, Int) async throws(KeyCustodyError) -> Void
  ) {
    self.signer = signer
    self.store = store
    self.settings = settings
    self.keep = keep
    time = environment.time
    logger = environment.logger
    state = Mutex(State(newest: position, made: latest))
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    signals = continuation
    work.withLock { work in
      work = Task { [weak self] in
        for await _ in stream { await self?.makeWhatIsDue() }
      }
    }
  }

  deinit { signals.finish() }

  /// The latest checkpoint that was made.
  var latest: AuditCheckpoint? { state.withLock { $0.made } }

  /// The log has come so far; called after each write.
  func reached(_ position: AuditTail.Position, endOfFile: AuditTail.Position?) {
    let isDue = state.withLock { state in
      state.newest = position
      if let endOfFile { state.due.append(endOfFile) }
      return wantsCheckpoint(&state)
    }
    if isDue { signals.yield() }
  }

  /// Whether something must be signed now; what is not yet is seen to by a timer.
  private func wantsCheckpoint(_ state: inout State) -> Bool {
    let count = state.newest.edge.size - (state.made?.size ?? 0)
    if !state.due.isEmpty || count >= UInt64(settings.checkpointRecords) { return true }
    if state.timer == nil, count > 0 { state.timer = timer() }
    return false
  }

  private func timer() -> Task<Void, Never> {
    let moment = time.running() + settings.checkpointInterval
    return Task { [weak self, time] in
      guard (try? await time.wait(until: moment)) != nil, let self else { return }
      self.state.withLock { state in
        state.timer = nil
        state.isTimeUp = true
      }
      self.signals.yield()
    }
  }

  private func makeWhatIsDue() async {
    // A signal that came while the last one was made may be answered by it.
    let isDue = state.withLock { state in
      defer { state.isTimeUp = false }
      return state.isTimeUp || wantsCheckpoint(&state)
    }
    guard isDue else { return }
    do throws(KeyCustodyError) { try await make() } catch {
      logger.warning("The audit log could not be signed; it is tried again.", metadata: ["error": "\(error)"])
      state.withLock { state in if state.timer == nil { state.timer = timer() } }
    }
  }

  /// Makes the checkpoints that are due, and one of the newest state; one after the other, whoever asks.
  func make() async throws(KeyCustodyError) {
    let task = state.withLock { state in
      let before = state.making
      let task = Task { () -> Result<Void, KeyCustodyError> in
        _ = await before?.value
        do throws(KeyCustodyError) { return .success(try await makeAll()) } catch { return .failure(error) }
      }
      state.making = task
      return task
    }
    try await task.value.get()
  }

  private func makeAll() async throws(KeyCustodyError) {
    // What comes while it is at work is for the next time: in a busy log there is always more.
    var isLast = false
    while !isLast {
      let next = state.withLock { state -> AuditTail.Position? in
        let made = state.made?.size
        state.due.removeAll { position in made.map { position.edge.size <= $0 } ?? false }
        if let due = state.due.first { return due }
        isLast = true
        return made.map { state.newest.edge.size > $0 } ?? true ? state.newest : nil
      }
      guard let next else { return }
      let checkpoint = try await signer.checkpoint(size: next.edge.size, root: try next.edge.root())
      try await keep(checkpoint, next.file)
      state.withLock { $0.made = checkpoint }
      try await AuditState.write(checkpoint, at: next, to: store, key: signer.key)
    }
  }

  /// Ends the work, after a last checkpoint.
  func finish() async {
    signals.finish()
    await work.withLock { $0 }?.value
    state.withLock { state in
      state.timer?.cancel()
      state.timer = nil
    }
    do throws(KeyCustodyError) { try await make() } catch {
      logger.warning("The audit log was closed without a last checkpoint.", metadata: ["error": "\(error)"])
    }
  }
}
