public import KeyCustody

/// A key provider to run the behaviours of ``KeyProviderConformance`` on.
public struct KeyProviderSubject: Sendable {
  /// Checks a signature over a digest under a public key (DER `SubjectPublicKeyInfo`).
  public typealias SignatureVerifier =
    @Sendable (
      _ signature: [UInt8], _ digest: [UInt8], _ publicKey: [UInt8], _ algorithm: SignatureAlgorithm
    ) throws -> Bool

  /// Makes an empty backend of its own for one behaviour, to be opened in the environment given.
  ///
  /// The environment's clock is a ``ManualClock``, which stands still unless a behaviour moves it.
  public var make: @Sendable (RuntimeEnvironment) async throws -> ConformanceBackend<any KeyProvider>
  /// Checks signatures; the kit has no cryptography of its own.
  ///
  /// Without it those behaviours are not applicable.
  public var verify: SignatureVerifier?
  /// Whether each call of ``make`` gives another backend: false for the one HSM on the desk.
  public var backendsAreSeparate: Bool
  /// How long to wait for what a backend must do by itself, for instance end a stream.
  public var patience: Duration

  /// A subject.
  public init(
    verify: SignatureVerifier? = nil, backendsAreSeparate: Bool = true, patience: Duration = .seconds(30),
    make: @escaping @Sendable (RuntimeEnvironment) async throws -> ConformanceBackend<any KeyProvider>
  ) {
    self.make = make
    self.verify = verify
    self.backendsAreSeparate = backendsAreSeparate
    self.patience = patience
  }
}

typealias KeyBehavior = ConformanceBehavior<KeyProviderSubject>

extension ConformanceBehavior where Subject == KeyProviderSubject {
  /// A behaviour that opens a fresh provider, tries it, and closes whatever is open at the end.
  init(_ name: String, _ requirement: String, _ body: @escaping @Sendable (KeyTrial) async throws -> Void) {
    self.init(name, requirement) { subject in
      let trial = try await KeyTrial(subject)
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
