import Synchronization

@testable import KeyCustody

/// Something that reads bytes from outside, and what must hold of it for every input.
///
/// A target looks for more than crashes: what parses is written back to the same bytes, nothing opens but what was
/// sealed, and every refusal has a code that callers are told to expect.
struct FuzzTarget: Sendable {
  let name: String
  /// Inputs to start from, made by our own code.
  let seeds: @Sendable () -> [[UInt8]]
  /// Runs one input; ends the process when a property does not hold.
  let run: @Sendable ([UInt8]) -> Void

  static let all: [FuzzTarget] = [
    .header, .record, .object, .layers, .jwe, .keyset, .oaep, .der, .keyWrap, .text, .configuration, .token,
    .sealedKey, .storeFiles,
  ]
}

/// Ends the process: libFuzzer then keeps the input.
func violated(_ what: String) -> Never {
  // Nothing but the process's end tells libFuzzer of a finding.
  fatalError("property violated: \(what)")
}

func require(_ condition: Bool, _ what: @autoclosure () -> String) { if !condition { violated(what()) } }

/// What a seed or a fixed value is made with; failing there is a defect of the target itself.
func made<Value>(_ body: () throws -> Value) -> Value {
  do { return try body() } catch { violated("setting up: \(error)") }
}

/// The result, or `nil` for an error of one of the codes allowed; any other error is a violation.
func allowing<Value>(_ codes: Set<KeyCustodyError.Code>, _ body: () throws -> Value) -> Value? {
  do { return try body() } catch let error as KeyCustodyError {
    require(codes.contains(error.code), "unexpected error: \(error.debugDescription)")
    require(!error.message.isEmpty, "an error that does not say what is wrong: \(error.code)")
    return nil
  } catch { violated("a foreign error: \(error)") }
}

/// Runs work that is asynchronous by its type only, on this thread.
func immediately<Value: Sendable>(_ body: @escaping @Sendable () async -> Value) -> Value {
  let result = Mutex<Value?>(nil)
  Task.immediate {
    let value = await body()
    result.withLock { $0 = value }
  }
  guard let value = result.withLock({ $0 }) else { violated("something waited that must not") }
  return value
}

extension Set<KeyCustodyError.Code> {
  /// What reading sealed data may say.
  static let sealedData: Self = [.integrityFailure, .invalidInput, .unsupported]
}
