import KeyCustody
import KeyCustodyCrypto

/// Signs checkpoints with a key that a provider holds.
struct AuditSigner: Sendable {
  /// The key that signs, as recorded.
  private struct SigningKey: Codable, Sendable {
    var version: KeyVersionID
    var origin: String
    var publicKey: String
    /// The provider that holds the key: another one of the same configuration name is not taken for it.
    var provider: ProviderIdentity
    var isReady: Bool
  }

  private let provider: any KeyProvider
  private let version: KeyVersionID
  private let time: any TimeSource
  private let patience: Duration
  let key: AuditVerifierKey

  /// The signing key on record, or a new one.
  ///
  /// The intent is recorded first, so that a crash between leaves no orphan.
  init(
    origin: String, store: any PolicyStore, provider: any KeyProvider, environment: RuntimeEnvironment,
    patience: Duration
  ) async throws(KeyCustodyError) {
    let records = RecordView<SigningKey>(store)
    let name = try AuditState.record("signing-key", of: origin)
    var found = try await records.read(name)
    if found == nil {
      guard AuditVerifierKey.isName(origin) else {
        throw KeyCustodyError(
          .invalidInput, .badConfigurationValue, "The origin '\(origin.prefix(40))' is no name for an audit log.",
          remedy: "Use 1 to 200 of 0-9, a-z, A-Z and './-_:'; best is a host and a path of yours.")
      }
      try provider.capabilities.require(.generate(.ec(.p256)))
      try provider.capabilities.require(.sign(.es256))
      let planned = SigningKey(
        version: try KeyVersionID(random: environment.random), origin: origin, publicKey: "",
        provider: provider.identity, isReady: false)
      _ = try await records.create(name, planned)
      found = try await records.read(name)
    }
    guard var key = found else {
      throw KeyCustodyError(.fault, .internalFault, "The audit log's signing key vanished from the policy store.")
    }
    guard key.provider == provider.identity else {
      throw KeyCustodyError(
        .invalidInput, .backendMismatch,
        "The audit log's signing key is held by '\(key.provider)', but '\(provider.identity)' is configured.",
        remedy: "Point audit.keyProvider at the backend that holds the key.")
    }
    if !key.isReady {
      key.publicKey = try await Self.make(key.version, provider).base64URL
      key.isReady = true
      let ready = key
      try await records.update(name) { $0 = ready }
    }
    self.provider = provider
    self.patience = patience
    time = environment.time
    version = key.version
    self.key = try AuditVerifierKey(name: origin, publicKey: [UInt8](base64URL: key.publicKey) ?? [])
  }

  /// Makes the key, or finds the one that was made before a crash.
  private static func make(
    _ version: KeyVersionID, _ provider: any KeyProvider
  ) async throws(KeyCustodyError) -> [UInt8] {
    let context = CallContext(purpose: .administration)
    let request = GenerateKeyRequest(version: version, type: .ec(.p256), role: .signing, label: "audit log signing")
    return try await provider.generatePlanned(request, context: context).publicKey ?? []
  }

  /// A signed checkpoint of a tree.
  func checkpoint(size: UInt64, root: [UInt8]) async throws(KeyCustodyError) -> AuditCheckpoint {
    let text = AuditCheckpoint.text(origin: key.name, size: size, root: root)
    let digest = try Hashing.sha256(Array(text.utf8))
    let context = CallContext(purpose: .administration, deadline: time.running() + patience)
    let signature = try await provider.sign(
      digest, with: SignRequest(version: version, algorithm: .es256, context: context))
    return try AuditCheckpoint(note: "\(text)\n\(try key.line(signature))", key: key)
  }
}
