import KeyCustody
import KeyCustodyTesting
import Synchronization

/// Where a toy provider keeps its keys between openings.
final class ToyKeyDisk: Sendable {
  struct Key: Sendable {
    var seed: [UInt8]
    var description: KeyDescription
  }
  let instance: String
  let keys = Mutex<[KeyVersionID: Key]>([:])
  private static let count = Atomic(0)

  init(instance: String? = nil) {
    self.instance = instance ?? "disk \(Self.count.add(1, ordering: .relaxed).newValue)"
  }
}

/// A key provider with toy cryptography that keeps the contract, except for one flaw it may be given.
final class ToyKeyProvider: KeyProvider {
  struct State {
    var keys: [KeyVersionID: ToyKeyDisk.Key] = [:]
    var hidden: Set<KeyVersionID> = []
    var isClosed = false
    var isBroken = false
    var buffer: [UInt8] = []
    var calls = 0
    var nonce: UInt64 = 0
  }
  let identity: ProviderIdentity
  let capabilities: KeyProviderCapabilities
  let state: Mutex<State>
  private let disk: ToyKeyDisk
  private let flaw: KeyFlaw?
  private let time: any TimeSource
  private let broadcaster = EventBroadcaster<KeyProviderEvent>()

  init(disk: ToyKeyDisk, flaw: KeyFlaw?, environment: RuntimeEnvironment) {
    self.disk = disk
    self.flaw = flaw
    time = environment.time
    let instance =
      switch flaw {
      case .emptyIdentity: ""
      case .freshIdentity: "\(UInt64.random(in: 0 ... .max))"
      case .sameIdentity: "the one"
      default: disk.instance
      }
    identity = ProviderIdentity(kind: "toy", instance: instance)
    capabilities = Self.capabilities(flaw)
    state = Mutex(State(keys: disk.keys.withLock { $0 }))
  }

  static let types: [KeyType] = [.rsa(bits: 2048), .ec(.p256), .aes(bits: 256)]

  private static func capabilities(_ flaw: KeyFlaw?) -> KeyProviderCapabilities {
    typealias Ability = KeyProviderCapabilities.Ability
    var abilities: [Ability] = types.map { .generate($0) } + [.backup]
    for algorithm in [WrapAlgorithm.rsaOAEP, .rsaOAEP256, .aes256KW] {
      abilities += [.wrap(algorithm), .unwrap(algorithm)]
    }
    abilities += [.sign(.es256), .sign(.ps256)]
    if flaw == .importsAnything { abilities += types.map { .importing($0) } }
    if flaw == .claimsWhatItCannotDo { abilities += [.generate(.ec(.p384)), .sign(.rs256)] }
    if flaw == .worksUnclaimed {
      abilities.removeAll { [.generate(.ec(.p256)), .unwrap(.rsaOAEP), .sign(.ps256)].contains($0) }
    }
    var findings: [Ability: KeyProviderCapabilities.Evidence] = [:]
    for ability in abilities { findings[ability] = .probed }
    findings[.generate(.ec(.p521))] = .absent(why: flaw == .unexplainedFinding ? "" : "toys know one curve")
    return KeyProviderCapabilities(findings)
  }

  /// Whether this provider has a flaw.
  func has(_ flaw: KeyFlaw) -> Bool { self.flaw == flaw }

  // MARK: Keys

  func generate(_ request: GenerateKeyRequest, context: CallContext) async throws(KeyCustodyError) -> KeyDescription {
    try checkOpen()
    if !has(.worksUnclaimed) { try capabilities.require(.generate(request.type)) }
    if has(.claimsWhatItCannotDo) && !Self.types.contains(request.type) { throw Self.notOffered }
    if has(.refusesOddLabels) && !request.label.allSatisfy(\.isASCII) { throw Self.malformed }
    if !has(.acceptsAnyRole) { try request.validate() }
    if has(.racyGenerate) {
      try checkFree(request.version)
      state.withLock { $0.calls += 1 }
      await yieldUntil { self.state.withLock { $0.calls >= 8 } }
    } else if !has(.acceptsDuplicateNames) {
      try checkFree(request.version)
    }
    return try insert(request, seed: SystemRandom().bytes(16), origin: .generated)
  }

  func importKey(
    _ material: borrowing SecretBytes, as request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try checkOpen()
    if has(.importFails) { throw KeyCustodyError(.fault, .internalFault, "Import is broken.") }
    try capabilities.require(.importing(request.type))
    return try insert(
      request, seed: material.withBytes { bytes in [UInt8(truncatingIfNeeded: bytes.byteCount)] }, origin: .imported)
  }

  private func insert(
    _ request: GenerateKeyRequest, seed: [UInt8], origin: KeyDescription.Origin
  ) throws(KeyCustodyError) -> KeyDescription {
    let version = has(.renamesKeys) ? try KeyVersionID(random: SystemRandom()) : request.version
    let publicKey = ToyCrypto.publicKey(request.type, seed: seed)
    let description = KeyDescription(
      version: version, type: request.type, role: request.role,
      publicKey: has(.describesWrongly) ? publicKey?.reversed() : publicKey,
      fingerprint: has(.sameFingerprint) ? [1, 2, 3, 4] : ToyCrypto.bytes(ToyCrypto.mix([seed])), origin: origin,
      isHardwareProtected: false, isBackupable: request.backupable, label: Self.bounded(request.label))
    let key = ToyKeyDisk.Key(seed: seed, description: description)
    let mustBeFree = !has(.racyGenerate) && !has(.acceptsDuplicateNames) && !has(.importsAnything)
    let isFree = state.withLock { state in
      guard !mustBeFree || state.keys[version] == nil else { return false }
      state.keys[version] = key
      return true
    }
    guard isFree else { throw Self.taken }
    if !has(.losesKeys) { disk.keys.withLock { $0[version] = key } }
    return description
  }

  private static func bounded(_ label: String) -> String {
    var label = label
    while label.utf8.count > 128 { label.removeLast() }
    return label
  }

  func describe(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) -> KeyDescription {
    try checkOpen()
    if has(.destroyOnlyHides), state.withLock({ $0.hidden.contains(version) }) { throw Self.unknown }
    return try find(version).description
  }

  func destroy(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) {
    try checkOpen()
    _ = try find(version)
    if has(.destroyOnlyHides) || has(.listsDestroyedKeys) { state.withLock { _ = $0.hidden.insert(version) } }
    if has(.destroyOnlyHides) { return }
    state.withLock { $0.keys[version] = nil }
    if !has(.destroyIsForgotten) { disk.keys.withLock { $0[version] = nil } }
  }

  func probe(_ version: KeyVersionID?, context: CallContext) async throws(KeyCustodyError) {
    try checkOpen()
    guard let version else { return }
    let key = try find(version)
    if has(.probeFails) { throw KeyCustodyError(.fault, .internalFault, "A probe of \(key.description.type) failed.") }
  }

  // MARK: Wrapping

  func wrap(_ secret: borrowing SecretBytes, with request: WrapRequest) async throws(KeyCustodyError) -> WrappedSecret {
    try checkOpen()
    if !has(.worksUnclaimed) { try capabilities.require(.wrap(request.algorithm)) }
    let key = try wrappingKey(request)
    let bytes = Self.testBytes(secret)
    let sizes = request.algorithm == .aes256KW ? [16, 24, 32] : Array(1...190)
    guard has(.acceptsAnySize) || sizes.contains(bytes.count), !has(.refuses24Bytes) || bytes.count != 24 else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize,
        "\(bytes.count) bytes can't be wrapped\(has(.tellsTheSecret) ? ": \(bytes.hexadecimal)" : "").")
    }
    let material = material(key, request.algorithm)
    if request.algorithm == .aes256KW {
      return answer(request, ToyCrypto.keyWrap(Array(bytes.prefix(32)), key: material))
    }
    let nonce = state.withLock { state in
      if !has(.deterministicOAEP) { state.nonce += 1 }
      return ToyCrypto.bytes(state.nonce)
    }
    return answer(request, ToyCrypto.oaep(Array(bytes.prefix(190)), key: material, nonce: nonce))
  }

  private func answer(_ request: WrapRequest, _ bytes: [UInt8]) -> WrappedSecret {
    let algorithm = has(.dropsAlgorithm) ? WrapAlgorithm(rawValue: "") : request.algorithm
    return WrappedSecret(version: request.version, algorithm: algorithm, bytes: bytes)
  }

  func unwrap(_ wrapped: [UInt8], with request: WrapRequest) async throws(KeyCustodyError) -> SecretBytes {
    if has(.closingIsFault) { await yieldUntil { self.state.withLock { $0.isClosed } } }
    try checkOpen()
    if !has(.worksUnclaimed) { try capabilities.require(.unwrap(request.algorithm)) }
    try checkFlaws(wrapped, request)
    if has(.cancellationIsBadData) { await yieldUntil { Task.isCancelled } }
    if has(.cancellationIsBadData) && Task.isCancelled { throw Self.notAuthentic }
    let material = material(try wrappingKey(request), request.algorithm)
    var wrapped = wrapped
    if has(.ignoresFirstByte), let plain = repaired(wrapped, request.algorithm, material) { wrapped = plain }
    let secret =
      request.algorithm == .aes256KW
      ? ToyCrypto.keyUnwrap(wrapped, key: material) : ToyCrypto.oaepOpen(wrapped, key: material)
    guard let secret else {
      if has(.failsAfterRefusal) { state.withLock { $0.isBroken = true } }
      if has(.tellsBadPadding), wrapped.first == 0 {
        throw KeyCustodyError(.integrityFailure, .notAuthentic, "The padding is bad.")
      }
      throw Self.notAuthentic
    }
    return SecretBytes(copying: has(.sharedBuffer) ? await throughSharedBuffer(secret) : secret)
  }

  private func checkFlaws(_ wrapped: [UInt8], _ request: WrapRequest) throws(KeyCustodyError) {
    if has(.claimsWhatItCannotDo), request.algorithm == .rsaOAEP { throw Self.notOffered }
    if has(.tellsWrongLength), wrapped.count % 8 != 0 {
      throw KeyCustodyError(.invalidInput, .wrongSize, "Odd length.")
    }
    if has(.demandsDeadline), request.context.deadline == nil {
      throw KeyCustodyError(.timeout, .deadline, "Too late.")
    }
    if let deadline = request.context.deadline, deadline < time.running() {
      if has(.passedDeadlineIsFault) { throw KeyCustodyError(.fault, .internalFault, "A deadline is in the past.") }
      throw KeyCustodyError(.timeout, .deadline, "The deadline of the call has passed.")
    }
    if state.withLock({ $0.isBroken }) { throw KeyCustodyError(.unavailable, .unreachable, "Broken.") }
  }

  private func repaired(_ wrapped: [UInt8], _ algorithm: WrapAlgorithm, _ material: [UInt8]) -> [UInt8]? {
    guard algorithm == .aes256KW, !wrapped.isEmpty else { return nil }
    return (UInt8.min...UInt8.max).lazy.map { [$0] + wrapped.dropFirst() }
      .first { ToyCrypto.keyUnwrap($0, key: material) != nil }
  }

  private func throughSharedBuffer(_ secret: [UInt8]) async -> [UInt8] {
    let call = state.withLock { state in
      state.buffer = secret
      state.calls += 1
      return state.calls
    }
    await yieldUntil { self.state.withLock { $0.calls > call } }
    return state.withLock { $0.buffer }
  }

  private func wrappingKey(_ request: WrapRequest) throws(KeyCustodyError) -> ToyKeyDisk.Key {
    let key = try find(request.version)
    let fits = WrapAlgorithm.fitting(key.description.type).contains(request.algorithm) || has(.acceptsAnyAlgorithm)
    guard fits, key.description.role.wraps || has(.ignoresRoles) else { throw Self.wrongKey }
    return key
  }

  private func material(_ key: ToyKeyDisk.Key, _ algorithm: WrapAlgorithm) -> [UInt8] {
    if has(.oneKeyForAll) { return [0] }
    return key.seed + (has(.ignoresOAEPHash) ? [] : Array(algorithm.rawValue.utf8))
  }

  private static func testBytes(_ secret: borrowing SecretBytes) -> [UInt8] {
    secret.withBytes { bytes in
      (0..<bytes.byteCount).map { unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
    }
  }

  // MARK: Signing

  func sign(_ digest: [UInt8], with request: SignRequest) async throws(KeyCustodyError) -> [UInt8] {
    try checkOpen()
    if !has(.worksUnclaimed) { try capabilities.require(.sign(request.algorithm)) }
    if has(.claimsWhatItCannotDo), request.algorithm == .rs256 { throw Self.notOffered }
    let key = try find(request.version)
    let fits = SignatureAlgorithm.fitting(key.description.type).contains(request.algorithm)
    guard fits || has(.signsWithAnyAlgorithm), mayKeySign(key) else {
      throw Self.wrongKey
    }
    guard digest.count == request.algorithm.digestLength || has(.signsAnyLength) else {
      throw KeyCustodyError(.invalidInput, .wrongSize, "A digest of \(digest.count) bytes does not fit.")
    }
    let signature = Self.signature(key, has(.signsSomethingElse) ? [] : digest, request.algorithm)
    return has(.shortensSignatures) && signature[0] < 128 ? Array(signature.dropFirst()) : signature
  }

  private func mayKeySign(_ key: ToyKeyDisk.Key) -> Bool {
    let role = key.description.role
    return has(.ignoresRoles) || role.signs && !(role.wraps && has(.generalKeysOnlyWrap))
  }

  private static func signature(_ key: ToyKeyDisk.Key, _ digest: [UInt8], _ algorithm: SignatureAlgorithm) -> [UInt8] {
    ToyCrypto.stream([key.seed, digest, Array(algorithm.rawValue.utf8)], count: algorithm == .es256 ? 64 : 256)
  }

  /// Checks a signature with the private key on the disk: toys have no other way.
  static func verifier(_ disks: @escaping @Sendable () -> [ToyKeyDisk]) -> KeyProviderSubject.SignatureVerifier {
    { signature, digest, publicKey, algorithm in
      disks().contains { disk in
        disk.keys.withLock { keys in
          keys.values.contains {
            $0.description.publicKey == publicKey && Self.signature($0, digest, algorithm) == signature
          }
        }
      }
    }
  }

  // MARK: The rest

  func events() -> AsyncStream<KeyProviderEvent> { broadcaster.stream() }

  func close() async {
    state.withLock { $0.isClosed = has(.secondCloseOpens) ? !$0.isClosed : true }
    if !has(.leavesStreamsOpen) { broadcaster.finish() }
  }

  var inventory: (any KeyInventory)? { ToyInventory(provider: self) }
  var backup: (any KeyBackup)? { has(.claimsBackup) ? nil : ToyBackup(provider: self) }

  func checkOpen() throws(KeyCustodyError) {
    guard state.withLock({ $0.isClosed }) else { return }
    if has(.closedIsNotFound) { throw Self.unknown }
    if has(.closingIsFault) { throw KeyCustodyError(.fault, .internalFault, "The toy fell apart.") }
    throw KeyCustodyError(.unavailable, .closed, "The provider was closed.")
  }

  func find(_ version: KeyVersionID) throws(KeyCustodyError) -> ToyKeyDisk.Key {
    if let key = state.withLock({ $0.keys[version] }) { return key }
    throw has(.unknownIsUnavailable) ? KeyCustodyError(.unavailable, .unreachable, "It can't be found.") : Self.unknown
  }

  func restore(_ key: ToyKeyDisk.Key) throws(KeyCustodyError) -> KeyDescription {
    try checkFree(key.description.version)
    state.withLock { $0.keys[key.description.version] = key }
    disk.keys.withLock { $0[key.description.version] = key }
    return key.description
  }

  private func checkFree(_ version: KeyVersionID) throws(KeyCustodyError) {
    if state.withLock({ $0.keys[version] }) != nil { throw Self.taken }
  }

  static let unknown = KeyCustodyError(.notFound, .keyVersionUnknown, "There is no such key version.")
  static let taken = KeyCustodyError(.invalidInput, .alreadyExists, "A key version of that name exists.")
  static let malformed = KeyCustodyError(.invalidInput, .malformed, "That can't be read.")
  static let notOffered = KeyCustodyError(.unsupported, .notOffered, "That is not offered.")
  static let wrongKey = KeyCustodyError(.invalidInput, .wrongKeyType, "The key does not fit the operation.")
  static let notAuthentic = KeyCustodyError(.integrityFailure, .notAuthentic, "The secret can't be unwrapped.")
}
