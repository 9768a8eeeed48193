public import KeyCustody

/// A policy store to run the behaviours of ``PolicyStoreConformance`` on.
public struct PolicyStoreSubject: Sendable {
  /// Makes an empty backend of its own for one behaviour, to be opened in the environment given.
  public var make: @Sendable (RuntimeEnvironment) async throws -> ConformanceBackend<any PolicyStore>
  /// The most records that the backend holds, where that is limited: behaviours that need more are not applicable.
  public var capacity: Int
  /// How long to wait for what a backend must do by itself, for instance tell a watcher of a change.
  public var patience: Duration

  /// A subject.
  public init(
    capacity: Int = .max, patience: Duration = .seconds(30),
    make: @escaping @Sendable (RuntimeEnvironment) async throws -> ConformanceBackend<any PolicyStore>
  ) {
    self.make = make
    self.capacity = capacity
    self.patience = patience
  }
}

typealias StoreBehavior = ConformanceBehavior<PolicyStoreSubject>

extension ConformanceBehavior where Subject == PolicyStoreSubject {
  /// A behaviour that opens an empty store, tries it, and closes whatever is open at the end.
  init(_ name: String, _ requirement: String, _ body: @escaping @Sendable (StoreTrial) async throws -> Void) {
    self.init(name, requirement) { subject in
      let trial = try await StoreTrial(subject)
      do {
        try await body(trial)
      } catch {
        await trial.bench.finish()
        throw error
      }
      await trial.bench.finish()
      return .passed
    }
  }
}

/// The contract of `PolicyStore` as named behaviours.
///
/// A store conforms when none of them is violated. Those that do not concern a backend say why not.
public enum PolicyStoreConformance {
  /// Every behaviour.
  public static let all: [ConformanceBehavior<PolicyStoreSubject>] =
    records + revisions + listing + concurrency + watching + lifetime
}
