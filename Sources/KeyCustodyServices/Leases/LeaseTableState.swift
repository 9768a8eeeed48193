import KeyCustody
import KeyCustodyEnvelope

/// A question that is being asked: whether its answer counts is known when it comes.
struct LeaseAttempt {
  var key: RootKeyID
  var resource: ResourceID
  /// Whose access to which KEK is asked for; `nil` before that is known, when every change counts.
  var concern: (kek: KeyURI, holder: PrincipalID)?
  var isOutdated = false
}
/// What is under a ``LeaseTable``'s lock.
struct LeaseTableState {
  /// The most that leases share; beyond that they begin anew.
  private static let mostAccesses = 2048

  var leases: [RootKeyID: Lease] = [:]
  /// Those that were woken, each once, the one that was woken first in front; some of them have ended since.
  var awake = Queue<RootKeyID>()
  private var queued: Set<RootKeyID> = []
  private var accesses: [LeaseAccess.Concern: LeaseAccess] = [:]
  /// By when each lease ends, at the latest.
  var deadlines = DeadlineHeap()
  var attempts: [UInt64: LeaseAttempt] = [:]
  var nextAttempt: UInt64 = 0
  /// Grows with every change that may have taken access away.
  var generation: UInt64 = 0
  /// Those who wait for somebody else's attempt, and share its failure.
  var waiting: [RootKeyID: [CheckedContinuation<KeyCustodyError?, Never>]] = [:]
  var isClosed = false
  var sweeper: Task<Void, Never>?
  /// Counts the sweepers: one that was cancelled leaves its successor alone.
  var sweepers: UInt64 = 0

  mutating func access(_ concern: LeaseAccess.Concern) -> LeaseAccess {
    if let known = accesses[concern] { return known }
    if accesses.count >= Self.mostAccesses { accesses = [:] }
    let new = LeaseAccess(concern)
    accesses[concern] = new
    return new
  }

  /// Notes that a key is awake, and lets the one rest that has been for longest, unless somebody holds it.
  mutating func noteAwake(_ id: RootKeyID) {
    guard queued.insert(id).inserted else { return }
    awake.append(id)
    var tries = 0
    while awake.count > LeaseTable.mostAwake, tries < 2, let first = awake.removeFirst() {
      switch leases[first]?.rest() {
      case false?: awake.append(first)
      case true?, nil: queued.remove(first)
      }
      tries += 1
    }
  }

  mutating func forgetAwake() {
    awake = Queue()
    queued = []
  }

  mutating func remove(_ id: RootKeyID) { leases.removeValue(forKey: id)?.destroy() }
}
