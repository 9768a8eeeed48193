import KeyCustody

/// One thing that every backend must do, with a name and a requirement, ready to run.
///
/// The kit publishes its behaviours as arrays, so that each becomes a named case of a parameterised test in any harness:
///
/// ```swift
/// @Test(arguments: KeyProviderConformance.all)
/// func conforms(to behavior: ConformanceBehavior<KeyProviderSubject>) async throws {
///   try await behavior.run(subject)
/// }
/// ```
///
/// Behaviours of one list may run at the same time: each opens a backend of its own.
public struct ConformanceBehavior<Subject: Sendable>: Sendable {
  /// What must hold, as a sentence; unique in its list.
  public let name: String
  /// Where it is demanded: a number of SEMANTICS.md (`V7`), a chapter of DESIGN.md (`DESIGN 3`), or the protocol whose
  /// documentation says it.
  public let requirement: String
  private let body: @Sendable (Subject) async throws -> ConformanceResult

  /// A behaviour.
  ///
  /// `body` throws ``ConformanceViolation`` when the subject breaks it.
  public init(
    _ name: String, _ requirement: String, _ body: @escaping @Sendable (Subject) async throws -> ConformanceResult
  ) {
    self.name = name
    self.requirement = requirement
    self.body = body
  }

  /// Tries the behaviour on a subject.
  ///
  /// - Returns: whether it holds, or why it does not concern this subject.
  /// - Throws: ``ConformanceViolation`` when it is broken, by an error of the backend where none is due too;
  ///   ``ConformanceSetupFailure`` when the subject could not make a backend; `CancellationError`.
  @discardableResult
  public func run(_ subject: Subject) async throws -> ConformanceResult {
    do {
      return try await body(subject)
    } catch let error as NotApplicable {
      return .notApplicable(error.reason)
    } catch let error as ConformanceViolation {
      throw error
    } catch let error as ConformanceSetupFailure {
      throw error
    } catch let error as CancellationError {
      throw error
    } catch let error as KeyCustodyError {
      throw ConformanceViolation("It threw '\(error.debugDescription)' where it should have worked.")
    } catch {
      throw ConformanceViolation("It threw '\(error)', which is not a KeyCustodyError.")
    }
  }
}

extension ConformanceBehavior: CustomStringConvertible {
  /// The requirement and the name, for lists of tests.
  public var description: String { "\(requirement): \(name)" }
}

/// What came of a behaviour that was not broken.
public enum ConformanceResult: Sendable, Hashable {
  /// It holds.
  case passed
  /// It holds, and held in so many runs with a fault beneath the backend.
  case passedUnderFaults(runs: Int)
  /// It does not concern this subject, and why.
  case notApplicable(String)

  /// Whether it holds.
  public var isPassed: Bool { if case .notApplicable = self { false } else { true } }
  /// How many runs with a fault it held in.
  public var faultRuns: Int { if case .passedUnderFaults(let runs) = self { runs } else { 0 } }
}

/// A behaviour was broken: what was seen, against what should have been.
public struct ConformanceViolation: Error, Sendable, CustomStringConvertible {
  /// What was seen, against what should have been.
  public let message: String
  /// States what was seen.
  public init(_ message: String) { self.message = message }
  /// The message.
  public var description: String { message }
}

/// The subject could not make a backend to try: a fault of the test's preparation, not of the backend's behaviour.
public struct ConformanceSetupFailure: Error, Sendable, CustomStringConvertible {
  /// What stood in the way.
  public let message: String
  /// States what stood in the way.
  public init(_ message: String) { self.message = message }
  /// The message.
  public var description: String { message }
}

/// Ends a behaviour that does not concern the subject; never seen outside of the kit.
struct NotApplicable: Error {
  let reason: String
  init(_ reason: String) { self.reason = reason }
}
