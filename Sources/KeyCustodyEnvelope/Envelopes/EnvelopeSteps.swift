package import KeyCustody
import KeyCustodyCrypto

/// A key envelope whose content key is still to be wrapped.
package struct UnfinishedEnvelope: Sendable {
  /// 32 bytes.
  package let contentKey: SharedSecret
  private let protected: String
  private let parts: FlattenedJWE.Parts

  /// Seals a root key under a new content key.
  ///
  /// - Throws: as ``KeyEnvelope/seal(_:facts:random:wrap:)``.
  package init(
    _ material: borrowing SecretBytes, facts: KeyEnvelopeFacts, random: any RandomSource
  ) throws(KeyCustodyError) {
    guard material.count == RootKey.materialLength else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "A root key has \(RootKey.materialLength) bytes, not \(material.count).")
    }
    protected = try facts.protectedHeader.base64URL
    contentKey = SharedSecret(try random.secret(AES256GCM.keyLength))
    parts = try FlattenedJWE.seal(material, under: contentKey.bytes, protected: protected, random: random)
  }

  /// Proves that whoever gets this content key from the KEK has the root key.
  ///
  /// - Throws: `integrityFailure` (`not-authentic`).
  package func prove(
    _ material: borrowing SecretBytes, opensWith contentKey: borrowing SecretBytes
  ) throws(KeyCustodyError) {
    let opened = try FlattenedJWE.open(parts, protected: protected, with: contentKey)
    guard opened.isEqual(to: material) else { throw notAuthentic("The key envelope") }
  }

  /// The envelope, once the KEK has wrapped the content key.
  package func finished(encryptedKey: [UInt8]) -> KeyEnvelope {
    KeyEnvelope(
      protected: protected, encryptedKey: encryptedKey.base64URL, iv: parts.iv.base64URL,
      ciphertext: parts.ciphertext.base64URL, tag: parts.tag.base64URL)
  }
}

/// A key envelope that is for what it should be for, and whose content key is still to be unwrapped.
package struct CheckedEnvelope: Sendable {
  let parts: FlattenedJWE.Parts
  let protected: String

  /// What the KEK is to unwrap.
  package var encryptedKey: [UInt8] { parts.encryptedKey }

  /// The root key.
  ///
  /// - Throws: `integrityFailure` (`not-authentic`).
  package func open(with contentKey: borrowing SecretBytes) throws(KeyCustodyError) -> SecretBytes {
    try FlattenedJWE.open(parts, protected: protected, with: contentKey)
  }
}
