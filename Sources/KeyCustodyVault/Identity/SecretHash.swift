import KeyCustody
import KeyCustodyCrypto

/// A salted SHA-256 of a random secret of 256 bits.
///
/// A slow hash would guard nothing more: there is nothing to guess.
struct SecretHash: Codable, Sendable {
  var salt: String
  var hash: String
  var expires: Timestamp?

  init(_ secret: String, expires: Timestamp?, random: any RandomSource) throws(KeyCustodyError) {
    let salt = try random.bytes(16)
    self.salt = salt.hexadecimal
    hash = try Hashing.digest(.sha256, salt, Array(secret.utf8)).hexadecimal
    self.expires = expires
  }

  private init(salt: String, hash: String) {
    self.salt = salt
    self.hash = hash
  }

  /// Matches no secret; compared where there is no stored hash.
  static let nobody = SecretHash(
    salt: String(repeating: "0", count: 32), hash: String(repeating: "0", count: 64))

  func matches(_ secret: borrowing SecretBytes) throws(KeyCustodyError) -> Bool {
    let salt = [UInt8](hexadecimal: salt) ?? []
    let found = try secret.withBytes { (bytes) throws(KeyCustodyError) in
      try Hashing.digest(.sha256, salt, (0..<bytes.byteCount).map { bytes[$0] })
    }
    return constantTimeEqual(found, [UInt8](hexadecimal: hash) ?? [])
  }
}
