import KeyCustody
import KeyCustodyEnvelope
import Synchronization

/// The root keys that may be used right now, each until an absolute deadline counted from before its access was checked.
///
/// A change that may have taken access away marks leases stale: the next use, and a check in the background, ask the
/// vault again before the key is used once more.
final class LeaseTable: Sendable {
  /// The most keys that are ready for use; the others rest, and wake when they are used.
  static let mostAwake = 768

  /// Told by the first plain use of a key after half of its lease.
  ///
  /// Keys refer to it, and not to the table: a weak reference to that would cost every use of a key.
  private final class Renewal: Sendable {
    let ask = Mutex<(@Sendable (RootKeyID, ResourceID) -> Void)?>(nil)
  }
  private let state = Mutex(LeaseTableState())
  private let time: any TimeSource
  /// How long a lease lasts; zero asks the vault for every operation.
  let duration: Duration

  /// Whether something is being sealed under a key, and may go on to its end.
  private let isSealing: @Sendable (RootKeyID) -> Bool
  private let renewal = Renewal()

  init(
    duration: Duration, time: any TimeSource, isSealing: @escaping @Sendable (RootKeyID) -> Bool = { _ in false }
  ) {
    self.duration = duration
    self.time = time
    self.isSealing = isSealing
  }

  /// Has leases renewed by `renew`, which is called by the first plain use of a key after half of its lease.
  func whenRenewalIsDue(_ renew: @escaping @Sendable (RootKeyID, ResourceID) -> Void) {
    renewal.ask.withLock { $0 = renew }
  }

  /// What a look-up found.
  enum Finding {
    /// A living lease; the flag asks this caller to renew it in the background.
    case living(RootKey, renew: Bool)
    /// None: acquire one.
    case none
  }

  /// Looks a key up; one of another resource or layer than those named is not found.
  func find(_ id: RootKeyID, of resource: ResourceID? = nil, layer: Layer? = nil) -> Finding {
    let now = time.running()
    return state.withLock { state in
      guard let lease = state.leases[id], !lease.isStale else { return .none }
      if let resource, lease.resource != resource { return .none }
      if let layer, lease.layer != layer { return .none }
      guard now < lease.deadline, let key = awake(id, lease, &state) else {
        state.remove(id)
        return .none
      }
      let renew = !lease.isRenewing && now > lease.deadline - duration / 2
      if renew { lease.isRenewing = true }
      return .living(key, renew: renew)
    }
  }

  /// The key of a lease, for use; `nil` when it was destroyed.
  private func awake(_ id: RootKeyID, _ lease: Lease, _ state: inout LeaseTableState) -> RootKey? {
    guard let (key, wasAsleep) = lease.wake() else { return nil }
    guard wasAsleep else { return key }
    allow(key, id, lease.resource, until: lease.deadline)
    state.noteAwake(id)
    return key
  }

  /// Lets plain calls use a key until a deadline.
  private func allow(_ key: RootKey, _ id: RootKeyID, _ resource: ResourceID, until deadline: Duration) {
    key.extendLease(until: deadline, renewal: deadline - duration / 2) { [renewal] in
      renewal.ask.withLock { $0 }?(id, resource)
    }
  }

  /// A key whose lease lives, without counting as a use.
  func living(_ id: RootKeyID) -> RootKey? {
    let now = time.running()
    return state.withLock { state in
      guard let lease = state.leases[id], !lease.isStale, now < lease.deadline else { return nil }
      return awake(id, lease, &state)
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
      // Not `find`: nobody here would do what it asks for where the lease is past its half.
      if duration > .zero, let key = living(id) { return key }
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
        // Nor that they were cancelled, when only this caller was.
        endTurn(id, sharing: state.withLock { $0.generation } == before && !Task.isCancelled ? error : nil)
        throw error
      }
    }
  }

  private func attempt(
    _ id: RootKeyID, of resource: ResourceID, _ source: Source
  ) async throws(KeyCustodyError) -> RootKey {
    do throws(KeyCustodyError) {
      for _ in 0..<16 {
        let number = try begin(id, of: resource)
        defer { state.withLock { _ = $0.attempts.removeValue(forKey: number) } }
        let start = time.running()
        // Looked up each time: since the last, it may have been wrapped by another KEK, or dropped.
        let record = try await source.look()
        state.withLock { $0.attempts[number]?.concern = (record.kek, record.holder) }
        let key = try await source.unwrap(record)
        if let granted = grant(record, of: resource, key, from: start, number) { return granted }
        key.destroy()
        guard duration == .zero || time.running() < start + duration else { throw Self.tooSlow(record.kek) }
      }
      throw KeyCustodyError(
        .busy, .conflict, "Access to the key kept changing while it was asked for.", retryAfter: .milliseconds(100))
    } catch {
      settle(id, after: error)
      throw error
    }
  }

  private func begin(_ id: RootKeyID, of resource: ResourceID) throws(KeyCustodyError) -> UInt64 {
    let number = state.withLock { state -> UInt64? in
      guard !state.isClosed else { return nil }
      state.nextAttempt += 1
      state.attempts[state.nextAttempt] = LeaseAttempt(key: id, resource: resource)
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
      guard time.running() < start + duration else { return nil }
      var used = key
      let present = state.leases[id]
      if let present, let known = present.awake, !known.isDestroyed {
        // Whoever holds a sealer of a key that new data went under, and does not any more, seals no more with it.
        let wasRetired = present.isPrimary && !record.isPrimary && !isSealing(id)
        if !wasRetired { used = known }
        (wasRetired ? known : key).destroy()
      } else {
        present?.destroy()
      }
      let access = state.access(LeaseAccess.Concern(kek: record.kek, holder: record.holder))
      state.leases[id] = Lease(record, of: resource, by: access, on: used, until: start + duration)
      if let first = state.deadlines.first, start + duration < first {
        // It came late, and ends before the one that is waited for.
        state.sweeper?.cancel()
        state.sweeper = nil
      }
      state.deadlines.insert(start + duration, id)
      if present?.awake == nil { state.noteAwake(id) }
      // Under the lock: whoever marks it stale meanwhile comes before or after this, never in between.
      allow(used, id, resource, until: start + duration)
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
      default: state.remove(id)
      }
    }
  }

  private static func tooSlow(_ kek: KeyURI) -> KeyCustodyError {
    KeyCustodyError(
      .timeout, .deadline, "The key provider of '\(kek)' took longer to answer than a lease lasts.",
      remedy: "Find out why it is slow, or have leases last longer: service.leaseSeconds.")
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
      return suspend(&state) { concerns($0.kek, $0.holder) }
    }
  }

  /// Marks those leases of a resource stale that are on one of the keys, and answers which.
  ///
  /// The work grows with the keys that are named, not with all leases.
  func markStale(_ keys: Set<RootKeyID>, of resource: ResourceID) -> [(key: RootKeyID, resource: ResourceID)] {
    state.withLock { state in
      state.generation += 1
      for (number, attempt) in state.attempts where attempt.resource == resource {
        state.attempts[number]?.isOutdated = true
      }
      let found = keys.filter { state.leases[$0]?.resource == resource }
      for key in found { state.leases[key]?.suspend() }
      return found.map { ($0, resource) }
    }
  }

  /// Marks all leases of a resource stale, and answers which.
  func markStale(of resource: ResourceID) -> [(key: RootKeyID, resource: ResourceID)] {
    state.withLock { state in
      state.generation += 1
      for (number, attempt) in state.attempts where attempt.resource == resource {
        state.attempts[number]?.isOutdated = true
      }
      return suspend(&state) { $0.resource == resource }
    }
  }

  private func suspend(
    _ state: inout LeaseTableState, where concerns: (Lease) -> Bool
  ) -> [(key: RootKeyID, resource: ResourceID)] {
    let found = state.leases.filter { concerns($0.value) }
    for lease in found.values { lease.suspend() }
    return found.map { ($0.key, $0.value.resource) }
  }

  /// Ends leases now.
  func end(_ ids: [RootKeyID]) {
    state.withLock { state in
      state.generation += 1
      for (number, attempt) in state.attempts where ids.contains(attempt.key) {
        state.attempts[number]?.isOutdated = true
      }
      for id in ids { state.remove(id) }
    }
  }

  /// When a key's lease ends, in running time; `nil` where there is none.
  func deadline(of id: RootKeyID) -> Duration? { state.withLock { $0.leases[id]?.deadline } }

  /// The number of keys in memory.
  var count: Int { state.withLock { $0.leases.count } }

  /// The number of those that are ready for use.
  var awakeCount: Int { state.withLock { $0.leases.values.count { $0.awake != nil } } }

  /// Ends everything.
  func close() {
    let sweeper = state.withLock { state in
      state.isClosed = true
      for lease in state.leases.values { lease.destroy() }
      state.leases = [:]
      state.forgetAwake()
      state.deadlines.removeAll()
      defer { state.sweeper = nil }
      return state.sweeper
    }
    sweeper?.cancel()
  }

  /// Clears keys at their deadline, used or not.
  private func startSweeper() {
    state.withLock { state in
      guard state.sweeper == nil, !state.isClosed else { return }
      state.sweepers += 1
      let number = state.sweepers
      // Held until the last lease has ended, or the table is closed. (A weak reference would cost every use of a key.)
      state.sweeper = Task {
        while let next = sweep() {
          do { try await time.wait(until: next) } catch {
            // The next lease that is granted begins it again, unless the table was closed.
            self.state.withLock { if $0.sweepers == number { $0.sweeper = nil } }
            return
          }
        }
      }
    }
  }

  /// Ends what is due and answers when the next lease ends; `nil` when there is none.
  private func sweep() -> Duration? {
    let now = time.running()
    return state.withLock { state in
      while let id = state.deadlines.take(dueAt: now) {
        // One that was renewed has a later entry too.
        guard let lease = state.leases[id], lease.deadline <= now else { continue }
        lease.destroy()
        state.leases[id] = nil
      }
      if state.leases.isEmpty {
        state.forgetAwake()
        state.deadlines.removeAll()
        state.sweeper = nil
      }
      return state.deadlines.first
    }
  }
}
