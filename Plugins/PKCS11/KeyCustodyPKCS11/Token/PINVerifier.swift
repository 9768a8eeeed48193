import KeyCustody
import KeyCustodyCrypto

/// Remembers which PIN a token accepted, without keeping it.
///
/// PKCS#11 answers "already logged in" to any PIN while a login stands. A second user of the token in this process is
/// checked against this instead, so that a wrong PIN never passes.
final class PINVerifier: Sendable {
  private let salt: [UInt8]
  private let hash: SecretBytes
  /// Slows down guessing by whoever reads this process's memory; about 5 ms.
  private static let iterations = 10_000

  init(accepted pin: borrowing SecretBytes) throws(KeyCustodyError) {
    salt = try SystemRandom().bytes(16)
    hash = try Hashing.pbkdf2(passphrase: pin, salt: salt, iterations: Self.iterations)
  }

  func matches(_ pin: borrowing SecretBytes) throws(KeyCustodyError) -> Bool {
    try Hashing.pbkdf2(passphrase: pin, salt: salt, iterations: Self.iterations).isEqual(to: hash)
  }
}
