import KeyCustody
import KeyCustodyCrypto

/// A key version as the vault has it: the one version that counts of the key that is named after it.
struct RemoteKey: Sendable {
  /// What may be known of it.
  let description: KeyDescription
  /// The path of the version that is used, `/keys/NAME/VERSION`.
  let path: String
  /// The vault's name of that version.
  let remoteVersion: String
  /// What marks who made it.
  let mark: String?
}

/// How this provider's keys are named and marked in a vault.
enum Naming {
  /// The name of the vault's key: the prefix, a dash, and 32 digits.
  static func name(_ version: KeyVersionID, prefix: String) -> String { "\(prefix)-\(version.description)" }

  /// The key version that a name stands for; `nil` for a key that is none of ours.
  static func version(_ name: some StringProtocol, prefix: String) -> KeyVersionID? {
    let name = name.lowercased()
    let head = "\(prefix.lowercased())-"
    guard name.hasPrefix(head) else { return nil }
    return try? KeyVersionID(String(name.dropFirst(head.count)))
  }

  /// The two last parts of a key's address, or one where it has no version; `nil` for no such address.
  static func parts(of address: String?) -> (name: Substring, version: Substring?)? {
    guard let address, address.utf8.count <= 1024 else { return nil }
    let parts = address.split(separator: "/", omittingEmptySubsequences: false)
    // https: "" HOST keys NAME [VERSION]
    guard parts.count == 5 || parts.count == 6, parts[3] == "keys", isName(parts[4]) else { return nil }
    guard parts.count == 6 else { return (parts[4], nil) }
    return isName(parts[5]) ? (parts[4], parts[5]) : nil
  }

  private static func isName(_ text: Substring) -> Bool {
    (1...127).contains(text.utf8.count)
      && text.utf8.allSatisfy { WebAddress.isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
  }

  /// Operations that a role has.
  static func operations(_ role: KeyRole) -> [JSON] {
    (role.wraps ? ["wrapKey", "unwrapKey"] : []) + (role.signs ? ["sign", "verify"] : [])
  }

  /// The role that operations come to.
  static func role(_ operations: [JSON]) -> KeyRole? {
    switch (operations.contains("unwrapKey"), operations.contains("sign")) {
    case (true, true): .general
    case (true, false): .wrapping
    case (false, true): .signing
    case (false, false): nil
    }
  }

  /// What a new key is marked with: what a vault does not remember by itself.
  static func tags(_ request: GenerateKeyRequest, _ origin: KeyDescription.Origin, mark: String) -> JSON {
    var tags: JSON.Object = .init()
    tags["kc-type"] = .string(request.type.description)
    tags["kc-origin"] = .string(origin.rawValue)
    tags["kc-mark"] = .string(mark)
    let label = kept(request.label)
    if label.utf8.allSatisfy({ (0x20..<0x7f).contains($0) }), !label.isEmpty {
      tags["kc-label"] = .string(label)
    } else if !label.isEmpty {
      // A vault may refuse or change such a text; this way nothing is lost.
      tags["kc-label-base64url"] = .string(Array(label.utf8).base64URL)
    }
    return .object(tags)
  }

  static func label(_ tags: JSON?) -> String {
    if let text = tags?["kc-label"]?.string { return kept(text) }
    guard let text = tags?["kc-label-base64url"]?.string, let bytes = [UInt8](base64URL: text) else { return "" }
    return kept(String(validating: bytes, as: UTF8.self) ?? "")
  }

  /// The longest beginning of at most 128 bytes that cuts no character.
  private static func kept(_ label: String) -> String {
    var count = 0
    return String(
      label.prefix { character in
        count += character.utf8.count
        return count <= 128
      })
  }
}

extension RemoteKey {
  /// Reads a key bundle.
  ///
  /// - Parameter checkValue: what tells an AES key from others; `nil` where it is not known yet.
  /// - Throws: `unavailable` (`bad-answer`) for what is no such key.
  init(_ bundle: JSON?, _ version: KeyVersionID, prefix: String, checkValue: [UInt8]?) throws(KeyCustodyError) {
    let name = Naming.name(version, prefix: prefix)
    guard let bundle, let key = bundle["key"], let parts = Naming.parts(of: key["kid"]?.string),
      parts.name.lowercased() == name.lowercased(), let remoteVersion = parts.version
    else { throw .unfit(name, "the vault answered with something else") }
    guard let role = Naming.role(key["key_ops"]?.array ?? []) else {
      throw .unfit(name, "its operations neither unwrap nor sign")
    }
    let tags = bundle["tags"]
    let publicKey = try WirePublicKey(key, name)
    let type: KeyType
    if let publicKey {
      type = publicKey.type
    } else {
      guard tags?["kc-type"]?.string == KeyType.aes(bits: 256).description else {
        throw .unfit(name, "it is symmetric, and nothing says that it is AES-256")
      }
      type = .aes(bits: 256)
    }
    guard type.roles.contains(role) else { throw .unfit(name, "its operations don't fit its type") }
    var remarks: [String] = []
    let origin = tags?["kc-origin"]?.string.flatMap { KeyDescription.Origin(rawValue: $0) }
    if origin == nil { remarks.append("Nothing in the vault says where this key came from.") }
    let fingerprint = try publicKey.map { (publicKey) throws(KeyCustodyError) in try Hashing.sha256(publicKey.encoded) }
    description = KeyDescription(
      version: version, type: type, role: role, publicKey: publicKey?.encoded,
      fingerprint: fingerprint ?? checkValue ?? [], origin: origin ?? .generated,
      isHardwareProtected: key["kty"]?.string?.hasSuffix("-HSM") ?? false, label: Naming.label(tags), remarks: remarks)
    self.remoteVersion = String(remoteVersion)
    path = "/keys/\(name)/\(remoteVersion)"
    mark = tags?["kc-mark"]?.string
  }

  /// The same key, with what tells it from others.
  func with(checkValue: [UInt8]) -> RemoteKey {
    var description = description
    description.fingerprint = checkValue
    return RemoteKey(description: description, path: path, remoteVersion: remoteVersion, mark: mark)
  }
}

/// The public half of a key, as a bundle has it.
struct WirePublicKey {
  /// A DER `SubjectPublicKeyInfo`.
  let encoded: [UInt8]
  let type: KeyType

  /// Reads it; `nil` for a symmetric key.
  ///
  /// - Throws: `unavailable` (`bad-answer`) for what can't be used here.
  init?(_ key: JSON, _ name: String) throws(KeyCustodyError) {
    func bytes(_ member: String) -> [UInt8]? { key[member]?.string.flatMap { [UInt8](base64URL: $0) } }
    var encoded: [UInt8]?
    switch key["kty"]?.string {
    case "oct", "oct-HSM": return nil
    case "RSA", "RSA-HSM":
      if let n = bytes("n"), let e = bytes("e"), n.count <= 1024, e.count <= 8 {
        encoded = DER.rsaPublicKey(modulus: n, exponent: e)
      }
    case "EC", "EC-HSM":
      if let curve = key["crv"]?.string.flatMap({ EllipticCurve(rawValue: $0) }), let x = bytes("x"),
        let y = bytes("y"),
        x.count == curve.coordinateLength, y.count == curve.coordinateLength
      {
        encoded = DER.ecPublicKey(curve: curve, point: [0x04] + x + y)
      }
    default: break
    }
    guard let encoded, let read = try? PublicKey(spki: encoded) else {
      throw .unfit(name, "its public key is of a type or size that is not offered")
    }
    (self.encoded, type) = (encoded, read.type)
  }
}
