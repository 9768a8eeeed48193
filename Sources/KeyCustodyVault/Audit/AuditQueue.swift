import KeyCustody
import Synchronization

/// The records that wait for the disk, and their callers.
///
/// All that wait when the thread is free are one write, which waits a little for others where the last one had several.
/// Nobody waits longer than the deadline: whoever does is refused, and what was not handed to the disk by then is never
/// written.
final class AuditQueue: Sendable {
  private struct Waiter {
    /// How many records it waits for.
    let count: Int
    let deadline: Duration
    let continuation: CheckedContinuation<Result<Void, KeyCustodyError>, Never>
  }
  private struct State {
    var waiters: [UInt64: Waiter] = [:]
    var queue: [(id: UInt64, events: [AuditEvent])] = []
    /// The records that are waited for.
    var count = 0
    var nextID: UInt64 = 0
    /// Since when the thread has been at the batch in hand.
    var batchBegan: Duration?
    var watchdog: Task<Void, Never>?
    var pace = CommitPace()
    var isClosed = false

    mutating func remove(_ id: UInt64) -> Waiter? {
      guard let waiter = waiters.removeValue(forKey: id) else { return nil }
      count -= waiter.count
      return waiter
    }
  }
  /// How many records a batch has, but for the last of one waiter.
  static let batch = 4096
  /// How many records may wait.
  static let room = 32_768

  private let state = Mutex(State())
  private let time: any TimeSource
  private let patience: Duration
  private let stopwatch: CommitStopwatch

  /// - Parameter stopwatch: measures writes and holds the thread up.
  init(time: any TimeSource, patience: Duration, stopwatch: CommitStopwatch = .system) {
    self.time = time
    self.patience = patience
    self.stopwatch = stopwatch
  }

  /// How many records wait.
  var count: Int { state.withLock { $0.count } }

  /// Waits until the events are on the disk.
  ///
  /// - Parameter start: called when the thread must be told that there is work.
  /// - Throws: `unavailable` (`audit-unavailable`).
  func wait(for events: [AuditEvent], start: () -> Void) async throws(KeyCustodyError) {
    let result = await withCheckedContinuation { continuation in
      let now = time.running()
      let waiter = Waiter(count: events.count, deadline: now + patience, continuation: continuation)
      let entry = state.withLock { state -> Result<Bool, KeyCustodyError> in
        if state.isClosed { return .failure(AuditErrors.closed) }
        // The disk has not answered for so long that it would not answer this one in time either.
        if let began = state.batchBegan, began + patience <= now { return .failure(AuditErrors.tooLate(patience)) }
        if state.count >= Self.room { return .failure(AuditErrors.overrun) }
        state.waiters[state.nextID] = waiter
        state.count += waiter.count
        state.queue.append((state.nextID, events))
        state.nextID += 1
        if state.watchdog == nil { state.watchdog = Task { await self.watch() } }
        return .success(state.queue.count == 1)
      }
      switch entry {
      case .failure(let error): continuation.resume(returning: .failure(error))
      case .success(let isFirst): if isFirst { start() }
      }
    }
    try result.get()
  }

  /// Writes what waits, a batch at a time; called on the thread.
  func drain(_ write: ([AuditEvent]) throws(KeyCustodyError) -> Void) {
    while true {
      let start = stopwatch.now()
      let delay = state.withLock { state in
        state.queue.isEmpty || state.isClosed ? nil : state.pace.delay(at: start)
      }
      if let delay { stopwatch.pause(delay) }
      let batch = state.withLock { state in
        var (end, size) = (0, 0)
        while end < state.queue.count, size < Self.batch {
          size += state.queue[end].events.count
          end += 1
        }
        let batch = Array(state.queue.prefix(end))
        state.queue.removeFirst(end)
        state.batchBegan = batch.isEmpty ? nil : time.running()
        return batch
      }
      guard !batch.isEmpty else { return }
      let began = stopwatch.now()
      let result: Result<Void, KeyCustodyError>
      do throws(KeyCustodyError) { result = .success(try write(batch.flatMap(\.events))) } catch {
        result = .failure(error)
      }
      let waiters = state.withLock { state in
        let end = stopwatch.now()
        state.pace.wrote(for: batch.count, in: end - began, at: end)
        state.batchBegan = nil
        return batch.compactMap { state.remove($0.id) }
      }
      for waiter in waiters { waiter.continuation.resume(returning: result) }
    }
  }

  /// Takes no more, and refuses who still waits when `deadline` has come.
  func close() {
    state.withLock { $0.isClosed = true }
  }

  /// Ends the watch: nobody waits any more.
  func end() {
    let (waiters, watchdog) = state.withLock { state in
      state.isClosed = true
      defer { (state.waiters, state.queue, state.watchdog, state.count) = ([:], [], nil, 0) }
      return (Array(state.waiters.values), state.watchdog)
    }
    watchdog?.cancel()
    for waiter in waiters { waiter.continuation.resume(returning: .failure(AuditErrors.closed)) }
  }

  /// Refuses whoever has waited too long; ends when nobody waits.
  private func watch() async {
    while true {
      let next = state.withLock { state -> Duration? in
        let next = state.waiters.values.map(\.deadline).min()
        if next == nil { state.watchdog = nil }
        return next
      }
      guard let next, (try? await time.wait(until: next)) != nil else { return }
      let now = time.running()
      let late = state.withLock { state -> [Waiter] in
        let late = state.waiters.filter { $0.value.deadline <= now }
        for id in late.keys { _ = state.remove(id) }
        state.queue.removeAll { late[$0.id] != nil }
        return Array(late.values)
      }
      for waiter in late { waiter.continuation.resume(returning: .failure(AuditErrors.tooLate(patience))) }
    }
  }
}
