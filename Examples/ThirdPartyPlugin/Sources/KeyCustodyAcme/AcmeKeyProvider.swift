import Crypto
public import KeyCustody

/// A key provider whose keys are in one encrypted file and work by swift-crypto: AES-256 wraps, P-256 signs.
public struct AcmeKeyProvider: KeyProvider {
  /// `acme` and the number that stands in the file.
  public let identity: ProviderIdentity
  /// What swift-crypto was seen to do at opening.
  public let capabilities: KeyProviderCapabilities
  private let keys: AcmeKeys
  private let environment: RuntimeEnvironment
  private let broadcaster = EventBroadcaster<KeyProviderEvent>()

  /// Opens the file, or makes it.
  ///
  /// - Throws: `busy` when another process has it open; `credentialRejected` (`wrong-secret`); `integrityFailure`
  ///   (`damaged`); `unavailable`.
  public init(
    file: String, secret: SecretReference, environment: RuntimeEnvironment = RuntimeEnvironment()
  ) async throws(KeyCustodyError) {
    try await self.init(file: file, secret: secret, environment: environment, disk: SystemDisk())
  }

  /// Opens the file on another disk.
  package init(
    file: String, secret: SecretReference, environment: RuntimeEnvironment, disk: any Disk
  ) async throws(KeyCustodyError) {
    capabilities = try Self.probe(environment.random)
    keys = try AcmeKeys()
    identity = ProviderIdentity(kind: "acme", instance: try await keys.open(file, secret, environment, disk))
    self.environment = environment
  }

  /// Runs what is offered; says of the rest why not.
  private static func probe(_ random: any RandomSource) throws(KeyCustodyError) -> KeyProviderCapabilities {
    var findings: [KeyProviderCapabilities.Ability: KeyProviderCapabilities.Evidence] = [
      .backup: .absent(why: "copy the file and keep its secret instead")
    ]
    for type in KeyType.offered {
      guard AcmeKey.types.contains(type) else {
        let why = KeyProviderCapabilities.Evidence.absent(why: "Acme has AES-256 and P-256 keys only")
        findings[.generate(type)] = why
        findings[.importing(type)] = why
        continue
      }
      let key = try AcmeKey.generate(type, random: random)
      try key.prove(random: random)
      findings[.generate(type)] = .probed
      for algorithm in WrapAlgorithm.fitting(type) {
        findings[.wrap(algorithm)] = .probed
        findings[.unwrap(algorithm)] = .probed
      }
      for algorithm in SignatureAlgorithm.fitting(type) { findings[.sign(algorithm)] = .probed }
      findings[.importing(type)] = .declared
    }
    return KeyProviderCapabilities(findings)
  }

  // MARK: Keys

  /// Makes a key version.
  public func generate(
    _ request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try await begin(.generate(request.type), context)
    try check(request)
    return try await add(try AcmeKey.generate(request.type, random: environment.random), request, .generated)
  }

  /// Brings a key in.
  public func importKey(
    _ material: borrowing SecretBytes, as request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try await begin(.importing(request.type), context)
    try check(request)
    return try await add(try AcmeKey(importing: material, as: request.type), request, .imported)
  }

  private func check(_ request: GenerateKeyRequest) throws(KeyCustodyError) {
    try request.validate()
    if request.backupable { try capabilities.require(.backup) }
  }

  private func add(
    _ key: AcmeKey, _ request: GenerateKeyRequest, _ origin: KeyDescription.Origin
  ) async throws(KeyCustodyError) -> KeyDescription {
    var label = ""
    for character in request.label {
      guard label.utf8.count + character.utf8.count <= 128 else { break }
      label.append(character)
    }
    return try await keys.add(
      key,
      KeyDescription(
        version: request.version, type: request.type, role: request.role, publicKey: key.publicKey,
        fingerprint: key.fingerprint, origin: origin, isHardwareProtected: false, label: label))
  }

  /// Tells what may be known of a key version.
  public func describe(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) -> KeyDescription {
    try await begin(nil, context)
    return try await keys.find(version).1
  }

  /// Destroys a key version: the file is written anew without it.
  public func destroy(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) {
    try await begin(nil, context)
    try await keys.remove(version)
    broadcaster.send(.keyGone(version))
  }

  // MARK: Work

  /// Wraps 16, 24 or 32 bytes by AES key wrap.
  public func wrap(
    _ secret: borrowing SecretBytes, with request: WrapRequest
  ) async throws(KeyCustodyError) -> WrappedSecret {
    try await begin(.wrap(request.algorithm), request.context)
    guard [16, 24, 32].contains(secret.count) else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "A256KW wraps 16, 24 or 32 bytes, not \(secret.count).")
    }
    let bytes = try await keys.find(request.version).0.wrap(SymmetricKey(secret))
    return WrappedSecret(version: request.version, algorithm: request.algorithm, bytes: bytes)
  }

  /// Unwraps by AES key wrap.
  public func unwrap(_ wrapped: [UInt8], with request: WrapRequest) async throws(KeyCustodyError) -> SecretBytes {
    try await begin(.unwrap(request.algorithm), request.context)
    return SecretBytes(try await keys.find(request.version).0.unwrap(wrapped))
  }

  /// Signs a SHA-256 digest; the signature is r ‖ s.
  public func sign(_ digest: [UInt8], with request: SignRequest) async throws(KeyCustodyError) -> [UInt8] {
    try await begin(.sign(request.algorithm), request.context)
    guard digest.count == request.algorithm.digestLength else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize,
        "\(request.algorithm.rawValue) signs a digest of \(request.algorithm.digestLength) bytes, not \(digest.count).")
    }
    return try await keys.find(request.version).0.sign(digest)
  }

  /// Works with a key version, where one is given.
  public func probe(_ version: KeyVersionID?, context: CallContext) async throws(KeyCustodyError) {
    try await begin(nil, context)
    guard let version else { return try await keys.requireOpen() }
    try await keys.find(version).0.prove(random: environment.random)
  }

  // MARK: Life

  /// Keys destroyed from now on.
  public func events() -> AsyncStream<KeyProviderEvent> { broadcaster.stream() }

  /// Lets go of keys and file.
  public func close() async {
    await keys.close()
    broadcaster.finish()
  }

  /// Lists the key versions.
  public var inventory: (any KeyInventory)? { self }

  /// Refuses what must be refused before anything is done.
  private func begin(
    _ ability: KeyProviderCapabilities.Ability?, _ context: CallContext
  ) async throws(KeyCustodyError) {
    if let ability { try capabilities.require(ability) }
    try await keys.requireOpen()
    if let deadline = context.deadline, environment.time.running() >= deadline {
      throw KeyCustodyError(.timeout, .deadline, "The time allowed was over before this began; nothing was done.")
    }
  }
}

extension AcmeKeyProvider: KeyInventory {
  /// Up to `limit` versions after `version`, ordered by name.
  public func versions(
    after version: KeyVersionID?, limit: Int
  ) async throws(KeyCustodyError) -> [KeyVersionID] { try await keys.versions(after: version, limit: limit) }
}
