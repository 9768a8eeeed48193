public import KeyCustody

/// Outside OpenID Connect issuers as identity providers.
///
/// ## Configuration
/// - `issuer`: the issuer's URL, as its tokens write it.
/// - `tenant`: the tenant that its principals belong to.
/// - `audiences`: the names under which the issuer knows this deployment, a list or divided by commas; without it, what
///   the host calls itself.
/// - `subjectClaim` (default `sub`): the claim that names a principal.
/// - `kind` (default `servicePrincipal`): `servicePrincipal` or `user`.
/// - `algorithms` (default `RS256`, `PS256`, `ES256`): a list, or divided by commas.
/// - `caFile`: certificate authorities of the issuer's TLS (PEM); the system's otherwise.
/// - `jwksFile`: the issuer's keys, read from a file; then nothing is asked over a network.
/// - `keepKeys` (default 86400, 600 to 604800): for how many seconds fetched keys are used while the issuer can't be
///   reached.
public enum OIDCPlugin {
  /// The plugin's name.
  public static let name = "oidc"

  /// The plugin `oidc`.
  public static let plugin = Plugin(
    name: name,
    identityProvider: { (section, environment) throws(KeyCustodyError) in
      let settings = try settings(section, environment)
      return { () throws(KeyCustodyError) in try await OIDCIdentityProvider(settings, environment: environment) }
    })

  /// Reads the settings of a section.
  ///
  /// - Throws: `invalidInput`.
  public static func settings(
    _ section: ConfigurationSection, _ environment: RuntimeEnvironment
  ) throws(KeyCustodyError) -> OIDCIdentityProvider.Settings {
    let issuer = try OIDCIssuer(
      section.requiredString("issuer"), algorithms: algorithms(section),
      caFile: section.string("caFile").map(environment.path),
      keySetFile: section.string("jwksFile").map(environment.path),
      keepKeys: .seconds(section.integer("keepKeys", in: OIDCIssuer.keepingBounds) ?? 86400))
    let tenant = try TenantID(section.requiredString("tenant"))
    let kind = try section.string("kind") ?? Principal.Kind.servicePrincipal.rawValue
    guard let kind = Principal.Kind(rawValue: kind), kind != .managedIdentity else {
      throw badValue(section, "kind", "is neither 'servicePrincipal' nor 'user'", "Write one of the two.")
    }
    let audiences = try list("audiences", section)
    guard audiences.map({ !$0.isEmpty }) ?? true else {
      throw badValue(section, "audiences", "is empty", "Name an audience, or leave it out.")
    }
    let claim = try section.string("subjectClaim") ?? "sub"
    guard !claim.isEmpty else {
      throw badValue(section, "subjectClaim", "is empty", "Name a claim, or leave it out.")
    }
    return OIDCIdentityProvider.Settings(
      issuer: issuer, tenant: tenant, audiences: audiences ?? [], subjectClaim: claim, kind: kind)
  }

  private static func algorithms(_ section: ConfigurationSection) throws(KeyCustodyError) -> Set<SignatureAlgorithm> {
    guard let names = try list("algorithms", section) else { return OIDCIssuer.usualAlgorithms }
    var algorithms: Set<SignatureAlgorithm> = []
    for name in names {
      guard let algorithm = SignatureAlgorithm(rawValue: name) else {
        let offered = SignatureAlgorithm.allCases.map(\.rawValue).joined(separator: ", ")
        throw badValue(
          section, "algorithms", "lists '\(name.prefix(20).filter(\.isASCII))'", "It may list: \(offered).")
      }
      algorithms.insert(algorithm)
    }
    return algorithms
  }

  /// Several texts, or one with commas between.
  private static func list(_ name: String, _ section: ConfigurationSection) throws(KeyCustodyError) -> [String]? {
    var texts: [String]?
    do throws(KeyCustodyError) { texts = try section.strings(name) } catch {
      guard let text = try? section.string(name) else { throw error }
      texts = text.split(separator: ",").map(String.init)
    }
    return texts?.map { String($0.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()) }.filter { !$0.isEmpty }
  }

  private static func badValue(
    _ section: ConfigurationSection, _ name: String, _ what: String, _ remedy: String
  ) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .badConfigurationValue,
      "The configuration value '\((section.path + [name]).joined(separator: "."))' \(what).", remedy: remedy)
  }
}
