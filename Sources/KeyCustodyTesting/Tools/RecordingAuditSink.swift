public import KeyCustody
import Synchronization

/// Keeps audit events in memory, in order, and fails when it is told to: for tests of "no record, no answer" (V11).
public final class RecordingAuditSink: AuditSink {
  private struct State {
    var events: [AuditEvent] = []
    var failure: KeyCustodyError?
  }
  private let state = Mutex(State())

  /// An empty record.
  public init() {}

  /// What was recorded so far.
  public var events: [AuditEvent] { state.withLock { $0.events } }

  /// From now on every ``record(_:)`` throws `error` and keeps nothing; `nil` makes it work again.
  public func fail(with error: KeyCustodyError?) { state.withLock { $0.failure = error } }

  /// Forgets what was recorded.
  public func removeAll() { state.withLock { $0.events = [] } }

  /// Keeps the event.
  ///
  /// - Throws: the error set by ``fail(with:)``.
  public func record(_ event: AuditEvent) async throws(KeyCustodyError) {
    let failure = state.withLock { state in
      if state.failure == nil { state.events.append(event) }
      return state.failure
    }
    if let failure { throw failure }
  }
}
