import KeyCustody
import KeyCustodyEnvelope
import Synchronization

/// The root keys that may be used right now, each until an absolute deadline counted from before its access was checked.
///
/// A change that may have taken access away marks leases stale: the next use, and a check in the background, ask the
/// vault again before the key is used once more.
final class LeaseTable: Sendable {
  private struct Lease {
    var key: RootKey
    var resource: ResourceID
    var holder: PrincipalID
    var kek: KeyURI
    var granted: Duration
    var deadline: Duration
    var isStale = false
    var isRenewing = false
  }
  /// A question that is being asked: whether its answer counts is known when it comes.
  private struct Attempt {
    var key: RootKeyID
    /// Whose access to which KEK is asked for; `nil` before that is known, when every change counts.
    var concern: (kek: KeyURI, holder: PrincipalID)?
    var isOutdated = false
  }
  private struct State {
    var leases: [RootKeyID: Lease] = [:]
    var attempts: [UInt64: Attempt] = [:]
    var nextAttempt: UInt64 = 0
    /// Grows with every change that may have taken access away.
    var generation: UInt64 = 0
    /// Those who wait for somebody else's attempt, and share its failure.
    var waiting: [RootKeyID: [CheckedContinuation<KeyCustodyError?, Never>]] = [:]
    var isClosed = false
    var sweeper: Task<Void, Never>?
  }
  private let state = Mutex(State())
  private let time: any TimeSource
  /// How long a lease lasts; zero asks the vault for every operation.
  let duration: Duration

  init(duration: Duration, time: any TimeSource) {
    self.duration = duration
    self.time = time
  }

  /// What a look-up found.
  enum Finding {
    /// A living lease; the flag asks this caller to renew it in the background.
    case living(RootKey, renew: Bool)
    /// None: acquire one.
    case none
  }

  func find(_ id: RootKeyID) -> Finding {
    let now = time.running()
    return state.withLock { state in
      guard let lease = state.leases[id], !lease.isStale else { return .none }
      guard now < lease.deadline, !lease.key.isDestroyed else {
        state.leases.removeValue(forKey: id)?.key.destroy()
        return .none
      }
      let renew = !lease.isRenewing && now > lease.granted + (lease.deadline - lease.granted) / 2
      if renew { state.leases[id]?.isRenewing = true }
      return .living(lease.key, renew: renew)
    }
  }

  /// How a lease is got: what is on record now, and the key itself.
  struct Source {
    var look: () async throws(KeyCustodyError) -> RootKeyRecord
    var unwrap: (RootKeyRecord) async throws(KeyCustodyError) -> RootKey
  }

  /// Gets a lease, one caller at a time for each key; the others wait and look again.
  func acquire(
    _ id: RootKeyID, of resource: ResourceID, isRenewal: Bool = false, from source: Source
  ) async throws(KeyCustodyError) -> RootKey {
    guard !isRenewal else { return try await attempt(id, of: resource, source) }
    while true {
      if duration > .zero, case .living(let key, _) = find(id) { return key }
      switch await takeTurn(id) {
      case .mine: break
      case .done: continue
      case .failed(let error):
        if duration > .zero { throw error }
        continue
      }
      let before = state.withLock { $0.generation }
      do throws(KeyCustodyError) {
        let key = try await attempt(id, of: resource, source)
        endTurn(id, sharing: nil)
        return key
      } catch {
        // Who came after a change must not be told what was found before it.
        endTurn(id, sharing: state.withLock { $0.generation } == before ? error : nil)
        throw error
      }
    }
  }

  private func attempt(
    _ id: RootKeyID, of resource: ResourceID, _ source: Source
  ) async throws(KeyCustodyError) -> RootKey {
    do throws(KeyCustodyError) {
      for _ in 0..<16 {
        let number = try begin(id)
        defer { state.withLock { _ = $0.attempts.removeValue(forKey: number) } }
        let start = time.running()
        // Looked up each time: since the last, it may have been wrapped by another KEK, or dropped.
        let record = try await source.look()
        state.withLock { $0.attempts[number]?.concern = (record.kek, record.holder) }
        let key = try await source.unwrap(record)
        if let granted = grant(record, of: resource, key, from: start, number) { return granted }
        key.destroy()
      }
      throw KeyCustodyError(
        .busy, .conflict, "Access to the key kept changing while it was asked for.", retryAfter: .milliseconds(100))
    } catch {
      settle(id, after: error)
      throw error
    }
  }

  private func begin(_ id: RootKeyID) throws(KeyCustodyError) -> UInt64 {
    let number = state.withLock { state -> UInt64? in
      guard !state.isClosed else { return nil }
      state.nextAttempt += 1
      state.attempts[state.nextAttempt] = Attempt(key: id)
      return state.nextAttempt
    }
    if let number { return number }
    throw KeyCustodyError(.unavailable, .closed, "This deployment of KeyCustody was closed.")
  }

  /// Enters a lease unless something changed that concerns it.
  ///
  /// A key already in use goes on with a new deadline.
  private func grant(
    _ record: RootKeyRecord, of resource: ResourceID, _ key: RootKey, from start: Duration, _ attempt: UInt64
  ) -> RootKey? {
    let id = record.id
    let granted = state.withLock { state -> RootKey? in
      guard state.attempts[attempt]?.isOutdated == false, !state.isClosed else { return nil }
      guard duration > .zero else { return key }
      var used = key
      if let present = state.leases[id], !present.key.isDestroyed {
        used = present.key
        key.destroy()
      }
      state.leases[id] = Lease(
        key: used, resource: resource, holder: record.holder, kek: record.kek, granted: start,
        deadline: start + duration)
      return used
    }
    if granted != nil, duration > .zero { startSweeper() }
    return granted
  }

  /// Withdrawn access ends a lease now; an outage leaves it its deadline.
  private func settle(_ id: RootKeyID, after error: KeyCustodyError) {
    state.withLock { state in
      switch error.code {
      case .unavailable, .busy, .timeout, .fault: state.leases[id]?.isRenewing = false
      default: state.leases.removeValue(forKey: id)?.key.destroy()
      }
    }
  }

  private enum Turn {
    case mine
    case done
    case failed(KeyCustodyError)
  }

  private func takeTurn(_ id: RootKeyID) async -> Turn {
    let isMine = state.withLock { state -> Bool in
      guard state.waiting[id] == nil else { return false }
      state.waiting[id] = []
      return true
    }
    if isMine { return .mine }
    let error = await withCheckedContinuation { (continuation: CheckedContinuation<KeyCustodyError?, Never>) in
      let isOver = state.withLock { state -> Bool in
        guard state.waiting[id] != nil else { return true }
        state.waiting[id]?.append(continuation)
        return false
      }
      if isOver { continuation.resume(returning: nil) }
    }
    return error.map { .failed($0) } ?? .done
  }

  private func endTurn(_ id: RootKeyID, sharing error: KeyCustodyError?) {
    for waiter in state.withLock({ $0.waiting.removeValue(forKey: id) ?? [] }) { waiter.resume(returning: error) }
  }

  /// Marks leases stale, and answers which: their access is to be checked again.
  func markStale(where concerns: (KeyURI, PrincipalID) -> Bool) -> [(key: RootKeyID, resource: ResourceID)] {
    state.withLock { state in
      state.generation += 1
      for (number, attempt) in state.attempts {
        let isConcerned = attempt.concern.map { concerns($0.kek, $0.holder) } ?? true
        if isConcerned { state.attempts[number]?.isOutdated = true }
      }
      let found = state.leases.filter { concerns($0.value.kek, $0.value.holder) }
      for id in found.keys { state.leases[id]?.isStale = true }
      return found.map { ($0.key, $0.value.resource) }
    }
  }

  /// Ends leases now.
  func end(_ ids: [RootKeyID]) {
    state.withLock { state in
      state.generation += 1
      for (number, attempt) in state.attempts where ids.contains(attempt.key) {
        state.attempts[number]?.isOutdated = true
      }
      for id in ids { state.leases.removeValue(forKey: id)?.key.destroy() }
    }
  }

  /// When a key's lease ends, in running time; `nil` where there is none.
  func deadline(of id: RootKeyID) -> Duration? { state.withLock { $0.leases[id]?.deadline } }

  /// The number of keys in memory.
  var count: Int { state.withLock { $0.leases.count } }

  /// Ends everything.
  func close() {
    let sweeper = state.withLock { state in
      state.isClosed = true
      for lease in state.leases.values { lease.key.destroy() }
      state.leases = [:]
      defer { state.sweeper = nil }
      return state.sweeper
    }
    sweeper?.cancel()
  }

  /// Clears keys at their deadline, used or not.
  private func startSweeper() {
    state.withLock { state in
      guard state.sweeper == nil, !state.isClosed else { return }
      state.sweeper = Task { [weak self, time] in
        while let next = self?.sweep() {
          do { try await time.wait(until: next) } catch { return }
        }
      }
    }
  }

  /// Ends what is due and answers when the next lease ends; `nil` when there is none.
  private func sweep() -> Duration? {
    let now = time.running()
    return state.withLock { state in
      for (id, lease) in state.leases where lease.deadline <= now {
        lease.key.destroy()
        state.leases[id] = nil
      }
      let next = state.leases.values.map(\.deadline).min()
      if next == nil { state.sweeper = nil }
      return next
    }
  }
}
