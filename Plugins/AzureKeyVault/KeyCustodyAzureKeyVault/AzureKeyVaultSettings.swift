public import KeyCustody

/// Where a remote vault is, how this program shows who it is, and what is made there.
public struct AzureKeyVaultSettings: Sendable {
  /// How this program shows who it is.
  public enum Credential: Sendable {
    /// A client's name and secret, shown to the authority alone (RFC 6749, section 4.4).
    ///
    /// The authority is its address with the tenant: `https://login.microsoftonline.com/TENANT`.
    case clientSecret(authority: String, clientID: String, secret: SecretReference)
    /// The machine's own identity in the form of App Service: an endpoint, and the secret that it asks for.
    ///
    /// `clientID` picks one of several identities.
    case managedIdentity(endpoint: String, header: SecretReference, clientID: String?)
  }

  /// What protects the keys that are made or brought in.
  public enum Protection: String, Sendable, CaseIterable {
    /// The vault's software.
    case software
    /// The vault's hardware: the `-HSM` key types.
    case hsm
  }

  /// The vault's address, `https://HOST[:PORT]`.
  public var vault: String
  /// How this program shows who it is.
  public var credential: Credential
  /// What the names of this provider's keys begin with, before a dash and the version's 32 digits.
  public var prefix = "kc"
  /// What protects new keys.
  public var protection = Protection.software
  /// The types of keys that are offered, without AES.
  public var types: [KeyType] = Self.usualTypes
  /// Whether AES keys are offered, once a throw-away one was made and used at opening.
  public var symmetric = false
  /// Whether RSA keys wrap on this host, with the public key that was fetched, instead of in the vault.
  public var wrapsOnHost = false
  /// A PEM file of the certificate authorities to trust, for the vault and the authority; the system's where `nil`.
  public var caFile: String?
  /// How long a call may take, repeats included.
  public var timeout = Duration.seconds(30)
  /// Addresses to connect to in place of what hosts' names resolve to.
  package var hosts: [String: String] = [:]

  /// The types that every such vault has.
  public static let usualTypes: [KeyType] = [
    .rsa(bits: 2048), .rsa(bits: 3072), .rsa(bits: 4096), .ec(.p256), .ec(.p384), .ec(.p521),
  ]

  /// Settings with the defaults above.
  public init(vault: String, credential: Credential) {
    self.vault = vault
    self.credential = credential
  }

  /// What the settings come to, checked.
  ///
  /// - Throws: `invalidInput` (`bad-configuration-value`).
  func checked() throws(KeyCustodyError) -> CheckedSettings { try CheckedSettings(self) }
}

/// Settings that were found right.
struct CheckedSettings: Sendable {
  let settings: AzureKeyVaultSettings
  let vault: WebAddress
  /// Where tokens come from.
  let tokens: WebAddress
  /// Whom a challenge may name; `nil` where no secret of ours depends on it.
  let authority: WebAddress?
  /// Whose vault it must be, where the authority is that tenant's own.
  let tenant: TenantID?

  init(_ settings: AzureKeyVaultSettings, tenant: TenantID? = nil) throws(KeyCustodyError) {
    self.settings = settings
    self.tenant = tenant
    guard let vault = WebAddress(settings.vault), vault.isProtected, vault.path.isEmpty else {
      throw Self.bad(
        "'vault' is not an address like https://NAME.vault.azure.net.", "Write https, a host, and no path.")
    }
    self.vault = vault
    switch settings.credential {
    case .clientSecret(let text, let clientID, _):
      guard let authority = WebAddress(text), authority.isProtected, authority.path.count > 1 else {
        throw Self.bad(
          "'authority' is not an address like https://login.microsoftonline.com/TENANT.",
          "Write https, a host, and the tenant.")
      }
      tokens = authority
      self.authority = authority
      try Self.check(clientID: clientID)
    case .managedIdentity(let text, _, let clientID):
      guard let endpoint = WebAddress(text), endpoint.isProtected || endpoint.isLocal else {
        throw Self.bad(
          "'identityEndpoint' is neither https nor http on this machine.",
          "Take the value of IDENTITY_ENDPOINT that the platform gives.")
      }
      tokens = endpoint
      authority = nil
      if let clientID { try Self.check(clientID: clientID) }
    }
    guard (1...40).contains(settings.prefix.utf8.count),
      settings.prefix.utf8.allSatisfy({ WebAddress.isAlphanumeric($0) || $0 == UInt8(ascii: "-") })
    else {
      throw Self.bad("'prefix' is not 1 to 40 letters, digits and dashes.", "Shorten it, or leave it out.")
    }
    guard !settings.types.isEmpty || settings.symmetric else {
      throw Self.bad(
        "'capabilities' is empty, and 'symmetric' is not set.", "List one at least in 'capabilities', or leave it out.")
    }
    for type in settings.types where !AzureKeyVaultSettings.usualTypes.contains(type) {
      throw Self.bad(
        "'capabilities' lists '\(type)'.",
        "It may list \(AzureKeyVaultSettings.usualTypes.map(\.description).joined(separator: ", ")); for AES set "
          + "'symmetric'.")
    }
    guard settings.timeout >= .seconds(1), settings.timeout <= .seconds(600) else {
      throw Self.bad("'timeout' is not from 1 to 600 seconds.", "Write a number within these bounds.")
    }
  }

  private static func check(clientID: String) throws(KeyCustodyError) {
    guard (1...256).contains(clientID.utf8.count), clientID.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
      throw bad("'clientID' is empty, too long, or has characters that no client's name has.", "Copy it once more.")
    }
  }

  private static func bad(_ message: String, _ remedy: String) -> KeyCustodyError {
    KeyCustodyError(.invalidInput, .badConfigurationValue, "The setting \(message)", remedy: remedy)
  }
}
