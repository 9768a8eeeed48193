package import KeyCustody

/// A key version that a caller was allowed to wrap or unwrap with, decided on once for many uses.
///
/// What is decided on stands for as long as whoever asked keeps this: let go of it soon. Every use is recorded before its
/// answer, as any other.
package struct AllowedKey: Sendable {
  /// The address, with the version.
  package let uri: KeyURI
  /// Type and size.
  package let type: KeyType
  /// What the provider wraps best with by a key of this type; `nil` where it wraps with none.
  package let algorithm: WrapAlgorithm?
  let version: KeyVersionRecord
  let provider: any KeyProvider
  let caller: Principal
  /// The rule that allowed each use.
  let rules: [KeyUse: String]
  let vaults: Vaults

  /// Wraps short secrets; answers in their order.
  ///
  /// - Throws: what the provider throws.
  package func wrapAll(
    _ secrets: [SharedSecret], algorithm: WrapAlgorithm, context: CallContext
  ) async throws(KeyCustodyError) -> [[UInt8]] {
    guard let provider = provider as? any KeyBatches else {
      var wrapped: [[UInt8]] = []
      for secret in secrets { wrapped.append(try await wrap(secret.bytes, algorithm: algorithm, context: context)) }
      return wrapped
    }
    return try await recorded(.wrapKey, context, count: secrets.count) { () throws(KeyCustodyError) in
      try await provider.wrapAll(
        secrets, with: WrapRequest(version: version.version, algorithm: algorithm, context: context))
    }
  }

  /// Unwraps what was wrapped for this version; answers in their order.
  ///
  /// - Throws: what the provider throws.
  package func unwrapAll(
    _ wrapped: [[UInt8]], algorithm: WrapAlgorithm, context: CallContext
  ) async throws(KeyCustodyError) -> [SharedSecret] {
    guard let provider = provider as? any KeyBatches else {
      var secrets: [SharedSecret] = []
      for bytes in wrapped {
        secrets.append(SharedSecret(try await unwrap(bytes, algorithm: algorithm, context: context)))
      }
      return secrets
    }
    return try await recorded(.unwrapKey, context, count: wrapped.count) { () throws(KeyCustodyError) in
      try await provider.unwrapAll(
        wrapped, with: WrapRequest(version: version.version, algorithm: algorithm, context: context))
    }
  }

  /// Wraps a short secret.
  ///
  /// - Throws: what the provider throws.
  package func wrap(
    _ secret: borrowing SecretBytes, algorithm: WrapAlgorithm, context: CallContext
  ) async throws(KeyCustodyError) -> [UInt8] {
    let copy = secret.copy()
    return try await recorded(.wrapKey, context) { () throws(KeyCustodyError) in
      try await provider.wrap(
        copy, with: WrapRequest(version: version.version, algorithm: algorithm, context: context)
      ).bytes
    }
  }

  /// Unwraps what was wrapped for this version.
  ///
  /// - Throws: what the provider throws.
  package func unwrap(
    _ wrapped: [UInt8], algorithm: WrapAlgorithm, context: CallContext
  ) async throws(KeyCustodyError) -> SecretBytes {
    try await recorded(.unwrapKey, context) { () throws(KeyCustodyError) in
      try await provider.unwrap(
        wrapped, with: WrapRequest(version: version.version, algorithm: algorithm, context: context))
    }
  }

  private func recorded<Answer: ~Copyable>(
    _ use: KeyUse, _ context: CallContext, count: Int = 1, _ body: () async throws(KeyCustodyError) -> Answer
  ) async throws(KeyCustodyError) -> Answer {
    var event = vaults.event(.key(use.permission), uri, .caller(caller), context)
    event.rule = rules[use] ?? "-"
    let answer: Answer
    do throws(KeyCustodyError) { answer = try await body() } catch {
      event.error = "\(error.code.rawValue)/\(error.reason.rawValue)"
      try await vaults.audit.record([AuditEvent](repeating: event, count: count))
      throw error
    }
    event.outcome = .allowed
    try await vaults.audit.record([AuditEvent](repeating: event, count: count))
    return answer
  }
}

extension Vaults {
  /// A key version (without one in the address: the newest) for uses of one step.
  ///
  /// - Throws: as ``wrap(_:with:algorithm:as:context:)`` before the provider is asked; each refusal is recorded.
  package func allow(
    _ uses: [KeyUse], of uri: KeyURI, validity: Validity = .wire, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> AllowedKey {
    var rules: [KeyUse: String] = [:]
    var found: (version: KeyVersionRecord, uri: KeyURI, admission: Admission)?
    for use in uses {
      var event = event(.key(use.permission), found?.uri ?? uri, .caller(caller), context)
      do throws(KeyCustodyError) {
        let admission = try await admit(.key(use.permission), on: uri, by: .caller(caller), context, &event)
        // The version of the first use counts for all: a newer one may come in between.
        let (version, full) = try await usable(found?.uri ?? uri, for: use, validity: validity)
        rules[use] = admission.rule
        found = (version, full, admission)
      } catch {
        event.error = "\(error.code.rawValue)/\(error.reason.rawValue)"
        try await audit.record(event)
        throw error
      }
    }
    guard let (version, full, admission) = found else {
      throw KeyCustodyError(.invalidInput, .malformed, "No use of '\(uri)' was named.")
    }
    let provider = try admission.provider(of: version)
    let type = try await living(full).type(of: version)
    return AllowedKey(
      uri: full, type: type, algorithm: provider.capabilities.preferredWrapAlgorithm(for: type), version: version,
      provider: provider, caller: caller, rules: rules, vaults: self)
  }
}
