public import KeyCustody

/// An identity provider to run the behaviours of ``IdentityProviderConformance`` on: one that issues credentials itself.
public struct IdentityProviderSubject: Sendable {
  /// Makes an empty directory of its own for one behaviour, to be opened in the environment given.
  ///
  /// The directory must take the time from the environment: its clock is a ``ManualClock``, which behaviours move.
  public var make: @Sendable (RuntimeEnvironment) async throws -> ConformanceBackend<any IdentityProvider>
  /// The audience that tokens are issued for and checked against.
  public var audience: String
  /// The tenant whose principals behaviours make.
  public var tenant: TenantID
  /// Another tenant of the same directory.
  public var otherTenant: TenantID
  /// How long to wait for what a backend must do by itself, for instance tell of an event.
  public var patience: Duration

  /// A subject.
  public init(
    audience: String, tenant: TenantID, otherTenant: TenantID, patience: Duration = .seconds(30),
    make: @escaping @Sendable (RuntimeEnvironment) async throws -> ConformanceBackend<any IdentityProvider>
  ) {
    self.make = make
    self.audience = audience
    self.tenant = tenant
    self.otherTenant = otherTenant
    self.patience = patience
  }
}

typealias IdentityBehavior = ConformanceBehavior<IdentityProviderSubject>

extension ConformanceBehavior where Subject == IdentityProviderSubject {
  /// A behaviour that opens an empty directory, tries it, and closes whatever is open at the end.
  init(_ name: String, _ requirement: String, _ body: @escaping @Sendable (IdentityTrial) async throws -> Void) {
    self.init(name, requirement) { subject in
      let bench = try await Bench(subject.make) { await $0.close() }
      let provider = try await bench.open()
      do {
        guard let administration = provider.administration else {
          throw NotApplicable("this identity provider issues no credentials")
        }
        try await body(
          IdentityTrial(subject: subject, bench: bench, provider: provider, administration: administration))
      } catch {
        await bench.finish()
        throw error
      }
      await bench.finish()
      return .passed
    }
  }
}

/// The contract of `IdentityProvider` and `IdentityAdministration` as named behaviours.
///
/// A provider conforms when none of them is violated. Those that do not concern a backend say why not.
public enum IdentityProviderConformance {
  /// Every behaviour.
  public static let all: [ConformanceBehavior<IdentityProviderSubject>] =
    directory + secrets + tokens + forgery + managedIdentities + lifetime
}
