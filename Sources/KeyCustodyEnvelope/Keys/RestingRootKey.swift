import KeyCustody
import KeyCustodyCrypto

/// An unwrapped root key that nobody uses just now: what was derived from it, and no cipher.
///
/// It takes a small part of the memory of a ``RootKey`` with its ciphers, and becomes one again when it is used. Letting go
/// of it clears it.
package struct RestingRootKey: ~Copyable, Sendable {
  /// The key of objects, then that of records, 32 bytes each.
  private let secrets: SecretBytes
  private let commitment: InlineArray<32, UInt8>
  private let nonces: NonceSource

  init(object: borrowing SecretBytes, record: borrowing SecretBytes, commitment: [UInt8], nonces: NonceSource) {
    self.commitment = InlineArray { commitment[$0] }
    self.nonces = nonces
    secrets = object.followed(by: record)
  }

  /// The root key, which goes on as if it had been one all the time, but for the prefixes of its nonces.
  package consuming func woken() -> RootKey {
    let object = secrets.withBytes { SecretBytes(copying: $0.extracting(0..<32)) }
    let record = secrets.withBytes { SecretBytes(copying: $0.extracting(32..<64)) }
    return RootKey(
      object: object, record: record, commitment: (0..<32).map { commitment[$0] }, nonces: nonces)
  }
}
