public import KeyCustody

/// How the vault is served, besides what the deployment's configuration says.
public struct ServerSettings: Sendable {
  /// How long an operation may take before it is given up with 504.
  public var deadline = Duration.seconds(5)
  /// The largest body taken, in bytes.
  public var largestBody = 1 << 20
  /// The largest body of a request that restores a backup, in bytes; larger backups are not given.
  public var largestBackup = 16 << 20
  /// How many requests are worked on at once; more are answered 429.
  public var mostRequests = 512
  /// Whose tokens are asked for where the vault is not known.
  public var tenant: TenantID
  /// The key provider of vaults that are made over HTTP without naming one.
  public var keyProvider: String?
  /// The key provider of HSM-protected keys of such vaults.
  public var hsmKeyProvider: String?
  /// How long an access token lives.
  public var tokenLifetime = Duration.seconds(3600)
  /// The identity whose tokens this server gives to programs on its own machine.
  public var managedIdentity: ManagedIdentity?

  /// An identity of the machine itself.
  public struct ManagedIdentity: Sendable {
    /// Who.
    public var principal: PrincipalID
    /// What a program must show in `X-IDENTITY-HEADER`, at least 16 characters.
    public var header: String
    /// Whether the form of IMDS is served too, which asks for no secret: only to programs of this server's own user and
    /// of root, on this machine.
    public var servesIMDS: Bool

    /// An identity of the machine itself.
    public init(principal: PrincipalID, header: String, servesIMDS: Bool = true) {
      self.principal = principal
      self.header = header
      self.servesIMDS = servesIMDS
    }
  }

  /// Settings with the defaults above.
  public init(tenant: TenantID) { self.tenant = tenant }
}
