import KeyCustody
import KeyCustodyMemory
import KeyCustodyServices
import KeyCustodyTesting
import Synchronization

/// A bug that is put in on purpose: the simulation must find each.
enum PlantedBug: String, CaseIterable {
  /// A job skips an item.
  case skippedItem
  /// A conversion is told that nothing is left, so that the old key goes early.
  case keyDestroyedEarly
  /// A store answers that a change was made which lost against another one.
  case lostUpdate
  /// A process is never told of changes, and is given what it read before.
  case staleCache
  /// Every write moves a process's leases on, by holding its clock back.
  case leaseExtendedByWrites

  /// What it must be found by.
  var sign: String {
    switch self {
    case .skippedItem, .keyDestroyedEarly: "can't be read by process"
    case .lostUpdate: ""
    case .staleCache, .leaseExtendedByWrites: "after access was gone everywhere"
    }
  }
}

/// What all processes of one run share: the database, the keys, the stored items, the clock, and chance.
final class World: Sendable {
  let clock = SimulatedClock()
  let random: SeededRandom
  let database: MemoryPolicyStore
  let keys = Mutex<[KeyVersionID: StoredKey]>([:])
  let items = Mutex<[String: StoredItem]>([:])
  let bug: PlantedBug?
  /// Whether what happens is printed.
  let isTold: Bool
  /// Whether calls may fail.
  let isRough = Mutex(false)
  let counts = Mutex<[String: Int]>([:])

  struct StoredItem: Sendable {
    var item: SealedItem
    var sealed: [UInt8]
  }

  init(seed: UInt64, bug: PlantedBug?, isTold: Bool) throws(KeyCustodyError) {
    self.isTold = isTold
    random = SeededRandom(seed: seed)
    self.bug = bug
    database = try MemoryPolicyStore(environment: RuntimeEnvironment(time: clock, random: random))
  }

  /// A number below `bound`.
  func pick(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }

  func chance(oneIn bound: Int) -> Bool { isRough.withLock { $0 } && pick(bound) == 0 }

  func count(_ what: String) { counts.withLock { $0[what, default: 0] += 1 } }
}

/// What joins a process to the world: it can be cut, for a while or for good, as a whole or in part.
final class Link: Sendable {
  /// What a process talks to.
  enum Part: CaseIterable { case database, keys, items }
  private struct State {
    var isDead = false
    var cutUntil: [Part: Duration] = [:]
    /// How far this process's clock is held back.
    var lag: Duration = .zero
  }
  private let state = Mutex(State())
  let world: World

  init(_ world: World) { self.world = world }

  var isDead: Bool { state.withLock { $0.isDead } }
  func kill() { state.withLock { $0.isDead = true } }
  func cut(_ parts: [Part], for duration: Duration) {
    let end = world.clock.running() + duration
    state.withLock { state in
      for part in parts { state.cutUntil[part] = end }
    }
  }
  func heal() { state.withLock { $0.cutUntil = [:] } }
  func isCut(_ part: Part) -> Bool {
    let now = world.clock.running()
    return state.withLock { $0.isDead || now < ($0.cutUntil[part] ?? .zero) }
  }
  var lag: Duration { state.withLock { $0.lag } }
  func fallBehind(by duration: Duration) { state.withLock { $0.lag += duration } }

  /// One call of a backend: late, failing, or answered and the answer lost, as chance has it.
  func call<Result: Sendable>(
    _ part: Part, _ name: String, _ body: () async throws(KeyCustodyError) -> Result
  ) async throws(KeyCustodyError) -> Result {
    try check(part)
    if world.chance(oneIn: 3) {
      let late = Duration.milliseconds(1 + world.pick(400))
      do { try await world.clock.wait(until: world.clock.running() + late) } catch { throw Self.cutOff }
      try check(part)
    }
    if world.chance(oneIn: 40) {
      world.count("failed \(name)")
      throw Self.cutOff
    }
    let result = try await body()
    if world.chance(oneIn: 40) {
      world.count("lost answers of \(name)")
      throw KeyCustodyError(.timeout, .deadline, "The answer was lost.")
    }
    try check(part)
    return result
  }

  private func check(_ part: Part) throws(KeyCustodyError) {
    if isCut(part) { throw Self.cutOff }
  }

  static let cutOff = KeyCustodyError(.unavailable, .unreachable, "Cut off.")
}

/// A process's own clock.
struct ProcessClock: TimeSource {
  let link: Link
  func now() -> Timestamp { link.world.clock.now() }
  func running() -> Duration { link.world.clock.running() - link.lag }
  func wait(until deadline: Duration) async throws(CancellationError) {
    try await link.world.clock.wait(until: deadline + link.lag)
  }
}
