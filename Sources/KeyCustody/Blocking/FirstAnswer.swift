package import Synchronization

/// An answer from whoever gives one first, for one who waits for it no longer than to a deadline.
///
/// Inlinable, so that other modules compile it for the type they wait for: it is on the way of every request.
package final class FirstAnswer<Value: ~Copyable & Sendable>: Sendable {
  @usableFromInline struct State: ~Copyable {
    @usableFromInline var value: Value?
    @usableFromInline var error: KeyCustodyError?
    @usableFromInline var isGiven = false
    @usableFromInline var reader: CheckedContinuation<Void, Never>?

    @inlinable init() {}

    @inlinable mutating func end() -> CheckedContinuation<Void, Never>? {
      isGiven = true
      defer { reader = nil }
      return reader
    }
  }
  @usableFromInline let state = Mutex(State())

  /// Makes one that nobody has given yet.
  @inlinable package init() {}

  /// Gives a value; it comes back where somebody was first.
  @discardableResult
  @inlinable package func give(_ value: consuming Value) -> Value? {
    var given: Value? = value
    let reader = state.withLock { state -> CheckedContinuation<Void, Never>? in
      guard !state.isGiven else { return nil }
      state.value = given.take()
      return state.end()
    }
    reader?.resume()
    return given
  }

  /// Gives an error, unless somebody was first.
  @inlinable package func give(_ error: KeyCustodyError) {
    let reader = state.withLock { state -> CheckedContinuation<Void, Never>? in
      guard !state.isGiven else { return nil }
      state.error = error
      return state.end()
    }
    reader?.resume()
  }

  /// Waits for the answer; `late` is given at the deadline.
  ///
  /// It is taken once.
  @inlinable package func take(
    by deadline: Duration, _ time: any TimeSource, late: KeyCustodyError
  ) async throws(KeyCustodyError) -> Value {
    let timer = Task {
      do throws(CancellationError) { try await time.wait(until: deadline) } catch { return }
      give(late)
    }
    defer { timer.cancel() }
    return try await take()
  }

  /// Waits for the answer; `late` is given at the deadline, by a watch that others share.
  ///
  /// It is taken once.
  @inlinable package func take(
    by deadline: Duration, _ watch: DeadlineWatch, late: KeyCustodyError
  ) async throws(KeyCustodyError) -> Value {
    let entry = watch.add(deadline) { [weak self] in self?.give(late) }
    defer { watch.remove(entry) }
    return try await take()
  }

  /// Waits for the answer, however long it takes.
  ///
  /// It is taken once.
  @inlinable package func take() async throws(KeyCustodyError) -> Value {
    await withCheckedContinuation { continuation in
      let isGiven = state.withLock { state in
        if !state.isGiven { state.reader = continuation }
        return state.isGiven
      }
      if isGiven { continuation.resume() }
    }
    if let error = state.withLock({ $0.error }) { throw error }
    guard let value = state.withLock({ $0.value.take() }) else {
      throw KeyCustodyError(.fault, .internalFault, "An answer was taken twice.")
    }
    return value
  }
}
