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
  /// What lends sessions.
  let pool: PKCS11SessionPool
  private let broadcaster = EventBroadcaster<KeyProviderEvent>()
  private let isAvailable = Mutex(true)
  /// Whether it is unavailable because its calls don't come back: what only an answer disproves.
  private let isHanging = Mutex(false)

  /// Opens the token of some settings and tries what it can do.
  static func open(_ settings: PKCS11Settings) async throws(KeyCustodyError) -> PKCS11KeyProvider {
    let use = try await PKCS11TokenUse.open(settings)
    let time = settings.environment.time
    let pool = PKCS11SessionPool(use.token, count: settings.sessions, patience: settings.timeout, time: time)
    do throws(KeyCustodyError) {
      let emulated = settings.emulated
      let probed = try await pool.run(deadline: nil, patience: settings.longTimeout) {
        (session) throws(PKCS11Failure) in try CapabilityProbe.run(session, emulated: emulated)
      }
      return PKCS11KeyProvider(settings, use, pool, probed)
    } catch {
      await pool.close { await use.end() }
      throw error
    }
  }

  private init(
    _ settings: PKCS11Settings, _ use: PKCS11TokenUse, _ pool: PKCS11SessionPool, _ probed: CapabilityProbe.Result
  ) {
    self.settings = settings
    self.use = use
    self.pool = pool
    identity = use.token.info.identity
    capabilities = KeyProviderCapabilities(probed.findings)
    ways = probed.ways
    use.listen { [weak self] event in
      switch event {
      case .available: self?.note(isAvailable: true)
      case .unavailable(let reason): self?.note(isAvailable: false, reason)
      case .keyGone: break
      }
    }
  }

  /// The token, for tests of its attributes.
  var token: PKCS11Token { use.token }

  /// Runs work on a session.
  ///
  /// Work is run again where one of its calls failed for the token's fault, so it must bear that.
  ///
  /// `isLong` work, without a deadline of its own, is given twelve times the usual time.
  func perform<Result: ~Copyable & Sendable>(
    _ context: CallContext, isLong: Bool = false,
    _ work: @escaping @Sendable (CryptokiSession) throws(PKCS11Failure) -> Result
  ) async throws(KeyCustodyError) -> Result {
    do {
      let result = try await pool.run(
        deadline: context.deadline, patience: isLong ? settings.longTimeout : settings.timeout, work)
      noteAnswered()
      return result
    } catch {
      // The token itself tells of everything else.
      if error.reason == PKCS11SessionPool.hanging {
        isHanging.withLock { $0 = true }
        note(isAvailable: false, error.message)
      }
      throw error
    }
  }

  private func noteAnswered() {
    let wasHanging = isHanging.withLock { isHanging in
      defer { isHanging = false }
      return isHanging
    }
    if wasHanging { note(isAvailable: true) }
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
    return try await change(request.version, context, isLong: true) { (session, progress) throws(PKCS11Failure) in
      try session.generate(request, allowsRawRSA: allowsRawRSA, progress)
    }
  }

  func importKey(
    _ material: borrowing SecretBytes, as request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try check(request, .importing(request.type))
    let allowsRawRSA = allowsRawRSA
    let box = SecretBox(copying: material)
    return try await change(request.version, context, isLong: true) { (session, progress) throws(PKCS11Failure) in
      let key = try onHost { () throws(KeyCustodyError) in try SoftwareKey.read(box.bytes, as: request.type) }
      return try session.importKey(key, as: request, allowsRawRSA: allowsRawRSA, progress)
    }
  }

  /// Runs work that makes or destroys a key, alone under its name until it has come back, even from a hang.
  ///
  /// - Throws: `timeout` in the place of an error that says "nothing was done" where that is not certain.
  private func change<Result: Sendable>(
    _ version: KeyVersionID, _ context: CallContext, isLong: Bool,
    _ work:
      @escaping @Sendable (CryptokiSession, CryptokiSession.Progress) throws(PKCS11Failure) -> Result
  ) async throws(KeyCustodyError) -> Result {
    let time = settings.environment.time
    let deadline = context.deadline ?? time.running() + (isLong ? settings.longTimeout : settings.timeout)
    let ticket = try await token.making.enter(version, deadline: deadline, time)
    let progress = CryptokiSession.Progress()
    do {
      return try await perform(context, isLong: isLong) { (session) throws(PKCS11Failure) in
        try withExtendedLifetime(ticket) { () throws(PKCS11Failure) in try work(session, progress) }
      }
    } catch {
      // A PIN that is refused when the session is made anew says nothing of what was done before.
      guard error.retryClass == .later || error.code == .credentialRejected, progress.isBegun else { throw error }
      throw KeyCustodyError(
        .timeout, error.reason, "\(error.message) Whether the token made or destroyed the key is unknown.",
        remedy: "Look (describe) before trying again. \(error.remedy)", retryAfter: error.retryAfter,
        diagnostic: error.diagnostic)
    }
  }

  private func check(
    _ request: GenerateKeyRequest, _ ability: KeyProviderCapabilities.Ability
  ) throws(KeyCustodyError) {
    try request.validate()
    try request.requireAllowedRole()
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
    try await change(version, context, isLong: false) { (session, progress) throws(PKCS11Failure) in
      try session.destroyKey(version, progress)
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
      let isChecked = settings.checksWraps
      bytes = try await use(request) { (session) throws(PKCS11Failure) in
        try session.wrapAES(box, request.version, isChecked: isChecked)
      }
    }
    return WrappedSecret(version: request.version, algorithm: request.algorithm, bytes: bytes)
  }

  private func key(_ request: WrapRequest) async throws(KeyCustodyError) -> TokenKey {
    try await use(request) { (session) throws(PKCS11Failure) in
      try session.wrappingKey(request.version, request.algorithm)
    }
  }

  private func use<Result: ~Copyable & Sendable>(
    _ request: WrapRequest, _ work: @escaping @Sendable (CryptokiSession) throws(PKCS11Failure) -> Result
  ) async throws(KeyCustodyError) -> Result {
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
    if key.role.signs,
      let algorithm = SignatureAlgorithm.fitting(key.type).first(where: { capabilities.offers(.sign($0)) })
    {
      let digest = [UInt8](repeating: 0x5a, count: algorithm.digestLength)
      _ = try await sign(digest, with: SignRequest(version: version, algorithm: algorithm, context: context))
    }
    if key.role.wraps, let algorithm = capabilities.preferredWrapAlgorithm(for: key.type) {
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
    let (use, broadcaster) = (use, broadcaster)
    await pool.close {
      await use.end()
      broadcaster.finish()
    }
  }

  var inventory: (any KeyInventory)? { PKCS11Inventory(provider: self) }
}
