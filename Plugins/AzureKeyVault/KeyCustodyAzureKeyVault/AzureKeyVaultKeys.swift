public import KeyCustody
import KeyCustodyCrypto
import Synchronization

/// Customers' keys in vaults that speak the wire form of Azure Key Vault over HTTPS: this package's own, or Azure's.
///
/// One source is for all vaults of a domain. It shows each the same client, with a token of the tenant's own authority.
///
/// ## Limits
/// - A vault is told nothing of which resource its key is used for: its owner grants the client of this service.
/// - Nobody is told when a vault takes access away: it is noticed when a lease ends.
/// - The size of a symmetric key is not on the wire: it is taken to be AES-256, which its first use proves.
/// - Secrets on their way to and from a vault, and tokens, pass through memory of the HTTP client that nobody clears.
public final class AzureKeyVaultKeys: CustomerKeySource {
  private struct Place: Hashable {
    var authority: String
    var tenant: TenantID
  }
  /// How many vaults are remembered, each with a token of some kilobytes.
  private static let mostVaults = 10_000

  private let settings: AzureKeyVaultKeysSettings
  private let suffix: String
  private let environment: RuntimeEnvironment
  private let http: HTTPConnection
  private let worker: BlockingWorker
  private let calls: VaultCalls
  private let vaults = Mutex<[Place: VaultConnection]>([:])

  /// `azure-key-vault`, and the vaults' domain.
  public var identity: ProviderIdentity {
    ProviderIdentity(kind: AzureKeyVaultPlugin.name, instance: settings.domain)
  }

  /// Whether the authority has the tenant's name in it: a vault is believed to be of a tenant when it names that one.
  public var separatesTenants: Bool { settings.separatesTenants }

  /// Checks the settings; connects to nothing yet.
  ///
  /// - Throws: `invalidInput` (`bad-configuration-value`).
  public init(_ settings: AzureKeyVaultKeysSettings, environment: RuntimeEnvironment) throws(KeyCustodyError) {
    suffix = try settings.check()
    self.settings = settings
    self.environment = environment
    http = try HTTPConnection(caFile: settings.caFile, hosts: settings.hosts)
    worker = try BlockingWorker()
    calls = VaultCalls(environment.time, timeout: settings.timeout)
  }

  /// Whether the host is one label before the domain, of those vaults that are meant.
  public func covers(_ key: KeyURI) -> Bool {
    guard key.authority.hasSuffix(suffix) else { return false }
    let label = String(key.authority.dropLast(suffix.utf8.count))
    guard let name = try? VaultName(label) else { return false }
    return settings.vaults?.contains(name) ?? true
  }

  /// Reads a key's bundle.
  public func describe(
    _ key: KeyURI, for tenant: TenantID, context: CallContext
  ) async throws(KeyCustodyError) -> CustomerKey {
    let answer = try await ask(VaultAsk(method: .get, path: Self.path(key)), key, tenant, context)
    guard answer.isGood else { throw refusal(answer, key) }
    return try CustomerKey(answer.json, of: key)
  }

  /// Has the vault wrap.
  public func wrap(
    _ secret: borrowing SecretBytes, with key: KeyURI, algorithm: WrapAlgorithm, for tenant: TenantID,
    context: CallContext
  ) async throws(KeyCustodyError) -> [UInt8] {
    let body = AzureKeyVaultProvider.body(algorithm.rawValue, secret)
    let value = try await use(key, "wrapkey", body, tenant, context)
    guard let bytes = [UInt8](base64URL: value), !bytes.isEmpty else {
      throw .unfit(key.name.spelling, "what it wrapped is no base64url")
    }
    return bytes
  }

  /// Has the vault unwrap.
  public func unwrap(
    _ wrapped: [UInt8], with key: KeyURI, algorithm: WrapAlgorithm, for tenant: TenantID, context: CallContext
  ) async throws(KeyCustodyError) -> SecretBytes {
    let body = HTTPAsk.Body(SecretBytes(copying: AzureKeyVaultProvider.text(algorithm.rawValue, wrapped)))
    let value = try await use(key, "unwrapkey", body, tenant, context)
    guard let secret = SecretBytes.decoded(base64URL: value), secret.count > 0 else {
      throw .unfit(key.name.spelling, "what it unwrapped is no base64url")
    }
    return secret
  }

  /// Ends every connection and forgets the tokens.
  public func close() async {
    guard calls.close() else { return }
    for vault in vaults.withLock({ vaults in exchange(&vaults, with: [:]).values }) { vault.forgetToken() }
    await http.close()
  }

  // MARK: Asking

  private static func path(_ key: KeyURI) -> String {
    "/keys/\(key.name.spelling)\(key.version.map { "/\($0)" } ?? "")"
  }

  private func use(
    _ key: KeyURI, _ operation: String, _ body: HTTPAsk.Body, _ tenant: TenantID, _ context: CallContext
  ) async throws(KeyCustodyError) -> String {
    guard let version = key.version else {
      throw KeyCustodyError(.invalidInput, .malformed, "'\(key)' names no version.", remedy: "Name the version.")
    }
    let ask = VaultAsk(method: .post, path: "\(Self.path(key))/\(operation)", body: body)
    let answer = try await self.ask(ask, key, tenant, context)
    guard answer.isGood else {
      // What a vault can't unwrap is refused as malformed; a gateway before it may say 400 of anything.
      if operation == "unwrapkey", answer.status == 400, answer.code == "BadParameter" {
        throw notAuthentic("The wrapped key")
      }
      throw refusal(answer, key)
    }
    return try answer.value(of: key.name.spelling, version.description)
  }

  private func ask(
    _ ask: VaultAsk, _ key: KeyURI, _ tenant: TenantID, _ context: CallContext
  ) async throws(KeyCustodyError) -> VaultAnswer {
    let vault = try vault(Place(authority: key.authority, tenant: tenant))
    do throws(KeyCustodyError) {
      return try await calls.run(key.authority, context) { (deadline) throws(KeyCustodyError) in
        try await vault.ask(ask, by: deadline)
      }
    } catch {
      guard error.code == .credentialRejected, separatesTenants else { throw error }
      throw KeyCustodyError(
        .credentialRejected, error.reason, "The directory of the tenant '\(tenant)' does not let this service in.",
        remedy: "Its administrator can let this service's client in. Where no tenant does, check the client's secret.",
        diagnostic: error.debugDescription)
    }
  }

  private func vault(_ place: Place) throws(KeyCustodyError) -> VaultConnection {
    if let known = vaults.withLock({ $0[place] }) { return known }
    let new = VaultConnection(
      try settings.vault(place.authority, for: place.tenant), http, worker, environment: environment, health: nil,
      // A customer lets the service in again without telling it.
      keepsRefusal: .seconds(30))
    return vaults.withLock { vaults in
      if let known = vaults[place] { return known }
      if vaults.count >= Self.mostVaults { vaults.removeAll() }
      vaults[place] = new
      return new
    }
  }

  private func refusal(_ answer: VaultAnswer, _ key: KeyURI) -> KeyCustodyError {
    let error = answer.error(key.authority, key.version)
    if answer.inner == "KeyOperationForbidden" {
      return KeyCustodyError(
        .denied, .keyOperationForbidden, "The key '\(key)' may not be used for wrapping and unwrapping any more.",
        remedy: "Its owner can allow these operations again.", diagnostic: answer.diagnostic)
    }
    if error.code == .notFound {
      return KeyCustodyError(
        .notFound, .keyVersionUnknown, "There is no key '\(key)'.",
        remedy: "Check the name and the version; a key that was deleted can be recovered by its owner.",
        diagnostic: answer.diagnostic)
    }
    guard error.reason == .accessDenied else { return error }
    return KeyCustodyError(
      .denied, .accessDenied, "The vault '\(key.authority)' does not let this service use the key '\(key.name)'.",
      remedy: "Its administrator can grant get, wrapKey and unwrapKey on keys.", diagnostic: answer.diagnostic)
  }
}

extension CustomerKey {
  /// Reads a key's bundle.
  ///
  /// - Throws: `unavailable` (`bad-answer`) for what is no such key.
  init(_ bundle: JSON?, of uri: KeyURI) throws(KeyCustodyError) {
    let name = uri.name.spelling
    guard let bundle, let key = bundle["key"], let parts = Naming.parts(of: key["kid"]?.string),
      parts.name.lowercased() == name.lowercased(), let text = parts.version,
      let version = try? KeyVersionID(String(text)), uri.version == nil || uri.version == version
    else { throw .unfit(name, "the vault answered with something else") }
    let operations = key["key_ops"]?.array ?? []
    self.init(
      uri: uri.with(version: version), type: try WirePublicKey(key, name)?.type ?? .aes(bits: 256),
      wraps: operations.contains("wrapKey") && operations.contains("unwrapKey"),
      recovery: Self.recovery(bundle["attributes"]?["recoveryLevel"]?.string))
    let attributes = bundle["attributes"]
    isEnabled = attributes?["enabled"]?.bool ?? true
    notBefore = attributes?["nbf"]?.integer.map(Timestamp.init(seconds:))
    expires = attributes?["exp"]?.integer.map(Timestamp.init(seconds:))
  }

  /// What a vault's word for it means: what can be purged has no protection against that.
  private static func recovery(_ level: String?) -> Recovery {
    guard let level, level.contains("Recoverable") else { return .none }
    return level.contains("Purgeable") ? .recoverable : .protected
  }
}
