import KeyCustody

/// Breaks the behaviour unless `condition` holds.
///
/// The message says what was seen.
func expect(_ condition: Bool, _ message: @autoclosure () -> String) throws {
  guard condition else { throw ConformanceViolation(message()) }
}

/// The value, or a broken behaviour where there is none.
func unwrapped<Value>(_ value: Value?, _ message: @autoclosure () -> String) throws -> Value {
  guard let value else { throw ConformanceViolation(message()) }
  return value
}

/// Runs what must work, and says what was being done when it does not.
func working<Value: ~Copyable>(
  _ doing: String, _ body: () async throws(KeyCustodyError) -> Value
) async throws -> Value {
  do {
    return try await body()
  } catch {
    throw ConformanceViolation("\(doing) should have worked but threw '\(error.debugDescription)'.")
  }
}

/// Runs what must be refused with one of some codes, and checks that the error can be shown to a person.
@discardableResult
func refused(
  _ code: KeyCustodyError.Code, _ reason: KeyCustodyError.Reason? = nil, _ doing: String,
  _ body: () async throws(KeyCustodyError) -> Void
) async throws -> KeyCustodyError {
  let error = try await thrown(doing, "\(code.rawValue)\(reason.map { " (\($0))" } ?? "")", body)
  try expect(
    error.code == code && (reason == nil || error.reason == reason),
    "\(doing) should have thrown \(code.rawValue)\(reason.map { " (\($0))" } ?? "") but threw '\(error.debugDescription)'."
  )
  return error
}

/// Runs what must fail, whatever the code.
@discardableResult
func thrown(
  _ doing: String, _ wanted: String = "an error", _ body: () async throws(KeyCustodyError) -> Void
) async throws -> KeyCustodyError {
  do {
    try await body()
  } catch {
    try expect(
      !error.message.isEmpty && !error.reason.rawValue.isEmpty && !error.description.contains("\n"),
      "\(doing) threw an error without a one-line message and a reason: '\(error.debugDescription)'.")
    return error
  }
  throw ConformanceViolation("\(doing) should have thrown \(wanted) but worked.")
}

/// What a person sees of an error: two errors that must not be told apart have the same.
func visible(_ error: KeyCustodyError) -> String { error.description }

/// Reads a stream up to and including the first element that fits, or to its end; breaks the behaviour when nothing
/// comes for as long as `patience`.
func collect<Element: Sendable>(
  _ stream: AsyncStream<Element>, patience: Duration, _ waitingFor: String,
  until isLast: @escaping @Sendable (Element) -> Bool
) async throws -> (elements: [Element], found: Bool) {
  try await within(patience, "\(waitingFor) did not come within \(patience).") {
    var elements: [Element] = []
    for await element in stream {
      elements.append(element)
      if isLast(element) { return (elements, true) }
    }
    try Task.checkCancellation()
    return (elements, false)
  }
}

/// Breaks the behaviour unless a stream ends by itself.
func expectEnd<Element: Sendable>(_ stream: AsyncStream<Element>, patience: Duration, _ name: String) async throws {
  _ = try await collect(stream, patience: patience, "The end of \(name)") { _ in false }
}

/// Runs `body` under a limit of real time: a backend that never answers is a violation, not a test that hangs.
func within<Value: Sendable>(
  _ patience: Duration, _ message: String, _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
  try await withThrowingTaskGroup(of: Value.self) { group in
    group.addTask { try await body() }
    group.addTask {
      // A bound on a backend that never answers; a sound one is not waited for.
      try await Task.sleep(for: patience)
      throw ConformanceViolation(message)
    }
    defer { group.cancelAll() }
    guard let value = try await group.next() else { throw CancellationError() }
    return value
  }
}
