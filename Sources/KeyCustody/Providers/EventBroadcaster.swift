import Synchronization

/// Hands events to any number of readers; a reader that falls behind by more than `limit` loses the oldest.
public final class EventBroadcaster<Event: Sendable>: Sendable {
  private struct State {
    var next = 0
    var readers: [Int: AsyncStream<Event>.Continuation] = [:]
    var isFinished = false
  }
  private let state = Mutex(State())
  private let limit: Int

  /// A broadcaster that keeps up to `limit` unread events for each reader.
  public init(limit: Int = 256) { self.limit = limit }

  /// A stream of what is sent from now on.
  public func stream() -> AsyncStream<Event> {
    AsyncStream(bufferingPolicy: .bufferingNewest(limit)) { continuation in
      let id = state.withLock { state -> Int? in
        guard !state.isFinished else { return nil }
        state.next += 1
        state.readers[state.next] = continuation
        return state.next
      }
      guard let id else { return continuation.finish() }
      continuation.onTermination = { [weak self] _ in
        self?.state.withLock { state in _ = state.readers.removeValue(forKey: id) }
      }
    }
  }

  /// Hands an event to every reader.
  public func send(_ event: Event) {
    for reader in state.withLock({ Array($0.readers.values) }) { reader.yield(event) }
  }

  /// Ends every stream.
  public func finish() {
    let readers = state.withLock { state in
      state.isFinished = true
      defer { state.readers = [:] }
      return Array(state.readers.values)
    }
    for reader in readers { reader.finish() }
  }
}
