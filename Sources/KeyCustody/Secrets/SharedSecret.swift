/// A secret that closures and arrays can hold: the one owner is this object, which they share.
package final class SharedSecret: Sendable {
  /// The secret.
  package let bytes: SecretBytes
  /// Takes a secret over.
  package init(_ secret: consuming SecretBytes) { bytes = secret }
}
