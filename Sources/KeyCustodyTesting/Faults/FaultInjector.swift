/// Makes faults beneath one backend, for the fault behaviours of the kit.
///
/// It sits between the backend and what the backend stands on (a token's module, a file system, a database's
/// connection), counts the calls that go down, and lets those fail that it is told to. A subject hands one back with
/// each backend it makes (``ConformanceBackend/persistent(faults:_:)``), and it stays the same when that backend is
/// opened again. ``FaultSwitch`` counts and decides; what is left to write is the layer that asks it.
///
/// - One fault is on at a time. The kit heals before it injects the next one.
/// - Only calls that can fail are counted: not, for instance, the closing of a file.
/// - Calls may come from any thread, also while the kit injects or heals.
public protocol FaultInjector: Sendable {
  /// What it can do.
  ///
  /// Behaviours of other kinds are not applicable, and say so.
  var kinds: Set<FaultKind> { get }

  /// How many calls have gone down so far, those included that failed; never counted back.
  func calls() async -> Int

  /// Lets the `call`th call from now on be the one that ``FaultKind`` speaks of: 1 is the next.
  ///
  /// - Throws: when it can't, which ends the run as a failure of the setup.
  func inject(_ kind: FaultKind, call: Int) async throws

  /// Ends whatever is injected, and lets go what hangs; what comes next works.
  func heal() async throws

  /// How many times the backend has shown its PIN or password to what lies beneath; `nil` where nobody counts.
  func credentialAttempts() async -> Int?
}

extension FaultInjector {
  /// Nobody counts.
  public func credentialAttempts() async -> Int? { nil }
}
