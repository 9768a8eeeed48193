/// The ability of a provider to wrap and unwrap several secrets in one go, for less than one after the other costs.
///
/// Either all are answered or none is.
package protocol KeyBatches: KeyProvider {
  /// Wraps each; answers in their order.
  ///
  /// - Throws: what ``KeyProvider/wrap(_:with:)`` throws for the first that fails.
  func wrapAll(_ secrets: [SharedSecret], with request: WrapRequest) async throws(KeyCustodyError) -> [[UInt8]]

  /// Unwraps each; answers in their order.
  ///
  /// - Throws: what ``KeyProvider/unwrap(_:with:)`` throws for the first that fails.
  func unwrapAll(_ wrapped: [[UInt8]], with request: WrapRequest) async throws(KeyCustodyError) -> [SharedSecret]
}
