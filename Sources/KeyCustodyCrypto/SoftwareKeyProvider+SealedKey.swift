package import KeyCustody

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A key in a form that may lie about: everything but the material in clear and authenticated, the material encrypted.
///
/// `KCSK` ‖ format (1 byte, 1) ‖ length of the head (4 bytes, big-endian) ‖ head (JSON, keys sorted) ‖ salt (32 bytes)
/// ‖ material under AES-256-GCM with its tag. The key of each blob is HKDF-Expand-SHA-512(master key, purpose ‖ salt),
/// so the nonce is zero: no key ever seals twice. All that stands before the material is additional data.
package struct SealedSoftwareKey: ~Copyable {
  /// What a blob is for; a blob of one purpose does not open as one of another.
  package enum Purpose: String, Sendable {
    /// A file of a key store.
    case file = "key-custody/v1/key-file"
    /// A backup.
    case backup = "key-custody/v1/key-backup"
  }

  /// What may be known of the key, authenticated.
  package let description: KeyDescription
  /// The material, as ``SoftwareKey/serialized()`` gave it.
  package let material: SecretBytes

  private static let magic = Array("KCSK".utf8)
  private static let format: UInt8 = 1
  private static let saltLength = 32
  private static let nonce = [UInt8](repeating: 0, count: AES256GCM.nonceLength)

  /// The largest blob there is: an RSA-4096 key takes about 4 KiB.
  package static let largest = 64 << 10

  /// Seals a key.
  package static func seal(
    _ record: SoftwareKeyRecord, for purpose: Purpose, under master: borrowing SecretBytes, random: any RandomSource
  ) throws(KeyCustodyError) -> [UInt8] {
    let head = try Head(record.description).encoded()
    let salt = try random.bytes(saltLength)
    let length = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: head.count >> $0) }
    let clear = magic + [format] + length + head + salt
    let material = try record.key.serialized()
    let key = try blobKey(purpose, salt, master)
    var cipher = try key.withBytes { (key) throws(KeyCustodyError) in try AES256GCM(key: key) }
    var sealed = [UInt8](repeating: 0, count: material.count + AES256GCM.tagLength)
    try material.withBytes { (material) throws(KeyCustodyError) in
      var span = sealed.mutableSpan
      var output = unsafe span.mutableBytes
      try cipher.seal(
        material, nonce: unsafe nonce.span.bytes, additionalData: unsafe clear.span.bytes, into: &output)
    }
    return clear + sealed
  }

  /// Opens a blob.
  ///
  /// - Throws: `integrityFailure` (`truncated`, `unknown-format`, `not-authentic`).
  package init(
    _ blob: [UInt8], for purpose: Purpose, under master: borrowing SecretBytes
  ) throws(KeyCustodyError) {
    let fixed = Self.magic.count + 5
    guard blob.count > fixed, blob.count <= Self.largest else {
      throw KeyCustodyError(.integrityFailure, .truncated, "The sealed key has \(blob.count) bytes.")
    }
    guard blob.starts(with: Self.magic) else { throw notAuthentic("The sealed key") }
    guard blob[Self.magic.count] == Self.format else {
      throw KeyCustodyError(
        .integrityFailure, .unknownFormat,
        "The sealed key is of format \(blob[Self.magic.count]), which this version does not know.",
        remedy: "Read it with the version that wrote it, or a later one.")
    }
    let headLength = blob[(fixed - 4)..<fixed].reduce(0) { $0 << 8 | Int($1) }
    let start = fixed + headLength + Self.saltLength
    guard blob.count > start + AES256GCM.tagLength else {
      throw KeyCustodyError(.integrityFailure, .truncated, "The sealed key ends too early.")
    }
    let (clear, sealed) = (Array(blob[..<start]), Array(blob[start...]))
    let key = try Self.blobKey(purpose, Array(clear.suffix(Self.saltLength)), master)
    var cipher = try key.withBytes { (key) throws(KeyCustodyError) in try AES256GCM(key: key) }
    var isAuthentic = false
    let material = SecretBytes(count: sealed.count - AES256GCM.tagLength) { output in
      isAuthentic = unsafe cipher.open(
        sealed.span.bytes, nonce: Self.nonce.span.bytes, additionalData: clear.span.bytes, into: &output)
    }
    guard isAuthentic else { throw notAuthentic("The sealed key") }
    description = try Head(decoding: Array(clear[fixed..<(fixed + headLength)])).description
    self.material = material
  }

  /// The key itself.
  package consuming func record() throws(KeyCustodyError) -> SoftwareKeyRecord {
    SoftwareKeyRecord(description: description, key: try SoftwareKey.read(material, as: description.type))
  }

  private static func blobKey(
    _ purpose: Purpose, _ salt: [UInt8], _ master: borrowing SecretBytes
  ) throws(KeyCustodyError) -> SecretBytes {
    try master.withBytes { (master) throws(KeyCustodyError) in
      try Hashing.expand(.sha512, key: master, info: Array(purpose.rawValue.utf8) + salt, count: 32)
    }
  }
}

/// The head of a sealed key.
private struct Head: Codable {
  var version: KeyVersionID
  var type: KeyType
  var role: KeyRole
  var label: String
  var origin: KeyDescription.Origin
  var backupable: Bool
  var publicKey: String?
  var fingerprint: String

  init(_ description: KeyDescription) {
    version = description.version
    type = description.type
    role = description.role
    label = description.label
    origin = description.origin
    backupable = description.isBackupable
    publicKey = description.publicKey?.base64URL
    fingerprint = description.fingerprint.base64URL
  }

  init(decoding bytes: [UInt8]) throws(KeyCustodyError) {
    do { self = try JSONDecoder().decode(Head.self, from: Data(bytes)) } catch { throw notAuthentic("The sealed key") }
  }

  func encoded() throws(KeyCustodyError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do { return Array(try encoder.encode(self)) } catch {
      throw KeyCustodyError(.fault, .internalFault, "A key's description can't be written.", diagnostic: "\(error)")
    }
  }

  var description: KeyDescription {
    KeyDescription(
      version: version, type: type, role: role, publicKey: publicKey.flatMap { [UInt8](base64URL: $0) },
      fingerprint: [UInt8](base64URL: fingerprint) ?? [], origin: origin, isHardwareProtected: false,
      isBackupable: backupable, label: label)
  }
}
