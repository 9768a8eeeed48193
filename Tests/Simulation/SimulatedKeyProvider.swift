import KeyCustody
import KeyCustodyCrypto
import Synchronization

/// A key of the world's HSM.
struct StoredKey: Sendable {
  var key: SoftwareKey
  var description: KeyDescription
}

/// One process's connection to an HSM whose keys are real and whose work is done at once, on the thread that asks.
struct SimulatedKeyProvider: KeyProvider {
  let link: Link

  var identity: ProviderIdentity { ProviderIdentity(kind: "simulated", instance: "hsm") }
  var capabilities: KeyProviderCapabilities {
    KeyProviderCapabilities([
      .generate(.aes(bits: 256)): .probed, .generate(.ec(.p256)): .probed, .wrap(.aes256KW): .probed,
      .unwrap(.aes256KW): .probed, .sign(.es256): .probed,
    ])
  }

  func generate(
    _ request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    try await link.call(.keys, "generate") { () async throws(KeyCustodyError) in
      guard link.world.keys.withLock({ $0[request.version] }) == nil else {
        throw KeyCustodyError(.invalidInput, .alreadyExists, "There is a key of that name.")
      }
      let key = try SoftwareKey.generate(request.type, random: link.world.random)
      let description = KeyDescription(
        version: request.version, type: request.type, role: request.role, publicKey: try key.publicKey(),
        fingerprint: try key.fingerprint(), origin: .generated, isHardwareProtected: false)
      link.world.keys.withLock { $0[request.version] = StoredKey(key: key, description: description) }
      return description
    }
  }

  func importKey(
    _ material: borrowing SecretBytes, as request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    throw KeyCustodyError(.unsupported, .notOffered, "Nothing is imported here.")
  }

  func describe(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) -> KeyDescription {
    try await link.call(.keys, "describe") { () async throws(KeyCustodyError) in try stored(version).description }
  }

  func destroy(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) {
    try await link.call(.keys, "destroy") { () async throws(KeyCustodyError) in
      _ = link.world.keys.withLock { $0.removeValue(forKey: version) }
    }
  }

  func wrap(
    _ secret: borrowing SecretBytes, with request: WrapRequest
  ) async throws(KeyCustodyError) -> WrappedSecret {
    let bytes = try stored(request.version).key.wrap(secret, request.algorithm)
    return try await link.call(.keys, "wrap") { () async throws(KeyCustodyError) in
      WrappedSecret(version: request.version, algorithm: request.algorithm, bytes: bytes)
    }
  }

  func unwrap(_ wrapped: [UInt8], with request: WrapRequest) async throws(KeyCustodyError) -> SecretBytes {
    try await link.call(.keys, "unwrap") { () async throws(KeyCustodyError) in () }
    return try stored(request.version).key.unwrap(wrapped, request.algorithm)
  }

  func sign(_ digest: [UInt8], with request: SignRequest) async throws(KeyCustodyError) -> [UInt8] {
    try await link.call(.keys, "sign") { () async throws(KeyCustodyError) in
      try stored(request.version).key.sign(digest, request.algorithm)
    }
  }

  func probe(_ version: KeyVersionID?, context: CallContext) async throws(KeyCustodyError) {
    try await link.call(.keys, "probe") { () async throws(KeyCustodyError) in
      if let version { _ = try stored(version) }
    }
  }

  func events() -> AsyncStream<KeyProviderEvent> { AsyncStream { $0.finish() } }
  func close() async {}

  private func stored(_ version: KeyVersionID) throws(KeyCustodyError) -> StoredKey {
    guard let found = link.world.keys.withLock({ $0[version] }) else {
      throw KeyCustodyError(.notFound, .keyVersionUnknown, "There is no such key.")
    }
    return found
  }
}
