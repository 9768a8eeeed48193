import KeyCustody
import KeyCustodyTesting

/// A key provider whose keys are on a toy device and nowhere else; sound under every fault but for one flaw.
final class ToyDeviceProvider: KeyProvider, KeyInventory {
  private static let marker = "~store"
  let identity: ProviderIdentity
  let capabilities: KeyProviderCapabilities
  private let link: ToyLink
  private let flaw: FaultFlaw?

  init(_ device: ToyDevice, _ flaw: FaultFlaw?) async throws(KeyCustodyError) {
    self.flaw = flaw
    link = ToyLink(device, flaw)
    identity = ProviderIdentity(kind: "toy", instance: device.instance)
    let abilities: [KeyProviderCapabilities.Ability] = [
      .generate(.aes(bits: 256)), .generate(.ec(.p256)), .importing(.aes(bits: 256)), .wrap(.aes256KW),
      .unwrap(.aes256KW), .sign(.es256),
    ]
    capabilities = KeyProviderCapabilities(Dictionary(uniqueKeysWithValues: abilities.map { ($0, .probed) }))
    // Tells a device that lost its content from one on which a key is missing.
    _ = try await link.run { (device, session) throws(ToyDevice.Failure) in
      try await device.add(Self.marker, [1], session)
    }
  }

  // MARK: Keys

  func generate(_ request: GenerateKeyRequest, context: CallContext) async throws(KeyCustodyError) -> KeyDescription {
    try await begin(.generate(request.type))
    try request.validate()
    return try await add(request, seed: try SystemRandom().bytes(16), .generated, context)
  }

  func importKey(
    _ material: borrowing SecretBytes, as request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try await begin(.importing(request.type))
    return try await add(request, seed: try SystemRandom().bytes(16), .imported, context)
  }

  private func add(
    _ request: GenerateKeyRequest, seed: [UInt8], _ origin: KeyDescription.Origin, _ context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    let key = ToyKey(request.version, request.type == .aes(bits: 256), origin == .generated, seed)
    let name = request.version.description
    do throws(KeyCustodyError) {
      if flaw == .leavesHalfKey {
        guard try await make(name, Array(key.encoded.prefix(2)), context) else {
          throw KeyCustodyError(.invalidInput, .alreadyExists, "There is a key of that name.")
        }
        try await link.run(changes: true) { (device, session) throws(ToyDevice.Failure) in
          try await device.write(name, key.encoded, session)
        }
        return key.description
      }
      guard try await make(name, key.encoded, context) else {
        throw KeyCustodyError(.invalidInput, .alreadyExists, "There is a key of that name.")
      }
    } catch {
      if flaw == .acknowledgesFailure, error.reason != .alreadyExists { return key.description }
      guard flaw == .duplicatesKey, error.code == .timeout else { throw error }
      _ = try await make(try KeyVersionID(random: SystemRandom()).description, key.encoded, context)
    }
    return key.description
  }

  private func make(_ name: String, _ bytes: [UInt8], _ context: CallContext) async throws(KeyCustodyError) -> Bool {
    let isAdded = try await link.run(changes: true, deadline: context.deadline) {
      (device, session) throws(ToyDevice.Failure) in try await device.add(name, bytes, session)
    }
    // What a device took that has lost its content may be lost too.
    let mark = try await link.run(changes: true, deadline: context.deadline) {
      (device, session) throws(ToyDevice.Failure) in try await device.read(Self.marker, session)
    }
    if mark == nil { throw KeyCustodyError(.timeout, .unreachable, "The device is empty.") }
    return isAdded
  }

  func describe(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) -> KeyDescription {
    while true {
      do throws(KeyCustodyError) { return try await find(version, context).description } catch {
        guard flaw == .waitsForEver, error.code == .unavailable, !Task.isCancelled else { throw error }
        await Task.yield()
      }
    }
  }

  func destroy(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) {
    _ = try await find(version, context)
    do throws(KeyCustodyError) {
      let isRemoved = try await link.run(changes: true, deadline: context.deadline) {
        (device, session) throws(ToyDevice.Failure) in try await device.remove(version.description, session)
      }
      if !isRemoved { throw KeyCustodyError(.timeout, .unreachable, "The key is not seen any more.") }
    } catch {
      if flaw != .swallowsDestroy { throw error }
    }
  }

  /// Reads a key; what is not seen is only then not there when the device holds its content.
  private func find(_ version: KeyVersionID, _ context: CallContext) async throws(KeyCustodyError) -> ToyKey {
    let (bytes, mark): ([UInt8]?, [UInt8]?)
    do throws(KeyCustodyError) {
      (bytes, mark) = try await link.run(deadline: context.deadline) { (device, session) throws(ToyDevice.Failure) in
        let found = try await device.read(version.description, session)
        return (found, found == nil ? try await device.read(Self.marker, session) : [1])
      }
    } catch {
      guard error.code == .unavailable else { throw error }
      switch flaw {
      case .awayIsDamaged: throw KeyCustodyError(.integrityFailure, .damaged, "The key is damaged.")
      case .awayIsUnsupported: throw KeyCustodyError(.unsupported, .notOffered, "That does not work here.")
      default: throw error
      }
    }
    guard let bytes else {
      if mark == nil, flaw != .emptyIsNotFound {
        throw KeyCustodyError(.unavailable, .unreachable, "The device is empty.")
      }
      throw KeyCustodyError(.notFound, .keyVersionUnknown, "There is no such key.")
    }
    guard let key = ToyKey(version, bytes, believing: flaw == .believesBytes) else {
      throw KeyCustodyError(.integrityFailure, .damaged, "The device gave wrong bytes.")
    }
    return key
  }

  // MARK: Work

  func wrap(_ secret: borrowing SecretBytes, with request: WrapRequest) async throws(KeyCustodyError) -> WrappedSecret {
    try await begin(.wrap(request.algorithm))
    let bytes = secret.withBytes { bytes in (0..<bytes.byteCount).map { bytes[$0] } }
    let key = try await find(request.version, request.context)
    return WrappedSecret(
      version: request.version, algorithm: request.algorithm, bytes: ToyCrypto.keyWrap(bytes, key: key.seed))
  }

  func unwrap(_ wrapped: [UInt8], with request: WrapRequest) async throws(KeyCustodyError) -> SecretBytes {
    try await begin(.unwrap(request.algorithm))
    let key = try await find(request.version, request.context)
    guard let secret = ToyCrypto.keyUnwrap(wrapped, key: key.seed) else {
      throw KeyCustodyError(.integrityFailure, .notAuthentic, "That does not unwrap.")
    }
    return SecretBytes(copying: secret)
  }

  func sign(_ digest: [UInt8], with request: SignRequest) async throws(KeyCustodyError) -> [UInt8] {
    try await begin(.sign(request.algorithm))
    return ToyCrypto.stream([try await find(request.version, request.context).seed, digest], count: 64)
  }

  func probe(_ version: KeyVersionID?, context: CallContext) async throws(KeyCustodyError) {
    if flaw == .probesNothing {
      _ = try? await link.run { (device, session) throws(ToyDevice.Failure) in try await device.names(session) }
      return
    }
    guard let version else { return }
    _ = try await find(version, context)
  }

  private func begin(_ ability: KeyProviderCapabilities.Ability) async throws(KeyCustodyError) {
    if flaw == .asksBeforeRefusing {
      _ = try await link.run { (device, session) throws(ToyDevice.Failure) in try await device.names(session) }
    }
    try capabilities.require(ability)
  }

  // MARK: The rest

  var inventory: (any KeyInventory)? { self }

  func versions(after version: KeyVersionID?, limit: Int) async throws(KeyCustodyError) -> [KeyVersionID] {
    let names: [String]
    do throws(KeyCustodyError) {
      names = try await link.run { (device, session) throws(ToyDevice.Failure) in try await device.names(session) }
    } catch {
      if flaw == .listsNothingInOutage { return [] }
      throw error
    }
    guard names.contains(Self.marker) else {
      throw KeyCustodyError(.unavailable, .unreachable, "The device is empty, or gave wrong bytes.")
    }
    var all: [KeyVersionID] = []
    for name in names where name != Self.marker {
      guard let found = try? KeyVersionID(name), found.description == name else {
        throw KeyCustodyError(.integrityFailure, .damaged, "The device gave a name that is none.")
      }
      all.append(found)
    }
    return Array(all.filter { name in version.map { $0 < name } ?? true }.sorted().prefix(limit))
  }

  func events() -> AsyncStream<KeyProviderEvent> { link.broadcaster.stream() }
  func close() async { link.broadcaster.finish() }
}

/// A key as a toy device holds it: two words of description, a seed, and a check value.
private struct ToyKey: Sendable {
  let version: KeyVersionID
  let wraps: Bool
  let isGenerated: Bool
  let seed: [UInt8]

  init(_ version: KeyVersionID, _ wraps: Bool, _ isGenerated: Bool, _ seed: [UInt8]) {
    (self.version, self.wraps, self.isGenerated, self.seed) = (version, wraps, isGenerated, seed)
  }

  init?(_ version: KeyVersionID, _ bytes: [UInt8], believing: Bool) {
    guard bytes.count >= 2 else { return nil }
    let key = ToyKey(version, bytes[0] == 1, bytes[1] == 1, Array(bytes.dropFirst(2).prefix(16)))
    guard believing || key.encoded == bytes else { return nil }
    self = key
  }

  var encoded: [UInt8] {
    let body: [UInt8] = [wraps ? 1 : 0, isGenerated ? 1 : 0] + seed
    return body + ToyCrypto.bytes(ToyCrypto.mix([body]))
  }

  var description: KeyDescription {
    let type: KeyType = wraps ? .aes(bits: 256) : .ec(.p256)
    return KeyDescription(
      version: version, type: type, role: wraps ? .wrapping : .signing,
      publicKey: ToyCrypto.publicKey(type, seed: seed), fingerprint: ToyCrypto.bytes(ToyCrypto.mix([seed])),
      origin: isGenerated ? .generated : .imported, isHardwareProtected: false)
  }
}
