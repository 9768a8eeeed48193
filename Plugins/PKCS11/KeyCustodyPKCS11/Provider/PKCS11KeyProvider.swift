import KeyCustody
import KeyCustodyCrypto
import Synchronization

/// Keys on a PKCS#11 token.
final class PKCS11KeyProvider: KeyProvider {
  let identity: ProviderIdentity
  let capabilities: KeyProviderCapabilities
  private let settings: PKCS11Settings
  private let ways: [WrapAlgorithm: UnwrapWay]
  private let use: PKCS11TokenUse
  private let pool: PKCS11SessionPool
  /// Where opening and closing block.
  private let worker: BlockingWorker
  private let broadcaster = EventBroadcaster<KeyProviderEvent>()
  private let isAvailable = Mutex(true)

  /// Opens the token of some settings and tries what it can do.
  static func open(_ settings: PKCS11Settings) async throws(KeyCustodyError) -> PKCS11KeyProvider {
    let worker = try BlockingWorker()
    let use = try await worker.run { () throws(KeyCustodyError) in try PKCS11TokenUse(settings) }
    do throws(KeyCustodyError) {
      let pool = try await PKCS11SessionPool(use.token, count: settings.sessions, time: settings.environment.time)
      do throws(KeyCustodyError) {
        let emulated = settings.emulated
        let probed = try await pool.run(deadline: nil, isRepeatable: true) { (session) throws(PKCS11Failure) in
          try CapabilityProbe.run(session, emulated: emulated)
        }
        return PKCS11KeyProvider(settings, worker, use, pool, probed)
      } catch {
        await pool.close {}
        throw error
      }
    } catch {
      await worker.run { use.end() }
      throw error
    }
  }

  private init(
    _ settings: PKCS11Settings, _ worker: BlockingWorker, _ use: PKCS11TokenUse, _ pool: PKCS11SessionPool,
    _ probed: CapabilityProbe.Result
  ) {
    self.settings = settings
    self.worker = worker
    self.use = use
    self.pool = pool
    identity = use.token.info.identity
    capabilities = KeyProviderCapabilities(probed.findings)
    ways = probed.ways
  }

  /// The token, for tests of its attributes.
  var token: PKCS11Token { use.token }

  /// Runs work on a session, and tells listeners when the token goes out of reach or comes back.
  func perform<Result: ~Copyable>(
    _ context: CallContext, isRepeatable: Bool = true,
    _ work: @Sendable (CryptokiSession) throws(PKCS11Failure) -> sending Result
  ) async throws(KeyCustodyError) -> sending Result {
    do {
      let result = try await pool.run(deadline: context.deadline, isRepeatable: isRepeatable, work)
      note(isAvailable: true)
      return result
    } catch {
      switch (error.code, error.reason) {
      case (.unavailable, .closed), (.busy, _), (.timeout, _): break
      case (.unavailable, _): note(isAvailable: false, error.message)
      default: note(isAvailable: true)
      }
      throw error
    }
  }

  private func note(isAvailable now: Bool, _ reason: String = "") {
    let changed = isAvailable.withLock { state in
      defer { state = now }
      return state != now
    }
    if changed { broadcaster.send(now ? .available : .unavailable(reason: reason)) }
  }

  // MARK: Keys

  func generate(
    _ request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try check(request, .generate(request.type))
    let allowsRawRSA = allowsRawRSA
    return try await token.making.run(request.version) { () async throws(KeyCustodyError) in
      try await perform(context, isRepeatable: false) { (session) throws(PKCS11Failure) in
        try session.generate(request, allowsRawRSA: allowsRawRSA)
      }
    }
  }

  func importKey(
    _ material: borrowing SecretBytes, as request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try check(request, .importing(request.type))
    let allowsRawRSA = allowsRawRSA
    let box = SecretBox(copying: material)
    return try await token.making.run(request.version) { () async throws(KeyCustodyError) in
      try await perform(context, isRepeatable: false) { (session) throws(PKCS11Failure) in
        try session.importKey(box, as: request, allowsRawRSA: allowsRawRSA)
      }
    }
  }

  private func check(
    _ request: GenerateKeyRequest, _ ability: KeyProviderCapabilities.Ability
  ) throws(KeyCustodyError) {
    try request.validate()
    try capabilities.require(ability)
    if request.backupable { try capabilities.require(.backup) }
  }

  /// New RSA keys are allowed the bare operation only where that is how RSA-OAEP-256 is done.
  private var allowsRawRSA: Bool { ways[.rsaOAEP256] == .rawRSA(.rsaOAEP256) }

  func describe(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) -> KeyDescription {
    do {
      return try await perform(context) { (session) throws(PKCS11Failure) in try session.lookUp(version).description }
    } catch {
      if error.code == .notFound { noteGone(version) }
      throw error
    }
  }

  func destroy(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) {
    try await token.making.run(version) { () async throws(KeyCustodyError) in
      try await perform(context, isRepeatable: false) { (session) throws(PKCS11Failure) in
        try session.destroyKey(version)
      }
    }
    broadcaster.send(.keyGone(version))
  }

  /// A key that was there and is confirmed absent now.
  private func noteGone(_ version: KeyVersionID) {
    if token.fingerprints.forget(version) { broadcaster.send(.keyGone(version)) }
  }

  // MARK: Use

  func wrap(
    _ secret: borrowing SecretBytes, with request: WrapRequest
  ) async throws(KeyCustodyError) -> WrappedSecret {
    try capabilities.require(.wrap(request.algorithm))
    let bytes: [UInt8]
    if request.algorithm.isAsymmetric {
      let key = try await key(request)
      guard let publicKey = key.publicKey else {
        throw KeyCustodyError(
          .fault, .internalFault, "The token gives no public key for the key '\(request.version)'.",
          remedy: "Check the token's objects with the vendor's tool.")
      }
      bytes = try publicKey.wrap(secret, request.algorithm)
    } else {
      guard [16, 24, 32].contains(secret.count) else { throw Self.wrongSize(secret.count) }
      let box = SecretBox(copying: secret)
      bytes = try await use(request) { (session) throws(PKCS11Failure) in
        try session.wrapAES(box, request.version)
      }
    }
    return WrappedSecret(version: request.version, algorithm: request.algorithm, bytes: bytes)
  }

  private func key(_ request: WrapRequest) async throws(KeyCustodyError) -> TokenKey {
    try await use(request) { (session) throws(PKCS11Failure) in
      try session.wrappingKey(request.version, request.algorithm)
    }
  }

  private func use<Result: ~Copyable>(
    _ request: WrapRequest, _ work: @Sendable (CryptokiSession) throws(PKCS11Failure) -> sending Result
  ) async throws(KeyCustodyError) -> sending Result {
    do { return try await perform(request.context, work) } catch {
      if error.code == .notFound { noteGone(request.version) }
      throw error
    }
  }

  func unwrap(_ wrapped: [UInt8], with request: WrapRequest) async throws(KeyCustodyError) -> SecretBytes {
    try capabilities.require(.unwrap(request.algorithm))
    guard let way = ways[request.algorithm] else {
      throw KeyCustodyError(.unsupported, .notOffered, "'\(request.algorithm)' is not offered.")
    }
    return try await use(request) { (session) throws(PKCS11Failure) in
      try session.unwrap(wrapped, request.version, request.algorithm, way)
    }
  }

  func sign(_ digest: [UInt8], with request: SignRequest) async throws(KeyCustodyError) -> [UInt8] {
    try capabilities.require(.sign(request.algorithm))
    try request.algorithm.checkDigest(digest)
    do {
      return try await perform(request.context) { (session) throws(PKCS11Failure) in
        try session.sign(digest, request.version, request.algorithm)
      }
    } catch {
      if error.code == .notFound { noteGone(request.version) }
      throw error
    }
  }

  private static func wrongSize(_ count: Int) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .wrongSize, "A256KW on a token wraps 16, 24 or 32 bytes, not \(count).",
      remedy: "Wrap a key of 16, 24 or 32 bytes, or use an RSA key.")
  }

  // MARK: Health and end

  func probe(_ version: KeyVersionID?, context: CallContext) async throws(KeyCustodyError) {
    guard let version else {
      return try await perform(context) { (session) throws(PKCS11Failure) in
        try session.confirmPresence()
        _ = try session.random(16)
      }
    }
    let key = try await describe(version, context: context)
    switch key.role {
    case .signing:
      guard let algorithm = SignatureAlgorithm.fitting(key.type).first(where: { capabilities.offers(.sign($0)) }) else {
        return
      }
      let digest = try settings.environment.random.bytes(algorithm.digestLength)
      _ = try await sign(digest, with: SignRequest(version: version, algorithm: algorithm, context: context))
    case .wrapping:
      guard let algorithm = capabilities.preferredWrapAlgorithm(for: key.type) else { return }
      let request = WrapRequest(version: version, algorithm: algorithm, context: context)
      let secret = try settings.environment.random.secret(32)
      let wrapped = try await wrap(secret, with: request)
      guard try await unwrap(wrapped.bytes, with: request).isEqual(to: secret) else {
        throw KeyCustodyError(
          .unavailable, .unreachable, "The token unwrapped something else than was wrapped.",
          remedy: "Have the token checked.")
      }
    }
  }

  func events() -> AsyncStream<KeyProviderEvent> { broadcaster.stream() }

  func close() async {
    let (use, worker, broadcaster) = (use, worker, broadcaster)
    await pool.close {
      await worker.run { use.end() }
      broadcaster.finish()
    }
  }

  var inventory: (any KeyInventory)? { PKCS11Inventory(provider: self) }
}

/// The key versions on a token.
struct PKCS11Inventory: KeyInventory {
  let provider: PKCS11KeyProvider

  func versions(
    after version: KeyVersionID?, limit: Int
  ) async throws(KeyCustodyError) -> [KeyVersionID] {
    let all = try await provider.perform(CallContext(purpose: .administration)) { (session) throws(PKCS11Failure) in
      try session.inventory()
    }
    return Array(all.drop { name in version.map { name <= $0 } ?? false }.prefix(max(0, limit)))
  }
}
