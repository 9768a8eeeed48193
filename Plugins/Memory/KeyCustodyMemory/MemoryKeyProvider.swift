public import KeyCustody
import KeyCustodyCrypto

/// A key provider whose keys live in memory and nowhere else.
public struct MemoryKeyProvider: KeyProvider {
  private let provider: SoftwareKeyProvider

  /// A provider over fresh, empty memory.
  ///
  /// - Throws: `fault` when the cryptographic library fails its checks; `unavailable` when there are no threads to give.
  public init(environment: RuntimeEnvironment = RuntimeEnvironment()) async throws(KeyCustodyError) {
    try await self.init(keys: try MemoryKeys(random: environment.random), environment: environment)
  }

  init(keys: MemoryKeys, environment: RuntimeEnvironment) async throws(KeyCustodyError) {
    provider = try await SoftwareKeyProvider(environment: environment) { () throws(KeyCustodyError) in keys }
  }

  /// `memory` and a random number of this memory.
  public var identity: ProviderIdentity { provider.identity }
  /// What the cryptographic library was found to do.
  public var capabilities: KeyProviderCapabilities { provider.capabilities }
  /// Makes a key version.
  public func generate(
    _ request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription { try await provider.generate(request, context: context) }
  /// Brings a key in.
  public func importKey(
    _ material: borrowing SecretBytes, as request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try await provider.importKey(material, as: request, context: context)
  }
  /// Tells what may be known of a key version.
  public func describe(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) -> KeyDescription {
    try await provider.describe(version, context: context)
  }
  /// Destroys a key version.
  public func destroy(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) {
    try await provider.destroy(version, context: context)
  }
  /// Wraps a secret.
  public func wrap(
    _ secret: borrowing SecretBytes, with request: WrapRequest
  ) async throws(KeyCustodyError) -> WrappedSecret { try await provider.wrap(secret, with: request) }
  /// Unwraps a secret.
  public func unwrap(_ wrapped: [UInt8], with request: WrapRequest) async throws(KeyCustodyError) -> SecretBytes {
    try await provider.unwrap(wrapped, with: request)
  }
  /// Signs a digest.
  public func sign(_ digest: [UInt8], with request: SignRequest) async throws(KeyCustodyError) -> [UInt8] {
    try await provider.sign(digest, with: request)
  }
  /// Works with a key version, where one is given.
  public func probe(_ version: KeyVersionID?, context: CallContext) async throws(KeyCustodyError) {
    try await provider.probe(version, context: context)
  }
  /// Keys destroyed from now on.
  public func events() -> AsyncStream<KeyProviderEvent> { provider.events() }
  /// Refuses all further use; the keys stay with the ``MemoryPlugin`` they were opened through, if any.
  public func close() async { await provider.close() }
  /// Lists the key versions.
  public var inventory: (any KeyInventory)? { provider.inventory }
  /// Backups that this memory alone restores.
  public var backup: (any KeyBackup)? { provider.backup }
}

extension MemoryKeyProvider: KeyBatches {
  package func wrapAndUnwrapAll(
    _ secrets: [SharedSecret], with request: WrapRequest
  ) async throws(KeyCustodyError) -> ProvenBatch { try await provider.wrapAndUnwrapAll(secrets, with: request) }

  package func unwrapAll(
    _ wrapped: [[UInt8]], with request: WrapRequest
  ) async throws(KeyCustodyError) -> [SharedSecret] { try await provider.unwrapAll(wrapped, with: request) }
}
