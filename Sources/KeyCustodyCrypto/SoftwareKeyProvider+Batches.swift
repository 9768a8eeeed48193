package import KeyCustody

/// All of a batch in one turn on a thread, by a key that is looked up once.
extension SoftwareKeyProvider: KeyBatches {
  /// Wraps secrets, and unwraps them again.
  package func wrapAndUnwrapAll(
    _ secrets: [SharedSecret], with request: WrapRequest
  ) async throws(KeyCustodyError) -> ProvenBatch {
    try begin(.wrap(request.algorithm), request.context)
    try begin(.unwrap(request.algorithm), request.context)
    for secret in secrets { try Self.requireLength(secret.bytes, request.algorithm) }
    return try await run(.quick, request.context) { () throws(KeyCustodyError) in
      let key = try self.load(request.version, for: \.wraps).key
      var wrapped: [[UInt8]] = []
      for secret in secrets { wrapped.append(try key.wrap(secret.bytes, request.algorithm)) }
      let unwrapped = Result { () throws(KeyCustodyError) in try Self.unwrapAll(wrapped, key, request.algorithm) }
      return ProvenBatch(wrapped: wrapped, unwrapped: unwrapped)
    }
  }

  /// Unwraps secrets.
  package func unwrapAll(
    _ wrapped: [[UInt8]], with request: WrapRequest
  ) async throws(KeyCustodyError) -> [SharedSecret] {
    try begin(.unwrap(request.algorithm), request.context)
    return try await run(.quick, request.context) { () throws(KeyCustodyError) in
      try Self.unwrapAll(wrapped, try self.load(request.version, for: \.wraps).key, request.algorithm)
    }
  }

  private static func unwrapAll(
    _ wrapped: [[UInt8]], _ key: SoftwareKey, _ algorithm: WrapAlgorithm
  ) throws(KeyCustodyError) -> [SharedSecret] {
    var secrets: [SharedSecret] = []
    for bytes in wrapped { secrets.append(SharedSecret(try key.unwrap(bytes, algorithm))) }
    return secrets
  }
}
