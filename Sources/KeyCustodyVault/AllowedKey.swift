package import KeyCustody

/// A key version that a caller was allowed to wrap or unwrap with, decided on once for many uses.
///
/// What is decided on stands for as long as whoever asked keeps this: let go of it soon. Every use is recorded before its
/// answer, as any other.
package struct AllowedKey: Sendable {
  /// The address, with the version.
  package let uri: KeyURI
  /// By what the provider wraps best with a key of this type; `nil` where it wraps with none.
  package let algorithm: WrapAlgorithm?
  let version: KeyVersionRecord
  let provider: any KeyProvider
  let caller: Principal
  /// The rule that allowed each use.
  let rules: [KeyUse: String]
  let vaults: Vaults

  /// Wraps short secrets, and unwraps what came of it; answers in their order.
  ///
  /// - Parameter context: called once for all where the provider does them in one go, and for each use otherwise.
  /// - Throws: what the provider throws.
  package func wrapAndUnwrapAll(
    _ secrets: [SharedSecret], algorithm: WrapAlgorithm, context: () -> CallContext
  ) async throws(KeyCustodyError) -> [ProvenWrapping] {
    if let provider = provider as? any KeyBatches {
      let request = WrapRequest(version: version.version, algorithm: algorithm, context: context())
      let proven = try await recorded(.wrapKey, request.context, count: secrets.count) {
        () throws(KeyCustodyError) in try await provider.wrapAndUnwrapAll(secrets, with: request)
      }
      let unwrapped = try await recorded(.unwrapKey, request.context, count: secrets.count) {
        () throws(KeyCustodyError) in try proven.unwrapped.get()
      }
      return zip(proven.wrapped, unwrapped).map(ProvenWrapping.init)
    }
    var wrapped: [[UInt8]] = []
    for secret in secrets {
      let request = WrapRequest(version: version.version, algorithm: algorithm, context: context())
      wrapped.append(
        try await recorded(.wrapKey, request.context) { () throws(KeyCustodyError) in
          try await provider.wrap(secret.bytes, with: request).bytes
        })
    }
    let unwrapped = try await unwrapAll(wrapped, algorithm: algorithm, context: context)
    return zip(wrapped, unwrapped).map(ProvenWrapping.init)
  }

  /// Unwraps what was wrapped for this version; answers in their order.
  ///
  /// - Parameter context: as of ``wrapAndUnwrapAll(_:algorithm:context:)``.
  /// - Throws: what the provider throws.
  package func unwrapAll(
    _ wrapped: [[UInt8]], algorithm: WrapAlgorithm, context: () -> CallContext
  ) async throws(KeyCustodyError) -> [SharedSecret] {
    if let provider = provider as? any KeyBatches {
      let request = WrapRequest(version: version.version, algorithm: algorithm, context: context())
      return try await recorded(.unwrapKey, request.context, count: wrapped.count) { () throws(KeyCustodyError) in
        try await provider.unwrapAll(wrapped, with: request)
      }
    }
    var secrets: [SharedSecret] = []
    for bytes in wrapped {
      let request = WrapRequest(version: version.version, algorithm: algorithm, context: context())
      secrets.append(
        try await recorded(.unwrapKey, request.context) { () throws(KeyCustodyError) in
          SharedSecret(try await provider.unwrap(bytes, with: request))
        })
    }
    return secrets
  }

  private func recorded<Answer>(
    _ use: KeyUse, _ context: CallContext, count: Int = 1, _ body: () async throws(KeyCustodyError) -> Answer
  ) async throws(KeyCustodyError) -> Answer {
    var event = vaults.event(.key(use.permission), uri, .caller(caller), context)
    let answer: Answer
    do throws(KeyCustodyError) {
      guard let rule = rules[use] else {
        event.outcome = .refused
        throw VaultErrors.denied(event.principal, .key(use.permission), uri.description, rule: event.rule, context)
      }
      event.rule = rule
      answer = try await body()
    } catch {
      event.error = "\(error.code.rawValue)/\(error.reason.rawValue)"
      try await vaults.audit.record([AuditEvent](repeating: event, count: count))
      throw error
    }
    event.outcome = .allowed
    try await vaults.audit.record([AuditEvent](repeating: event, count: count))
    return answer
  }
}

/// A secret that was wrapped, and what that was unwrapped to at once.
package struct ProvenWrapping: Sendable {
  /// What is to be kept.
  package let wrapped: [UInt8]
  /// The secret again, unless something went wrong: it is for the caller to compare.
  package let unwrapped: SharedSecret

  /// Puts the two together.
  package init(wrapped: [UInt8], unwrapped: SharedSecret) {
    self.wrapped = wrapped
    self.unwrapped = unwrapped
  }
}

extension Vaults {
  /// A key version (without one in the address: the newest) for uses of one step.
  ///
  /// - Throws: as ``wrap(_:with:algorithm:as:context:)`` before the provider is asked; each refusal is recorded.
  package func allow(
    _ uses: [KeyUse], of uri: KeyURI, as caller: Principal, context: CallContext
  ) async throws(KeyCustodyError) -> AllowedKey {
    var rules: [KeyUse: String] = [:]
    var found: (uri: KeyURI, type: KeyType, version: KeyVersionRecord, provider: any KeyProvider)?
    for use in uses {
      // The version of the first use counts for all: a newer one may come in between.
      let wanted = found?.uri ?? uri
      var event = event(.key(use.permission), wanted, .caller(caller), context)
      do throws(KeyCustodyError) {
        let admission = try await admit(.key(use.permission), on: wanted, by: .caller(caller), context, &event)
        let (key, version, full) = try await usableKey(wanted, for: use, validity: .wire)
        found = (full, key.type(of: version), version, try admission.provider(of: version))
        rules[use] = admission.rule
      } catch {
        event.error = "\(error.code.rawValue)/\(error.reason.rawValue)"
        try await audit.record(event)
        throw error
      }
    }
    guard let (uri, type, version, provider) = found else {
      throw KeyCustodyError(.fault, .internalFault, "No use of '\(uri)' was named.")
    }
    return AllowedKey(
      uri: uri, algorithm: provider.capabilities.preferredWrapAlgorithm(for: type), version: version,
      provider: provider, caller: caller, rules: rules, vaults: self)
  }
}
