/// The ability of a provider to wrap and unwrap several secrets in one go, for less than one after the other costs.
///
/// Either all are answered or none is.
package protocol KeyBatches: KeyProvider {
  /// Wraps each, and unwraps what came of it; answers in their order.
  ///
  /// - Throws: what ``KeyProvider/wrap(_:with:)`` throws for the first that fails; what is thrown by
  ///   ``KeyProvider/unwrap(_:with:)`` is in the answer.
  func wrapAndUnwrapAll(
    _ secrets: [SharedSecret], with request: WrapRequest
  ) async throws(KeyCustodyError) -> ProvenBatch

  /// Unwraps each; answers in their order.
  ///
  /// - Throws: what ``KeyProvider/unwrap(_:with:)`` throws for the first that fails.
  func unwrapAll(_ wrapped: [[UInt8]], with request: WrapRequest) async throws(KeyCustodyError) -> [SharedSecret]
}

/// Secrets that were wrapped, and what that was unwrapped to at once.
package struct ProvenBatch: Sendable {
  /// What is to be kept, in the secrets' order.
  package let wrapped: [[UInt8]]
  /// The secrets again, unless something went wrong: it is for the caller to compare.
  package let unwrapped: Result<[SharedSecret], KeyCustodyError>

  /// Puts the two together.
  package init(wrapped: [[UInt8]], unwrapped: Result<[SharedSecret], KeyCustodyError>) {
    self.wrapped = wrapped
    self.unwrapped = unwrapped
  }
}
