import KeyCustody
import Synchronization

/// A call that waits for its answer from another thread, and no longer than to its deadline.
final class Request<Value: Sendable>: Sendable {
  private struct State {
    var isTaken = false
    var result: Result<Value, KeyCustodyError>?
    var reader: CheckedContinuation<Void, Never>?
  }
  private let state = Mutex(State())
  /// When the thread is to have done it: a little earlier than its caller is answered.
  let deadline: ContinuousClock.Instant
  private let timeout: Duration
  private let place: String

  init(_ settings: PostgreSQLSettings) {
    timeout = settings.timeout
    place = settings.place
    deadline = .now + settings.timeout * 9 / 10
  }

  /// Takes it to be done; `false` where nobody waits for it any more.
  func take() -> Bool {
    state.withLock { state in
      guard state.result == nil else { return false }
      state.isTaken = true
      return true
    }
  }

  /// Answers, unless that was done.
  func give(_ result: Result<Value, KeyCustodyError>) {
    let reader = state.withLock { state -> CheckedContinuation<Void, Never>? in
      guard state.result == nil else { return nil }
      state.result = result
      defer { state.reader = nil }
      return state.reader
    }
    reader?.resume()
  }

  /// Waits for the answer.
  ///
  /// - Throws: `busy` where nobody took it in time, so that nothing was done; `timeout` where it is not done in time.
  func value(_ time: any TimeSource) async throws(KeyCustodyError) -> Value {
    let end = time.running() + timeout
    let timer = Task {
      do throws(CancellationError) { try await time.wait(until: end) } catch { return }
      expire()
    }
    defer { timer.cancel() }
    await withCheckedContinuation { continuation in
      let isGiven = state.withLock { state in
        if state.result == nil { state.reader = continuation }
        return state.result != nil
      }
      if isGiven { continuation.resume() }
    }
    guard let result = state.withLock({ $0.result }) else {
      throw KeyCustodyError(.fault, .internalFault, "A call was resumed without an answer.")
    }
    return try result.get()
  }

  private func expire() {
    let waited = KeyCustodyError(
      .busy, .queue, "The call waited for the database '\(place)' in vain: others took all the time.",
      remedy: "Try again later; raise 'connections' where the server can do more.", retryAfter: .milliseconds(100))
    let late = KeyCustodyError(ServerFailure.late, place)
    let reader = state.withLock { state -> CheckedContinuation<Void, Never>? in
      guard state.result == nil else { return nil }
      state.result = .failure(state.isTaken ? late : waited)
      defer { state.reader = nil }
      return state.reader
    }
    reader?.resume()
  }
}
