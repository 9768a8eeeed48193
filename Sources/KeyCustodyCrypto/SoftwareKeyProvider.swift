package import KeyCustody
import Synchronization

/// A key provider whose keys are in this process's memory while they work, and in a ``SoftwareKeyStorage`` otherwise.
package final class SoftwareKeyProvider: KeyProvider {
  let storage: any SoftwareKeyStorage
  let environment: RuntimeEnvironment
  let workers: SoftwareKeyWorkers
  let watch: DeadlineWatch
  private let cache: SoftwareKeyCache
  private let broadcaster: EventBroadcaster<KeyProviderEvent>
  let health: SoftwareKeyHealth

  /// The store's identity.
  package var identity: ProviderIdentity { storage.identity }
  /// What was run when the first provider of this process was opened: the library is the same for all.
  package let capabilities: KeyProviderCapabilities

  /// Opens a provider over a store; `open` runs on a thread that may block.
  ///
  /// - Parameter cacheLimit: how many loaded keys are kept.
  package init(
    environment: RuntimeEnvironment, cacheLimit: Int = 256,
    opening open: @Sendable () throws(KeyCustodyError) -> any SoftwareKeyStorage
  ) async throws(KeyCustodyError) {
    let workers = try SoftwareKeyWorkers()
    var environment = environment
    // Keys come from the module's own generator in FIPS mode.
    if OpenSSLLibrary.shared.module.mode == .fips, environment.random is SystemRandom {
      environment.random = OpenSSLRandom()
    }
    let random = environment.random
    let (storage, capabilities) = try await workers.run(.slow) { () throws(KeyCustodyError) in
      let storage = try open()
      return (storage, try KeyProviderCapabilities.ofSoftwareKeys(random: random))
    }
    self.workers = workers
    watch = DeadlineWatch(environment.time)
    self.storage = storage
    self.capabilities = capabilities
    self.environment = environment
    cache = SoftwareKeyCache(limit: cacheLimit)
    broadcaster = EventBroadcaster()
    health = SoftwareKeyHealth(broadcaster)
  }

  /// Makes a key version; RSA takes its time, on a thread of its own.
  package func generate(
    _ request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try begin(.generate(request.type), context)
    try request.validate()
    try request.requireAllowedRole()
    return try await run(.slow, context) { () throws(KeyCustodyError) in
      // Looked for first, so that a taken name costs no key; saving looks again.
      guard try self.storage.stamp(of: request.version) == nil else { throw KeyCustodyError.keyExists(request.version) }
      let key = try SoftwareKey.generate(request.type, random: self.environment.random)
      return try self.keep(try SoftwareKeyRecord(key, request, origin: .generated))
    }
  }

  /// Brings a key in after checking that it is sound.
  package func importKey(
    _ material: borrowing SecretBytes, as request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try begin(.importing(request.type), context)
    try request.validate()
    try request.requireAllowedRole()
    let copy = material.copy()
    return try await run(.slow, context) { () throws(KeyCustodyError) in
      let key = try SoftwareKey.read(copy, as: request.type)
      return try self.keep(try SoftwareKeyRecord(key, request, origin: .imported))
    }
  }

  /// Tells what may be known of a key version.
  package func describe(
    _ version: KeyVersionID, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try begin(nil, context)
    return try await run(.quick, context) { () throws(KeyCustodyError) in try self.load(version).description }
  }

  /// Destroys a key version, in the store and in memory.
  package func destroy(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) {
    try begin(nil, context)
    try await run(.quick, context) { () throws(KeyCustodyError) in
      defer { self.cache.forget(version) }
      try self.storage.remove(version)
    }
    broadcaster.send(.keyGone(version))
  }

  /// Wraps a secret.
  package func wrap(
    _ secret: borrowing SecretBytes, with request: WrapRequest
  ) async throws(KeyCustodyError) -> WrappedSecret {
    try begin(.wrap(request.algorithm), request.context)
    try Self.requireLength(secret, request.algorithm)
    let copy = secret.copy()
    let bytes = try await run(.quick, request.context) { () throws(KeyCustodyError) in
      try self.load(request.version, for: \.wraps).key.wrap(copy, request.algorithm)
    }
    return WrappedSecret(version: request.version, algorithm: request.algorithm, bytes: bytes)
  }

  /// Unwraps a secret.
  package func unwrap(_ wrapped: [UInt8], with request: WrapRequest) async throws(KeyCustodyError) -> SecretBytes {
    try begin(.unwrap(request.algorithm), request.context)
    return try await run(.quick, request.context) { () throws(KeyCustodyError) in
      try self.load(request.version, for: \.wraps).key.unwrap(wrapped, request.algorithm)
    }
  }

  /// AES wraps few lengths; what RSA has room for, its key knows.
  static func requireLength(
    _ secret: borrowing SecretBytes, _ algorithm: WrapAlgorithm
  ) throws(KeyCustodyError) {
    guard algorithm != .aes256KW || [16, 24, 32].contains(secret.count) else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "\(algorithm) wraps secrets of 16, 24 or 32 bytes, not of \(secret.count).")
    }
  }

  /// Signs a digest.
  package func sign(_ digest: [UInt8], with request: SignRequest) async throws(KeyCustodyError) -> [UInt8] {
    try begin(.sign(request.algorithm), request.context)
    try request.algorithm.checkDigest(digest)
    return try await run(.quick, request.context) { () throws(KeyCustodyError) in
      try self.load(request.version, for: \.signs).key.sign(digest, request.algorithm)
    }
  }

  /// Checks the store and, where a version is given, works with it.
  package func probe(_ version: KeyVersionID?, context: CallContext) async throws(KeyCustodyError) {
    try begin(nil, context)
    try await run(.quick, context) { () throws(KeyCustodyError) in
      try self.storage.check()
      guard let version else { return }
      let record = try self.load(version)
      try record.key.prove(record.description.role, random: self.environment.random)
    }
  }

  /// Destroyed keys, keys that were found gone, and when the store stops answering and answers again.
  package func events() -> AsyncStream<KeyProviderEvent> { broadcaster.stream() }

  /// Clears every loaded key and refuses all further use.
  package func close() async {
    guard cache.close() else { return }
    broadcaster.finish()
    let answer = FirstAnswer<Bool>()
    workers.perform(.quick) {
      self.storage.close()
      answer.give(true)
    }
    // A store that hangs is closed when it answers, if ever.
    let late = KeyCustodyError(.timeout, .deadline, "The keys' store could not be closed in time.")
    _ = try? await answer.take(by: environment.time.running() + .seconds(10), watch, late: late)
  }

  /// The store's listing.
  package var inventory: (any KeyInventory)? { self }
  /// Backups under the store's master key.
  package var backup: (any KeyBackup)? { self }
}

extension SoftwareKeyProvider {
  /// Refuses what must be refused before anything is done.
  func begin(_ ability: KeyProviderCapabilities.Ability?, _ context: CallContext?) throws(KeyCustodyError) {
    if let ability { try capabilities.require(ability) }
    try cache.checkOpen(identity)
    if let deadline = context?.deadline, environment.time.running() >= deadline {
      throw KeyCustodyError(
        .timeout, .deadline, "The time allowed for this operation was over before it began; nothing was done.",
        remedy: "Allow more time, or lower the load.")
    }
  }

  /// Saves a key and tells of it.
  func keep(_ record: SoftwareKeyRecord) throws(KeyCustodyError) -> KeyDescription {
    try storage.save(record)
    return record.description
  }

  /// A key, from memory when it is still the one that is stored.
  func load(
    _ version: KeyVersionID, for use: KeyPath<KeyRole, Bool>? = nil
  ) throws(KeyCustodyError) -> SoftwareKeyRecord {
    guard let stamp = try storage.stamp(of: version) else {
      if cache.forget(version) { broadcaster.send(.keyGone(version)) }
      throw KeyCustodyError.noSuchKey(version)
    }
    let record: SoftwareKeyRecord
    switch cache.find(version, stamp) {
    case .loaded(let found): record = found
    case .absent(let turn):
      record = try storage.load(version)
      cache.add(record, stamp, at: turn)
    }
    if let use, !record.description.role[keyPath: use] {
      throw KeyCustodyError(
        .invalidInput, .wrongKeyType,
        "Key version \(version) is a \(record.description.role.rawValue) key, and was not made for this.",
        remedy: "Use a key that was made for this.")
    }
    return record
  }
}

extension SoftwareKeyProvider: KeyInventory {
  /// Lists the keys that are whole.
  package func versions(
    after version: KeyVersionID?, limit: Int
  ) async throws(KeyCustodyError) -> [KeyVersionID] {
    try begin(nil, nil)
    return try await run(.quick, nil) { () throws(KeyCustodyError) in
      try self.storage.list(after: version, limit: limit)
    }
  }
}

extension SoftwareKeyProvider: KeyBackup {
  /// Seals a key under this store's master key.
  ///
  /// - Throws: `unsupported` (`not-offered`) for a key that was not made for backups.
  package func backUp(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) -> [UInt8] {
    try begin(.backup, context)
    return try await run(.quick, context) { () throws(KeyCustodyError) in
      let record = try self.load(version)
      guard record.description.isBackupable else {
        throw KeyCustodyError(
          .unsupported, .notOffered, "Key version \(version) was made without backups.",
          remedy: "Make a new version for which backups are asked.")
      }
      return try SealedSoftwareKey.seal(
        record, for: .backup, under: try self.storage.masterKey(), random: self.environment.random)
    }
  }

  /// Brings back a key that this store sealed.
  ///
  /// - Throws: `invalidInput` (`already-exists`); `integrityFailure` for any other blob.
  package func restore(_ blob: [UInt8], context: CallContext) async throws(KeyCustodyError) -> KeyDescription {
    try begin(.backup, context)
    return try await run(.slow, context) { () throws(KeyCustodyError) in
      let sealed = try SealedSoftwareKey(blob, for: .backup, under: try self.storage.masterKey())
      return try self.keep(try sealed.record())
    }
  }
}
