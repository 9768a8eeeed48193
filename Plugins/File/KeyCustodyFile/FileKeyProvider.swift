public import KeyCustody
import KeyCustodyCrypto

/// A key provider whose keys are encrypted files of one folder.
///
/// Several processes may use one folder at once. The format is in ``FilePlugin``.
public struct FileKeyProvider: KeyProvider {
  /// What unlocks a store.
  public enum Secret: Sendable {
    /// A passphrase.
    case passphrase(SecretReference)
    /// The path of a file of at least 32 random bytes.
    case keyFile(String)
  }

  private let provider: SoftwareKeyProvider

  /// Opens a store.
  ///
  /// - Parameters:
  ///   - directory: the folder; only its owner may enter it.
  ///   - secret: what unlocks it.
  ///   - create: whether to make the store when the folder is empty or absent.
  /// - Throws: `credentialRejected` (`wrong-secret`); `notFound` (`key-file-missing`); `denied` (`unsafe-permissions`); `integrityFailure` (`damaged`,
  ///   `unknown-format`); `invalidInput` for a folder that is none or holds something else; `unavailable` for one that
  ///   is absent, can't be used or has no room.
  public init(
    directory: String, secret: Secret, create: Bool = true, environment: RuntimeEnvironment = RuntimeEnvironment()
  ) async throws(KeyCustodyError) {
    try await self.init(
      directory: directory, secret: secret, create: create, environment: environment, system: POSIXFileSystem())
  }

  /// Opens a store through another file system.
  package init(
    directory: String, secret: Secret, create: Bool = true, environment: RuntimeEnvironment = RuntimeEnvironment(),
    system: any FileSystem
  ) async throws(KeyCustodyError) {
    provider = try await SoftwareKeyProvider(environment: environment) { () throws(KeyCustodyError) in
      try FileKeys(
        directory: directory, secret: secret, create: create, environment: environment, system: system)
    }
  }

  /// `file` and the number in the store's `store.json`.
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
  /// Keys destroyed, or found gone, from now on.
  public func events() -> AsyncStream<KeyProviderEvent> { provider.events() }
  /// Clears the keys from memory and refuses all further use.
  public func close() async { await provider.close() }
  /// Lists the key versions whose files are whole.
  public var inventory: (any KeyInventory)? { provider.inventory }
  /// Backups that this store alone restores.
  public var backup: (any KeyBackup)? { provider.backup }
}

extension FileKeyProvider: KeyBatches {
  package func wrapAndUnwrapAll(
    _ secrets: [SharedSecret], with request: WrapRequest
  ) async throws(KeyCustodyError) -> ProvenBatch { try await provider.wrapAndUnwrapAll(secrets, with: request) }

  package func unwrapAll(
    _ wrapped: [[UInt8]], with request: WrapRequest
  ) async throws(KeyCustodyError) -> [SharedSecret] { try await provider.unwrapAll(wrapped, with: request) }
}
