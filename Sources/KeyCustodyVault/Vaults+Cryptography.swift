public import KeyCustody

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
  /// - Throws: `denied`, `disabled`, `notFound`; what the provider throws.
  public func wrap(
    _ secret: borrowing SecretBytes, with uri: KeyURI, algorithm: WrapAlgorithm, as caller: Principal,
    context: CallContext
  ) async throws(KeyCustodyError) -> Wrapped {
    let shared = SharedSecret(secret)
    return try await perform(.wrapKey, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      let (record, full) = try await self.usable(uri, validity: .strict)
      let answer = try await admission.provider.wrap(
        shared.bytes, with: WrapRequest(version: record.version, algorithm: algorithm, context: context))
      return (Wrapped(key: full, algorithm: answer.algorithm, bytes: answer.bytes), full)
    }
  }

  /// Unwraps what was wrapped for a key version.
  ///
  /// - Throws: `denied`, `disabled`, `notFound`, `integrityFailure`; what the provider throws.
  public func unwrap(
    _ wrapped: [UInt8], with uri: KeyURI, algorithm: WrapAlgorithm, validity: Validity = .wire,
    as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> SecretBytes {
    let holder = try await perform(.unwrapKey, on: uri, as: caller, context: context) {
      (admission) throws(KeyCustodyError) in
      let (record, full) = try await self.usable(uri, validity: validity)
      let secret = try await admission.provider.unwrap(
        wrapped, with: WrapRequest(version: record.version, algorithm: algorithm, context: context))
      return (SharedSecret(secret), full)
    }
    return holder.bytes.copy()
  }

  /// Signs a digest (without a version in the address: with the newest).
  ///
  /// - Throws: `denied`, `disabled`, `notFound`; what the provider throws.
  public func sign(
    _ digest: [UInt8], with uri: KeyURI, algorithm: SignatureAlgorithm, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> (signature: [UInt8], key: KeyURI) {
    try await perform(.sign, on: uri, as: caller, context: context) { (admission) throws(KeyCustodyError) in
      let (record, full) = try await self.usable(uri, validity: .strict)
      let signature = try await admission.provider.sign(
        digest, with: SignRequest(version: record.version, algorithm: algorithm, context: context))
      return ((signature, full), full)
    }
  }

  /// The capabilities of the provider behind a vault: what a binding chooses its algorithm from.
  public func capabilities(of vault: VaultName) async throws(KeyCustodyError) -> KeyProviderCapabilities {
    try provider(of: try await required(vault)).capabilities
  }

  /// The version meant, if it may be used now.
  private func usable(
    _ uri: KeyURI, validity: Validity
  ) async throws(KeyCustodyError) -> (KeyVersionRecord, KeyURI) {
    let key = try await living(uri)
    guard
      let version = uri.version.map({ wanted in key.versions.first { $0.version == wanted } }) ?? key.newest
    else { throw VaultErrors.keyUnknown(uri) }
    let full = uri.with(version: version.version)
    guard version.isEnabled else { throw VaultErrors.disabled(full) }
    guard validity == .wire || version.isValid(at: environment.time.now()) else {
      throw VaultErrors.outsideValidity(full)
    }
    return (version, full)
  }
}
