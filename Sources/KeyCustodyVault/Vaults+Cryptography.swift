public import KeyCustody
import KeyCustodyCrypto

extension Vaults {
  /// Whether a version's validity counts for unwrapping too.
  public enum Validity: Sendable {
    /// As on the Key Vault wire: an expired version still unwraps (SEMANTICS V6).
    case wire
    /// As for a customer's key: expiry is revocation (SEMANTICS E8).
    case strict
  }

  /// What a wrap answered.
  public struct Wrapped: Sendable, Hashable {
    /// The key, with the version used.
    public var key: KeyURI
    /// The algorithm used.
    public var algorithm: WrapAlgorithm
    /// The wrapped bytes.
    public var bytes: [UInt8]
  }

  /// Wraps a short secret (without a version in the address: under the newest).
  ///
  /// - Throws: `denied` (`key-operation-forbidden` where the version's allowed operations leave it out), `disabled`,
  ///   `notFound` (`key-material-missing` where only the provider lacks it); what the provider throws.
  public func wrap(
    _ secret: borrowing SecretBytes, with uri: KeyURI, algorithm: WrapAlgorithm, as caller: Principal,
    context: CallContext
  ) async throws(KeyCustodyError) -> Wrapped {
    try await protect(secret, .wrapKey, with: uri, algorithm: algorithm, as: caller, context: context)
  }

  /// Unwraps what was wrapped for a key version.
  ///
  /// - Throws: `denied`, `disabled`, `notFound`, `integrityFailure`; what the provider throws.
  public func unwrap(
    _ wrapped: [UInt8], with uri: KeyURI, algorithm: WrapAlgorithm, validity: Validity = .wire,
    as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> SecretBytes {
    try await reveal(
      wrapped, .unwrapKey, with: uri, algorithm: algorithm, validity: validity, as: caller, context: context)
  }

  /// Encrypts a short plaintext (without a version in the address: under the newest).
  ///
  /// - Throws: as ``wrap(_:with:algorithm:as:context:)``.
  public func encrypt(
    _ plaintext: borrowing SecretBytes, with uri: KeyURI, algorithm: WrapAlgorithm, as caller: Principal,
    context: CallContext
  ) async throws(KeyCustodyError) -> Wrapped {
    try await protect(plaintext, .encrypt, with: uri, algorithm: algorithm, as: caller, context: context)
  }

  /// Decrypts what was encrypted for a key version.
  ///
  /// - Throws: as ``unwrap(_:with:algorithm:validity:as:context:)``.
  public func decrypt(
    _ ciphertext: [UInt8], with uri: KeyURI, algorithm: WrapAlgorithm, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> SecretBytes {
    try await reveal(
      ciphertext, .decrypt, with: uri, algorithm: algorithm, validity: .wire, as: caller, context: context)
  }

  /// Signs a digest (without a version in the address: with the newest).
  ///
  /// - Throws: `denied`, `disabled`, `notFound`; what the provider throws.
  public func sign(
    _ digest: [UInt8], with uri: KeyURI, algorithm: SignatureAlgorithm, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> (signature: [UInt8], key: KeyURI) {
    try await perform(.sign, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      let (record, full) = try await self.usable(uri, for: .sign)
      let signature = try await self.using(record, at: full) { () async throws(KeyCustodyError) in
        try await admission.provider(of: record).sign(
          digest, with: SignRequest(version: record.version, algorithm: algorithm, context: context))
      }
      return ((signature, full), full)
    }
  }

  /// Whether a signature over a digest is a key version's; on the host, with the public half.
  ///
  /// - Throws: `denied`, `disabled`, `notFound`; `invalidInput` (`wrong-key-type`, `wrong-size`) for an algorithm or a
  ///   digest that does not fit the key.
  public func verify(
    _ signature: [UInt8], over digest: [UInt8], with uri: KeyURI, algorithm: SignatureAlgorithm,
    as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> (isValid: Bool, key: KeyURI) {
    try await perform(.verify, on: uri, as: caller, context: context) { (_) throws(KeyCustodyError) in
      let (record, full) = try await self.usable(uri, for: .verify)
      let key = try PublicKey(spki: [UInt8](base64URL: record.publicKey) ?? [])
      guard SignatureAlgorithm.fitting(key.type).contains(algorithm) else {
        throw KeyCustodyError(
          .invalidInput, .wrongKeyType, "A key of type \(key.type) does not sign by \(algorithm.rawValue).",
          remedy: "Use \(SignatureAlgorithm.fitting(key.type).map(\.rawValue).joined(separator: " or ")).")
      }
      guard digest.count == algorithm.digestLength else {
        throw KeyCustodyError(
          .invalidInput, .wrongSize, "\(algorithm.rawValue) is over \(algorithm.digestLength) bytes of digest.",
          remedy: "Hash the message by the algorithm's hash first.")
      }
      return ((try key.verify(signature, digest: digest, algorithm), full), full)
    }
  }

  /// The capabilities of the provider behind a vault: what a binding chooses its algorithm from.
  public func capabilities(
    of vault: VaultName, protection: KeyProtection = .software
  ) async throws(KeyCustodyError) -> KeyProviderCapabilities {
    try provider(of: try await required(vault), protection).capabilities
  }

  /// What every provider wraps, in bytes.
  private static let providersLengths = 16...64

  private func protect(
    _ secret: borrowing SecretBytes, _ use: KeyUse, with uri: KeyURI, algorithm: WrapAlgorithm,
    as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> Wrapped {
    let shared = SharedSecret(secret.copy())
    return try await perform(use.permission, on: uri, as: caller, context: context) {
      (admission) throws(KeyCustodyError) in
      let (record, full) = try await self.usable(uri, for: use)
      let provider = try admission.provider(of: record)
      guard algorithm.isAsymmetric, !Self.providersLengths.contains(shared.bytes.count),
        let encoded = [UInt8](base64URL: record.publicKey), !encoded.isEmpty
      else {
        let answer = try await self.using(record, at: full) { () async throws(KeyCustodyError) in
          try await provider.wrap(
            shared.bytes, with: WrapRequest(version: record.version, algorithm: algorithm, context: context))
        }
        return (Wrapped(key: full, algorithm: answer.algorithm, bytes: answer.bytes), full)
      }
      // By the public half, on the host, what providers don't take; nothing is wrapped that this one could not unwrap.
      try provider.capabilities.require(.unwrap(algorithm))
      let bytes = try PublicKey(spki: encoded).wrap(shared.bytes, algorithm)
      return (Wrapped(key: full, algorithm: algorithm, bytes: bytes), full)
    }
  }

  /// Unwraps, and tells by which version.
  package func unwrapped(
    _ wrapped: [UInt8], with uri: KeyURI, algorithm: WrapAlgorithm, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> RevealedKey {
    try await revealed(
      wrapped, .unwrapKey, with: uri, algorithm: algorithm, validity: .wire, as: caller, context: context)
  }

  /// Decrypts, and tells by which version.
  package func decrypted(
    _ ciphertext: [UInt8], with uri: KeyURI, algorithm: WrapAlgorithm, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> RevealedKey {
    try await revealed(
      ciphertext, .decrypt, with: uri, algorithm: algorithm, validity: .wire, as: caller, context: context)
  }

  private func reveal(
    _ wrapped: [UInt8], _ use: KeyUse, with uri: KeyURI, algorithm: WrapAlgorithm, validity: Validity,
    as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> SecretBytes {
    let found = try await revealed(
      wrapped, use, with: uri, algorithm: algorithm, validity: validity, as: caller, context: context)
    return found.secret
  }

  private func revealed(
    _ wrapped: [UInt8], _ use: KeyUse, with uri: KeyURI, algorithm: WrapAlgorithm, validity: Validity,
    as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> RevealedKey {
    let (holder, key) = try await perform(use.permission, on: uri, as: caller, context: context) {
      (admission) throws(KeyCustodyError) in
      let (record, full) = try await self.usable(uri, for: use, validity: validity)
      let secret = try await self.using(record, at: full) { () async throws(KeyCustodyError) in
        try await admission.provider(of: record).unwrap(
          wrapped, with: WrapRequest(version: record.version, algorithm: algorithm, context: context))
      }
      return ((SharedSecret(secret), full), full)
    }
    return RevealedKey(key: key, secret: holder.bytes.copy())
  }

  /// Has the provider use a version; one that only the provider lacks is told from one that is not there.
  func using<Answer: ~Copyable>(
    _ version: KeyVersionRecord, at uri: KeyURI, _ body: () async throws(KeyCustodyError) -> Answer
  ) async throws(KeyCustodyError) -> Answer {
    do throws(KeyCustodyError) { return try await body() } catch {
      guard error.code == .notFound else { throw error }
      // Purged at this moment, it is simply not there.
      guard let key = try await keys.read(try Self.path(uri)), key.deletion == nil,
        key.allVersions.contains(where: { $0.version == version.version && $0.isLiving })
      else { throw error }
      throw VaultErrors.materialMissing(uri)
    }
  }

  /// The version meant, if it may be used now.
  func usable(
    _ uri: KeyURI, for use: KeyUse, validity: Validity = .wire
  ) async throws(KeyCustodyError) -> (KeyVersionRecord, KeyURI) {
    let (_, version, full) = try await usableKey(uri, for: use, validity: validity)
    return (version, full)
  }

  /// The same, with its key.
  func usableKey(
    _ uri: KeyURI, for use: KeyUse, validity: Validity
  ) async throws(KeyCustodyError) -> (KeyRecord, KeyVersionRecord, KeyURI) {
    let key = try await living(uri)
    guard
      let version = uri.version.map({ wanted in key.allVersions.first { $0.version == wanted && $0.isLiving } })
        ?? key.newest
    else { throw VaultErrors.keyUnknown(uri) }
    let full = self.uri(try uri.vault, key.name, version: version.version)
    guard version.isEnabled else { throw VaultErrors.disabled(full) }
    guard key.operations(of: version).contains(use) else { throw VaultErrors.forbidden(use, full) }
    guard !use.isProtecting && validity == .wire || version.isValid(at: environment.time.now()) else {
      throw VaultErrors.outsideValidity(full)
    }
    return (key, version, full)
  }
}

/// What a key revealed, and which version it was.
package struct RevealedKey: ~Copyable, Sendable {
  package let key: KeyURI
  package let secret: SecretBytes
}

extension KeyUse {
  var permission: KeyPermission {
    switch self {
    case .encrypt: .encrypt
    case .decrypt: .decrypt
    case .sign: .sign
    case .verify: .verify
    case .wrapKey: .wrapKey
    case .unwrapKey: .unwrapKey
    }
  }
}
