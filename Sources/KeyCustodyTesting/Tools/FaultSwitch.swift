import Dispatch
import Synchronization

/// Counts the calls that a backend makes to what lies beneath it, and says what is to become of each.
///
/// The layer that stands between the two asks it once for each call, and does as it is told:
///
/// ```swift
/// func read(_ name: String) throws -> [UInt8] {
///   switch faults.enter() {
///   case .work: return try disk.read(name)
///   case .fail: throw DiskError.notWorking
///   case .workThenFail:
///     _ = try disk.read(name)
///     throw DiskError.notWorking
///   case .lookEmpty: throw DiskError.noSuchFile
///   case .corrupt: return FaultSwitch.flipped(try disk.read(name))
///   case .cut, .logOut: return try disk.read(name)  // no sessions and no login here: not among the kinds
///   }
/// }
/// ```
public final class FaultSwitch: FaultInjector {
  /// What is to become of a call.
  public enum Action: Sendable, Hashable {
    /// It is done.
    case work
    /// It fails, and nothing is done; of which kind tells the error to choose (a full disk's is another one).
    case fail(FaultKind)
    /// It is done, and then fails.
    case workThenFail
    /// It works, and finds nothing.
    case lookEmpty
    /// It is done, and one bit of its answer is flipped.
    case corrupt
    /// Every session is cut, then it is done with what is left.
    case cut
    /// Whoever is logged in is logged out, then it is done.
    case logOut
  }

  private struct State {
    var calls = 0
    var attempts = 0
    var fault: (kind: FaultKind, call: Int)?
    var isCrashed = false
    var waiting: [DispatchSemaphore] = []
    var suspended: [CheckedContinuation<Void, Never>] = []
  }
  private let state = Mutex(State())
  /// What it is used for.
  public let kinds: Set<FaultKind>
  private let whenCrashed: @Sendable () -> Void

  /// A switch that is off.
  ///
  /// - Parameter whenCrashed: lets go of what the system would take from a killed process: locks, open files.
  public init(_ kinds: Set<FaultKind>, whenCrashed: @escaping @Sendable () -> Void = {}) {
    self.kinds = kinds
    self.whenCrashed = whenCrashed
  }

  // MARK: For the layer

  /// Counts a call and says what is to become of it; waits where it must hang, and so is not for Swift's own threads.
  ///
  /// - Parameter grows: whether the call adds something, which a full backend refuses.
  public func enter(grows: Bool = false) -> Action {
    let (action, semaphore) = decide(grows) { state in
      let semaphore = DispatchSemaphore(value: 0)
      state.waiting.append(semaphore)
      return semaphore
    }
    semaphore?.wait()
    return action
  }

  /// As ``enter(grows:)``, for layers whose calls are asynchronous.
  public func enterSuspending(grows: Bool = false) async -> Action {
    let (action, hangs) = decide(grows) { _ in true }
    if hangs == true {
      await withCheckedContinuation { continuation in
        let isOver = state.withLock { state in
          guard state.fault?.kind == .hung else { return true }
          state.suspended.append(continuation)
          return false
        }
        if isOver { continuation.resume() }
      }
    }
    return action
  }

  /// Counts a login, and says whether it is to be refused.
  public func refusesCredential() -> Bool {
    state.withLock { state in
      state.attempts += 1
      return state.fault?.kind == .credentialRefused
    }
  }

  /// The bytes with one bit of them flipped.
  public static func flipped(_ bytes: [UInt8]) -> [UInt8] {
    guard !bytes.isEmpty else { return bytes }
    var bytes = bytes
    bytes[bytes.count / 2] ^= 0x10
    return bytes
  }

  private func decide<Hold>(_ grows: Bool, _ hold: (inout State) -> Hold) -> (Action, Hold?) {
    var crashes = false
    let outcome = state.withLock { state -> (Action, Hold?) in
      state.calls += 1
      guard let fault = state.fault, state.calls >= fault.call else { return (.work, nil) }
      let isFirst = state.calls == fault.call
      switch fault.kind {
      case .refused: return (isFirst ? .fail(.refused) : .work, nil)
      case .answerLost: return (isFirst ? .workThenFail : .work, nil)
      case .outage: return (.fail(.outage), nil)
      case .absent: return (.lookEmpty, nil)
      case .sessionsLost: return (isFirst ? .cut : .work, nil)
      case .loggedOut, .credentialRefused: return (isFirst ? .logOut : .work, nil)
      case .full: return (grows ? .fail(.full) : .work, nil)
      case .corrupted: return (isFirst ? .corrupt : .work, nil)
      case .hung: return (.work, hold(&state))
      case .crash:
        crashes = !state.isCrashed
        state.isCrashed = true
        return (.fail(.crash), nil)
      }
    }
    if crashes { whenCrashed() }
    return outcome
  }

  // MARK: For the kit

  /// How many calls were counted.
  public func calls() -> Int { state.withLock { $0.calls } }

  /// How many logins were counted; `nil` where no credential is refused.
  public func credentialAttempts() -> Int? {
    kinds.contains(.credentialRefused) ? state.withLock { $0.attempts } : nil
  }

  /// Sets the fault.
  public func inject(_ kind: FaultKind, call: Int) {
    state.withLock { state in
      state.fault = (kind, state.calls + call)
      state.isCrashed = false
    }
  }

  /// Ends the fault and lets go what hangs.
  ///
  /// After a crash that no call met, what the backend held is let go now.
  public func heal() {
    let (waiting, suspended, crashes) = state.withLock { state in
      let crashes = state.fault?.kind == .crash && !state.isCrashed
      defer {
        state.fault = nil
        state.waiting = []
        state.suspended = []
      }
      return (state.waiting, state.suspended, crashes)
    }
    if crashes { whenCrashed() }
    for semaphore in waiting { semaphore.signal() }
    for continuation in suspended { continuation.resume() }
  }
}
