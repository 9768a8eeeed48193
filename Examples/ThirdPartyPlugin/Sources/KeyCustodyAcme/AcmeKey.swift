import Crypto
import KeyCustody

/// A key at work.
///
/// swift-crypto clears an AES key's memory when it lets go; a P-256 key's it leaves to BoringSSL.
enum AcmeKey: Sendable {
  case wrapping(SymmetricKey)
  case signing(P256.Signing.PrivateKey)

  static let types: [KeyType] = [.aes(bits: 256), .ec(.p256)]

  /// Makes a key of one of ``types``.
  static func generate(_ type: KeyType, random: any RandomSource) throws(KeyCustodyError) -> AcmeKey {
    if case .aes = type { return .wrapping(SymmetricKey(try random.secret(32))) }
    // swift-crypto draws from a source of its own here.
    return .signing(P256.Signing.PrivateKey())
  }

  /// Reads key material: 32 bytes for AES, PKCS#8 DER for P-256.
  init(importing material: borrowing SecretBytes, as type: KeyType) throws(KeyCustodyError) {
    if case .aes = type {
      guard material.count == 32 else {
        throw KeyCustodyError(.invalidInput, .wrongSize, "An AES-256 key has 32 bytes, not \(material.count).")
      }
      self = .wrapping(SymmetricKey(material))
    } else {
      let key = material.withBytes { bytes in
        bytes.withUnsafeBytes { try? P256.Signing.PrivateKey(derRepresentation: $0) }
      }
      guard let key else {
        throw KeyCustodyError(
          .invalidInput, .malformed, "This is not a sound P-256 private key.",
          remedy: "Give it as PKCS#8 DER: openssl pkcs8 -topk8 -nocrypt -outform DER.")
      }
      self = .signing(key)
    }
  }

  /// Reads what ``stored`` gave.
  init?(stored: SymmetricKey, as type: KeyType) {
    guard type != .aes(bits: 256) else {
      self = .wrapping(stored)
      return
    }
    guard let key = stored.withUnsafeBytes({ try? P256.Signing.PrivateKey(rawRepresentation: $0) }) else { return nil }
    self = .signing(key)
  }

  /// The material, 32 bytes for either type.
  var stored: SymmetricKey {
    switch self {
    case .wrapping(let key): key
    case .signing(let key): SymmetricKey(data: key.rawRepresentation)
    }
  }

  /// The public key, as DER `SubjectPublicKeyInfo`.
  var publicKey: [UInt8]? {
    if case .signing(let key) = self { [UInt8](key.publicKey.derRepresentation) } else { nil }
  }

  /// Tells this key from others without telling what it is.
  var fingerprint: [UInt8] {
    switch self {
    case .wrapping(let key):
      Array(HMAC<SHA256>.authenticationCode(for: Array("key-custody-acme fingerprint".utf8), using: key).prefix(16))
    case .signing(let key): Array(SHA256.hash(data: key.publicKey.derRepresentation))
    }
  }

  // MARK: Work

  func wrap(_ secret: SymmetricKey) throws(KeyCustodyError) -> [UInt8] {
    guard case .wrapping(let key) = self else { throw Self.wrongKey("wrap") }
    do { return [UInt8](try AES.KeyWrap.wrap(secret, using: key)) } catch {
      throw KeyCustodyError(.fault, .internalFault, "AES key wrap failed.", diagnostic: "\(error)")
    }
  }

  func unwrap(_ wrapped: [UInt8]) throws(KeyCustodyError) -> SymmetricKey {
    guard case .wrapping(let key) = self else { throw Self.wrongKey("unwrap") }
    do {
      guard [24, 32, 40].contains(wrapped.count) else { throw CryptoKitError.incorrectParameterSize }
      return try AES.KeyWrap.unwrap(wrapped, using: key)
    } catch {
      // One error, whatever was wrong with the bytes.
      throw KeyCustodyError(
        .integrityFailure, .notAuthentic, "The wrapped secret does not unwrap under this key.",
        remedy: "Check that it was wrapped by this key version and not altered since.")
    }
  }

  func sign(_ digest: [UInt8]) throws(KeyCustodyError) -> [UInt8] {
    guard case .signing(let key) = self else { throw Self.wrongKey("sign") }
    do { return [UInt8](try key.signature(for: GivenDigest(bytes: digest)).rawRepresentation) } catch {
      throw KeyCustodyError(.fault, .internalFault, "Signing failed.", diagnostic: "\(error)")
    }
  }

  /// Does everything the key is for, once, and compares.
  func prove(random: any RandomSource) throws(KeyCustodyError) {
    switch self {
    case .wrapping:
      let secret = SymmetricKey(try random.secret(32))
      guard try unwrap(try wrap(secret)) == secret else { throw Self.wrongAnswer }
    case .signing(let key):
      let digest = try random.bytes(32)
      let signature = try? P256.Signing.ECDSASignature(rawRepresentation: try sign(digest))
      guard let signature, key.publicKey.isValidSignature(signature, for: GivenDigest(bytes: digest)) else {
        throw Self.wrongAnswer
      }
    }
  }

  private static func wrongKey(_ what: String) -> KeyCustodyError {
    KeyCustodyError(
      .invalidInput, .wrongKeyType, "This key can't \(what).", remedy: "AES keys wrap, P-256 keys sign.")
  }

  private static var wrongAnswer: KeyCustodyError {
    KeyCustodyError(.fault, .internalFault, "swift-crypto gave a wrong answer to a check.")
  }
}

/// A digest that somebody else made: swift-crypto signs digests of its own types alone.
struct GivenDigest: Digest {
  static let byteCount = 32
  let bytes: [UInt8]
  func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try bytes.withUnsafeBytes(body)
  }
  var description: String { bytes.hexadecimal }
}

extension SymmetricKey {
  /// Copies a secret into memory that swift-crypto clears.
  init(_ secret: borrowing SecretBytes) {
    self = secret.withBytes { bytes in bytes.withUnsafeBytes { SymmetricKey(data: $0) } }
  }
}

extension SecretBytes {
  /// Copies a key into memory that KeyCustody clears.
  init(_ key: SymmetricKey) {
    self.init(count: key.bitCount / 8) { target in
      key.withUnsafeBytes { source in
        for (offset, byte) in source.enumerated() { target.storeBytes(of: byte, toByteOffset: offset, as: UInt8.self) }
      }
    }
  }
}
