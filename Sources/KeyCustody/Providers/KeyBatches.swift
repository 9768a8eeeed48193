/// The ability of a provider to wrap and unwrap several secrets in one go, for less than one after the other costs.
///
/// Either all are answered or none is.
package protocol KeyBatches: KeyProvider {
  /// Wraps each, and unwraps what came of it; answers in their order.
  ///
  /// - Throws: what ``KeyProvider/wrap(_:with:)`` and ``KeyProvider/unwrap(_:with:)`` throw for the first that fails.
  func wrapAndUnwrapAll(
    _ secrets: [SharedSecret], with request: WrapRequest
  ) async throws(KeyCustodyError) -> [ProvenWrapping]

  /// Unwraps each; answers in their order.
  ///
  /// - Throws: what ``KeyProvider/unwrap(_:with:)`` throws for the first that fails.
  func unwrapAll(_ wrapped: [[UInt8]], with request: WrapRequest) async throws(KeyCustodyError) -> [SharedSecret]
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
