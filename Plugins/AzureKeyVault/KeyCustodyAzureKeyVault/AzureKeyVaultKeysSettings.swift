public import KeyCustody

/// Where customers' vaults are, and how this program shows them who it is.
public struct AzureKeyVaultKeysSettings: Sendable {
  /// What stands for the tenant in an authority.
  public static let tenant = "{tenant}"

  /// The domain of the vaults, with the port where that is not 443: a vault's host is one label in front of it.
  public var domain: String
  /// How this program shows who it is.
  ///
  /// Where ``tenant`` stands in a client's authority, the tenant of the resource takes its place.
  public var credential: AzureKeyVaultSettings.Credential
  /// The names of the vaults that are meant; `nil`: all of the domain.
  public var vaults: Set<VaultName>?
  /// A PEM file of the certificate authorities to trust, for the vaults and the authority; the system's where `nil`.
  public var caFile: String?
  /// How long a call may take, repeats included.
  public var timeout = Duration.seconds(10)
  /// Addresses to connect to in place of what hosts' names resolve to.
  package var hosts: [String: String] = [:]

  /// Settings with the defaults above.
  public init(domain: String, credential: AzureKeyVaultSettings.Credential) {
    self.domain = domain
    self.credential = credential
  }

  /// Whether the authority is another one for each tenant.
  var separatesTenants: Bool {
    if case .clientSecret(let authority, _, _) = credential { authority.contains(Self.tenant) } else { false }
  }

  /// The settings for one vault, asked for one tenant.
  ///
  /// - Throws: `invalidInput` (`bad-configuration-value`).
  func vault(_ authority: String, for tenant: TenantID) throws(KeyCustodyError) -> CheckedSettings {
    var credential = credential
    if case .clientSecret(let pattern, let clientID, let secret) = credential {
      let parts = pattern.split(separator: Self.tenant, maxSplits: 1, omittingEmptySubsequences: false)
      credential = .clientSecret(
        authority: parts.joined(separator: tenant.spelling), clientID: clientID, secret: secret)
    }
    var settings = AzureKeyVaultSettings(vault: "https://\(authority)", credential: credential)
    (settings.caFile, settings.timeout, settings.hosts) = (caFile, timeout, hosts)
    return try CheckedSettings(settings, tenant: separatesTenants ? tenant : nil)
  }

  /// Checks all that can be wrong before a vault is known.
  ///
  /// - Returns: what stands behind a vault's name in its authority, with the dot.
  /// - Throws: `invalidInput` (`bad-configuration-value`).
  @discardableResult
  func check() throws(KeyCustodyError) -> String {
    guard let address = WebAddress("https://any.\(domain)"), address.path.isEmpty else {
      throw KeyCustodyError(
        .invalidInput, .badConfigurationValue,
        "The setting 'domain' is not the domain of vaults, like vault.azure.net.",
        remedy: "Write what stands behind a vault's name in its address, with the port where that is not 443.")
    }
    _ = try vault("any.\(domain)", for: TenantID("any"))
    return String(address.authority.dropFirst("any".utf8.count))
  }
}
