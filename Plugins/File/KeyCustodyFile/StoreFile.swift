import KeyCustody
import KeyCustodyCrypto

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// `store.json`: what a store is, and for a key store how its master key is unlocked.
struct StoreFile: Codable, Equatable {
  /// What a store holds.
  enum Kind: String, Codable {
    case keys = "key-custody key store"
    case policy = "key-custody policy store"
  }
  static let name = "store.json"
  static let format = 1
  static let largest = 16 << 10

  var kind: Kind
  var format = Self.format
  /// 16 random bytes in hexadecimal: the store's identity.
  var uuid: String
  /// Absent for a policy store.
  var lock: MasterKeyLock?
  /// SHA-256 of this file's JSON (keys sorted) without this field: tells damage from a wrong passphrase.
  var digest: String?

  /// Reads a store's file.
  ///
  /// - Throws: `integrityFailure` (`damaged`, `unknown-format`); `invalidInput` for a store of another kind.
  static func decode(_ bytes: [UInt8], as kind: Kind, at path: String) throws(KeyCustodyError) -> StoreFile {
    struct Format: Decodable { var format: Int }
    let data = Data(bytes)
    let decoder = JSONDecoder()
    if let found = try? decoder.decode(Format.self, from: data), found.format > Self.format {
      throw KeyCustodyError(
        .integrityFailure, .unknownFormat, "'\(path)' is of format \(found.format), which this version does not know.",
        remedy: "Use the version that wrote it, or a later one.")
    }
    let found: StoreFile
    do { found = try decoder.decode(StoreFile.self, from: data) } catch {
      throw .damagedFile(path, bytes.isEmpty ? "it is empty" : "it is not as it was written", diagnostic: "\(error)")
    }
    guard try found.digest == found.computedDigest() else {
      throw .damagedFile(path, "its content does not have the digest it names")
    }
    guard found.kind == kind else {
      throw KeyCustodyError(
        .invalidInput, .badConfigurationValue, "'\(path)' is of a \(found.kind.rawValue), not of a \(kind.rawValue).",
        remedy: "Give each store a folder of its own as 'directory'.")
    }
    return found
  }

  /// The file's content, digest and all.
  func encoded() throws(KeyCustodyError) -> [UInt8] {
    var whole = self
    whole.digest = try computedDigest()
    return try whole.json()
  }

  /// What the check value of the lock is computed over: everything but itself and the digest.
  func authenticatedContent() throws(KeyCustodyError) -> [UInt8] {
    var content = self
    content.digest = nil
    content.lock?.check = ""
    return try content.json()
  }

  private func computedDigest() throws(KeyCustodyError) -> String {
    var content = self
    content.digest = nil
    return try Hashing.sha256(try content.json()).base64URL
  }

  private func json() throws(KeyCustodyError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do { return Array(try encoder.encode(self)) } catch {
      throw KeyCustodyError(.fault, .internalFault, "A store's file can't be written.", diagnostic: "\(error)")
    }
  }
}

/// How a master key is unlocked: by a key made from a passphrase or a key file, which wraps it.
struct MasterKeyLock: Codable, Equatable {
  /// How the wrapping key is made.
  enum Derivation: String, Codable {
    /// PBKDF2-HMAC-SHA-512 (RFC 8018) of a passphrase.
    case passphrase = "PBKDF2-HMAC-SHA-512"
    /// HMAC-SHA-512 of the salt under a key file of random bytes.
    case keyFile = "HMAC-SHA-512"
  }
  var derivation: Derivation
  /// Rounds of PBKDF2; 1 for a key file.
  var iterations: Int
  /// 32 random bytes, base64url.
  var salt: String
  /// The master key under AES-256 key wrap (RFC 3394), base64url.
  var masterKey: String
  /// HMAC-SHA-256 over the rest of the store's file, base64url: tells a wrong passphrase from damage.
  var check: String
}
