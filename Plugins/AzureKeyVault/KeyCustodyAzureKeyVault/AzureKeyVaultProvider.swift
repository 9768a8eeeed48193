public import KeyCustody
import KeyCustodyCrypto
import Synchronization

/// Keys in a vault that speaks the wire form of Azure Key Vault.
///
/// ## What stands in the vault
/// A key version is a key named `PREFIX-` and its 32 digits, with one version. Its type, operations and public key are
/// the vault's own; tags (`kc-type`, `kc-origin`, `kc-mark`, `kc-label`) keep what a vault does not remember by itself.
/// Where other programs add versions, the oldest one is the key; where they delete the key, it is not found.
///
/// ## Limits
/// - The wire form has no "create unless it is there". The name is looked up before, and the versions are counted
///   afterwards: who finds an older version than its own switches its own off and says `already-exists`. Where two
///   processes make the same name within one second, both may be told so, and the name is then left with disabled
///   versions.
/// - Where the vault's purge protection holds, or this program may not purge, a destroyed key is merely deleted: nobody
///   can use it, but whoever may recover deleted keys can bring it back until the vault purges it, and its name stays
///   taken until then.
/// - A deleted key is `notFound` here, whoever deleted it.
/// - Secrets on their way to and from the vault, and tokens, pass through memory of the HTTP client that nobody clears.
public final class AzureKeyVaultProvider: KeyProvider {
  let settings: CheckedSettings
  let environment: RuntimeEnvironment
  let vault: VaultConnection
  let keys = RemoteKeyCache()
  let turns = NameTurns()
  /// Checks keys that are brought in, and wraps where that is the host's work.
  let worker: BlockingWorker
  private let calls: VaultCalls
  let broadcaster: EventBroadcaster<KeyProviderEvent>
  private let found = Mutex(KeyProviderCapabilities([:]))

  /// `azure-key-vault`, and the vault's host with its port where that is not 443.
  public var identity: ProviderIdentity {
    ProviderIdentity(kind: AzureKeyVaultPlugin.name, instance: settings.vault.authority)
  }

  /// What is configured, and so far as AES goes, what was run at opening.
  public var capabilities: KeyProviderCapabilities { found.withLock { $0 } }

  private init(_ settings: CheckedSettings, environment: RuntimeEnvironment) throws(KeyCustodyError) {
    self.settings = settings
    self.environment = environment
    let broadcaster = EventBroadcaster<KeyProviderEvent>()
    self.broadcaster = broadcaster
    worker = try BlockingWorker()
    calls = VaultCalls(environment.time, timeout: settings.settings.timeout)
    vault = try VaultConnection(
      settings, HTTPConnection(caFile: settings.settings.caFile, hosts: settings.settings.hosts), worker,
      environment: environment, health: VaultHealth(broadcaster))
  }

  /// Opens a vault: gets a token and asks for a key that is not there.
  ///
  /// - Throws: `invalidInput` for settings that are wrong, and for a vault that sends its callers elsewhere;
  ///   `credentialRejected`; `denied`; `unavailable`.
  public static func open(
    _ settings: AzureKeyVaultSettings, environment: RuntimeEnvironment
  ) async throws(KeyCustodyError) -> AzureKeyVaultProvider {
    let provider = try AzureKeyVaultProvider(try settings.checked(), environment: environment)
    do throws(KeyCustodyError) {
      try await provider.probe(nil, context: CallContext(purpose: .probe))
      let capabilities = try await provider.findCapabilities()
      provider.found.withLock { $0 = capabilities }
    } catch {
      await provider.close()
      throw error
    }
    return provider
  }

  /// Tells what the vault says of a key version now.
  public func describe(
    _ version: KeyVersionID, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try await run(context) { (deadline) throws(KeyCustodyError) in try await self.look(version, deadline).description }
  }

  /// Wraps a secret: in the vault, or on this host where the settings say so and the key is RSA.
  public func wrap(
    _ secret: borrowing SecretBytes, with request: WrapRequest
  ) async throws(KeyCustodyError) -> WrappedSecret {
    try capabilities.require(.wrap(request.algorithm))
    let copy = secret.copy()
    let bytes = try await run(request.context) { (deadline) throws(KeyCustodyError) in
      try await self.wrapped(copy, request, deadline)
    }
    return WrappedSecret(version: request.version, algorithm: request.algorithm, bytes: bytes)
  }

  /// Unwraps in the vault.
  public func unwrap(_ wrapped: [UInt8], with request: WrapRequest) async throws(KeyCustodyError) -> SecretBytes {
    try capabilities.require(.unwrap(request.algorithm))
    return try await run(request.context) { (deadline) throws(KeyCustodyError) in
      try await self.unwrapped(wrapped, request, deadline)
    }
  }

  /// Signs in the vault.
  public func sign(_ digest: [UInt8], with request: SignRequest) async throws(KeyCustodyError) -> [UInt8] {
    try capabilities.require(.sign(request.algorithm))
    try request.algorithm.checkDigest(digest)
    return try await run(request.context) { (deadline) throws(KeyCustodyError) in
      try await self.signed(digest, request, deadline)
    }
  }

  /// Asks the vault for a key; where a version is given, has it do its work, and checks that.
  public func probe(_ version: KeyVersionID?, context: CallContext) async throws(KeyCustodyError) {
    try await run(context) { (deadline) throws(KeyCustodyError) in
      guard let version else { return try await self.checkVault(deadline) }
      try await self.prove(version, deadline)
    }
  }

  /// Keys that were destroyed or found gone, and when the vault stops answering and answers again.
  public func events() -> AsyncStream<KeyProviderEvent> { broadcaster.stream() }

  /// Ends every connection and forgets the token; calls after it throw `unavailable` (`closed`).
  public func close() async {
    guard calls.close() else { return }
    broadcaster.finish()
    keys.clear()
    await vault.close()
  }

  /// The vault's list, as far as it is of this provider.
  public var inventory: (any KeyInventory)? { self }

  /// Does work by the call's deadline, or the settings' where that is earlier.
  func run<Result: ~Copyable & Sendable>(
    _ context: CallContext?, _ work: @escaping @Sendable (Duration) async throws(KeyCustodyError) -> sending Result
  ) async throws(KeyCustodyError) -> sending Result {
    try await calls.run(settings.vault.authority, context, work)
  }
}

/// What is known of keys, so that using one costs one request.
///
/// A version of the wire form never changes its material, so what is kept is right for as long as the version is there.
final class RemoteKeyCache: Sendable {
  private static let limit = 1024
  private let keys = Mutex<[KeyVersionID: RemoteKey]>([:])

  subscript(version: KeyVersionID) -> RemoteKey? { keys.withLock { $0[version] } }

  func add(_ key: RemoteKey) {
    keys.withLock { keys in
      if keys.count >= Self.limit { keys.removeAll() }
      keys[key.description.version] = key
    }
  }

  /// Forgets a key, and tells whether it was known.
  func forget(_ version: KeyVersionID) -> Bool { keys.withLock { $0.removeValue(forKey: version) != nil } }

  func clear() { keys.withLock { $0.removeAll() } }
}

/// Lets one at a time make a key of a name.
final class NameTurns: Sendable {
  private let waiting = Mutex<[KeyVersionID: [CheckedContinuation<Void, Never>]]>([:])

  /// Waits for the turn.
  func begin(_ version: KeyVersionID) async {
    await withCheckedContinuation { continuation in
      let isFree = waiting.withLock { waiting in
        guard waiting[version] != nil else {
          waiting[version] = []
          return true
        }
        waiting[version]?.append(continuation)
        return false
      }
      if isFree { continuation.resume() }
    }
  }

  /// Gives the turn to the next one.
  func end(_ version: KeyVersionID) {
    let next = waiting.withLock { waiting -> CheckedContinuation<Void, Never>? in
      guard let first = waiting[version]?.first else {
        waiting[version] = nil
        return nil
      }
      waiting[version]?.removeFirst()
      return first
    }
    next?.resume()
  }
}
