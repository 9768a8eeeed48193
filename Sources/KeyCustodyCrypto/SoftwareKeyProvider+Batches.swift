package import KeyCustody

/// All of a batch in one turn on a thread, by a key that is looked up once.
extension SoftwareKeyProvider: KeyBatches {
  /// Wraps secrets.
  package func wrapAll(
    _ secrets: [SharedSecret], with request: WrapRequest
  ) async throws(KeyCustodyError) -> [[UInt8]] {
    try begin(.wrap(request.algorithm), request.context)
    for secret in secrets { try Self.requireLength(secret.bytes, request.algorithm) }
    return try await run(.quick, request.context) { () throws(KeyCustodyError) in
      let key = try self.load(request.version, for: \.wraps).key
      var wrapped: [[UInt8]] = []
      for secret in secrets { wrapped.append(try key.wrap(secret.bytes, request.algorithm)) }
      return wrapped
    }
  }

  /// Unwraps secrets.
  package func unwrapAll(
    _ wrapped: [[UInt8]], with request: WrapRequest
  ) async throws(KeyCustodyError) -> [SharedSecret] {
    try begin(.unwrap(request.algorithm), request.context)
    return try await run(.quick, request.context) { () throws(KeyCustodyError) in
      let key = try self.load(request.version, for: \.wraps).key
      var secrets: [SharedSecret] = []
      for bytes in wrapped { secrets.append(SharedSecret(try key.unwrap(bytes, request.algorithm))) }
      return secrets
    }
  }
}
