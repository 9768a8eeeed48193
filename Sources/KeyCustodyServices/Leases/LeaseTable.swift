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
  private struct State {
    var leases: [RootKeyID: Lease] = [:]
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

  /// Gets a lease by `unwrap`, one caller at a time for each key; the others wait and look again.
  func acquire(
    _ record: RootKeyRecord, of resource: ResourceID, isRenewal: Bool = false,
    unwrap: () async throws(KeyCustodyError) -> RootKey
  ) async throws(KeyCustodyError) -> RootKey {
    let id = record.id
    guard !isRenewal else { return try await attempt(record, of: resource, unwrap) }
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
        let key = try await attempt(record, of: resource, unwrap)
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
    _ record: RootKeyRecord, of resource: ResourceID, _ unwrap: () async throws(KeyCustodyError) -> RootKey
  ) async throws(KeyCustodyError) -> RootKey {
    for _ in 0..<16 {
      let (generation, isClosed) = state.withLock { ($0.generation, $0.isClosed) }
      guard !isClosed else {
        throw KeyCustodyError(.unavailable, .closed, "This deployment of KeyCustody was closed.")
      }
      let start = time.running()
      let key: RootKey
      do throws(KeyCustodyError) { key = try await unwrap() } catch {
        settle(record.id, after: error)
        throw error
      }
      if let granted = grant(record, of: resource, key, from: start, seen: generation) { return granted }
      key.destroy()
    }
    throw KeyCustodyError(
      .busy, .conflict, "Access to the key kept changing while it was asked for.", retryAfter: .milliseconds(100))
  }

  /// Enters a lease unless something changed since `generation`.
  ///
  /// A key already in use goes on with a new deadline.
  private func grant(
    _ record: RootKeyRecord, of resource: ResourceID, _ key: RootKey, from start: Duration, seen generation: UInt64
  ) -> RootKey? {
    let id = record.id
    let granted = state.withLock { state -> RootKey? in
      guard state.generation == generation, !state.isClosed else { return nil }
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
      let found = state.leases.filter { concerns($0.value.kek, $0.value.holder) }
      for id in found.keys { state.leases[id]?.isStale = true }
      return found.map { ($0.key, $0.value.resource) }
    }
  }

  /// Ends leases now.
  func end(_ ids: [RootKeyID]) {
    state.withLock { state in
      state.generation += 1
      for id in ids { state.leases.removeValue(forKey: id)?.key.destroy() }
    }
  }

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
