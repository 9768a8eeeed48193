package import KeyCustody

/// All of a batch in one turn on a thread, by a key that is looked up once.
extension SoftwareKeyProvider: KeyBatches {
  /// Wraps secrets, and unwraps them again.
  package func wrapAndUnwrapAll(
    _ secrets: [SharedSecret], with request: WrapRequest
  ) async throws(KeyCustodyError) -> [ProvenWrapping] {
    try begin(.wrap(request.algorithm), request.context)
    try begin(.unwrap(request.algorithm), request.context)
    for secret in secrets { try Self.requireLength(secret.bytes, request.algorithm) }
    return try await run(.quick, request.context) { () throws(KeyCustodyError) in
      let key = try self.load(request.version, for: \.wraps).key
      var proven: [ProvenWrapping] = []
      for secret in secrets {
        let wrapped = try key.wrap(secret.bytes, request.algorithm)
        let unwrapped = SharedSecret(try key.unwrap(wrapped, request.algorithm))
        proven.append(ProvenWrapping(wrapped: wrapped, unwrapped: unwrapped))
      }
      return proven
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
