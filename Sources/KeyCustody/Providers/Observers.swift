import Synchronization

/// Closures that are called, in order, before the change they are told of is answered: what "at once" needs within one
/// process, where a stream would be later.
public final class Observers<Change: Sendable>: Sendable {
  private let closures = Mutex<[@Sendable (Change) -> Void]>([])

  /// Nobody yet.
  public init() {}
  /// Calls `closure` for every change from now on.
  ///
  /// It must not block.
  public func add(_ closure: @escaping @Sendable (Change) -> Void) { closures.withLock { $0.append(closure) } }
  /// Tells everybody of a change.
  public func tell(_ change: Change) { for closure in closures.withLock({ $0 }) { closure(change) } }
}
