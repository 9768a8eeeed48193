package import KeyCustody
import KeyCustodyCrypto
import Synchronization

/// An unwrapped root key that nobody uses just now: what was derived from it, and no cipher.
///
/// It takes a small part of the memory of a ``RootKey`` with its ciphers, and becomes one again when it is used.
package final class RestingRootKey: Sendable {
  private let commitment: InlineArray<32, UInt8>
  private let nonces: NonceSource
  /// The key of objects, then that of records, 32 bytes each; `nil` when it was destroyed.
  private let secrets: Mutex<SecretBytes?>

  init(object: borrowing SecretBytes, record: borrowing SecretBytes, commitment: [UInt8], nonces: NonceSource) {
    self.commitment = InlineArray { commitment[$0] }
    self.nonces = nonces
    secrets = Mutex(object.followed(by: record.copy()))
  }

  /// The root key, which goes on as if it had been one all the time, but for the prefixes of its nonces.
  ///
  /// - Throws: `unavailable` (`lease-ended`) when it was destroyed.
  package func woken() throws(KeyCustodyError) -> RootKey {
    let halves = secrets.withLock { secrets -> RootKeySecrets? in
      // Taken out and put back: an optional that can't be copied can't be borrowed.
      guard let both = secrets.take() else { return nil }
      let halves = both.withBytes { bytes in
        RootKeySecrets(
          object: SecretBytes(copying: bytes.extracting(0..<32)),
          record: SecretBytes(copying: bytes.extracting(32..<64)))
      }
      secrets = consume both
      return halves
    }
    guard let halves else { throw leaseEnded() }
    return RootKey(halves, commitment: (0..<32).map { commitment[$0] }, nonces: nonces)
  }

  /// Clears it.
  package func destroy() { secrets.withLock { $0 = nil } }
}

/// What a root key works with.
struct RootKeySecrets: ~Copyable {
  let object: SecretBytes
  let record: SecretBytes
}
