import KeyCustody
import KeyCustodyCrypto
import KeyCustodyVault

/// Keys as the wire has them: key types by name, bundles, items of lists.
enum KeyWire {
  /// What `kty` and its companions ask for.
  struct Asked {
    var type: KeyType
    var protection: KeyProtection
  }

  /// Reads `kty`, `key_size` and `crv` of a creation.
  static func type(_ body: WireBody) throws(WireError) -> Asked {
    let name = try body.requiredText("kty")
    let protection: KeyProtection = name.hasSuffix("-HSM") ? .hsm : .software
    let size = try body.number("key_size")
    switch name.hasSuffix("-HSM") ? String(name.dropLast(4)) : name {
    case "RSA":
      guard try body.number("public_exponent") ?? 65_537 == 65_537 else {
        throw .badParameter("'public_exponent' is not 65537, the only one offered.")
      }
      guard let bits = Int(exactly: size ?? 2048), [2048, 3072, 4096].contains(bits) else {
        throw .badParameter("'key_size' of an RSA key is 2048, 3072 or 4096.")
      }
      return Asked(type: .rsa(bits: bits), protection: protection)
    case "EC":
      let curve = try body.text("crv") ?? "P-256"
      guard let found = EllipticCurve(rawValue: curve) else {
        throw .badParameter("'crv' is not one of P-256, P-384, P-521.")
      }
      return Asked(type: .ec(found), protection: protection)
    case "oct":
      guard size ?? 256 == 256 else { throw .badParameter("'key_size' of an oct key is 256.") }
      return Asked(type: .aes(bits: 256), protection: protection)
    default: throw .badParameter("'kty' is not one of RSA, RSA-HSM, EC, EC-HSM, oct, oct-HSM.")
    }
  }

  /// The role that keys made over the wire have: all that their type can do, to be narrowed by `key_ops`.
  static func role(of type: KeyType, isFIPS: Bool, operations: Set<KeyUse>?) -> KeyRole {
    switch type {
    case .aes: .wrapping
    case .ec: .signing
    case .rsa:
      // FIPS 186-5 has a key pair for one purpose.
      isFIPS ? (operations.map { $0.isSubset(of: [.sign, .verify]) } ?? false ? .signing : .wrapping) : .general
    }
  }

  /// Reads `attributes`, `tags` and `key_ops`.
  static func attributes(_ body: WireBody) throws(WireError) -> KeyAttributes {
    var found = KeyAttributes()
    if let attributes = try body.body("attributes") {
      found.isEnabled = try attributes.flag("enabled")
      found.notBefore = try attributes.moment("nbf")
      found.expires = try attributes.moment("exp")
      guard try attributes.flag("exportable") != true else {
        throw .badParameter("'exportable' keys are not offered: key material never leaves its provider.")
      }
    }
    guard body["release_policy"] == nil else {
      throw .badParameter("'release_policy' is not offered: key material never leaves its provider.")
    }
    found.tags = try body.tags("tags")
    found.operations = try operations(try body.texts("key_ops"))
    return found
  }

  static func operations(_ names: [String]?) throws(WireError) -> Set<KeyUse>? {
    guard let names else { return nil }
    var found: Set<KeyUse> = []
    for name in names {
      // By RFC 7517 in one spelling, by clients in several.
      guard let use = KeyUse.allCases.first(where: { $0.rawValue.lowercased() == name.lowercased() }) else {
        throw .badParameter(
          "'key_ops' has what is not one of \(KeyUse.allCases.map(\.rawValue).joined(separator: ", ")).")
      }
      found.insert(use)
    }
    return found
  }

  /// The name of a key type.
  static func name(_ type: KeyType, _ protection: KeyProtection) -> String {
    let name =
      switch type {
      case .rsa: "RSA"
      case .ec: "EC"
      case .aes: "oct"
      }
    return protection == .hsm ? name + "-HSM" : name
  }

  /// A key bundle.
  static func bundle(_ key: KeyBundle) throws(WireError) -> JSON { JSON(members: try members(key)) }

  /// A bundle of a deleted key.
  static func deleted(_ deleted: DeletedKeyBundle) throws(WireError) -> JSON {
    JSON(
      members: try members(deleted.key) + DeletionWire.members(deleted.deletion, DeletionWire.recovery(deleted.key.uri))
    )
  }

  /// An entry of a list of keys, by the address without a version, or of versions.
  static func item(_ key: KeyBundle, withVersion: Bool) -> JSON {
    JSON(members: itemMembers(key, withVersion: withVersion))
  }

  /// An entry of a list of deleted keys.
  static func deletedItem(_ deleted: DeletedKeyBundle) -> JSON {
    JSON(
      members: itemMembers(deleted.key, withVersion: false)
        + DeletionWire.members(deleted.deletion, DeletionWire.recovery(deleted.key.uri)))
  }

  private static func itemMembers(_ key: KeyBundle, withVersion: Bool) -> [(String, JSON?)] {
    let uri = withVersion ? key.uri : key.uri.with(version: nil)
    return [("kid", .string(uri.description)), ("attributes", attributes(key)), ("tags", tags(key.attributes.tags))]
  }

  private static func members(_ key: KeyBundle) throws(WireError) -> [(String, JSON?)] {
    var jwk: [(String, JSON?)] = [
      ("kid", .string(key.uri.description)), ("kty", .string(name(key.type, key.attributes.protection))),
      ("key_ops", JSON(texts: key.operations.map(\.rawValue))),
    ]
    if let bytes = [UInt8](base64URL: key.attributes.publicKey), !bytes.isEmpty {
      do throws(KeyCustodyError) {
        for member in try PublicKey(spki: bytes).jsonWebKeyMembers { jwk.append((member.name, .string(member.value))) }
      } catch { throw WireError(error) }
    }
    return [
      ("key", JSON(members: jwk)), ("attributes", attributes(key)), ("tags", tags(key.attributes.tags)),
    ]
  }

  private static func attributes(_ key: KeyBundle) -> JSON {
    AttributesWire.json(
      enabled: key.attributes.isEnabled, notBefore: key.attributes.notBefore, expires: key.attributes.expires,
      created: key.attributes.created, updated: key.attributes.updated, recovery: key.recovery,
      exportable: key.isExportable)
  }

  static func tags(_ tags: [String: String]) -> JSON? {
    guard !tags.isEmpty else { return nil }
    return JSON(members: tags.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
  }
}

/// Attributes as the wire has them, of keys and secrets alike.
enum AttributesWire {
  static func json(
    enabled: Bool, notBefore: Timestamp?, expires: Timestamp?, created: Timestamp, updated: Timestamp,
    recovery: RecoveryLevel, exportable: Bool?
  ) -> JSON {
    JSON(members: [
      ("enabled", .bool(enabled)), ("nbf", notBefore.map { .integer($0.seconds) }),
      ("exp", expires.map { .integer($0.seconds) }), ("created", .integer(created.seconds)),
      ("updated", .integer(updated.seconds)), ("recoveryLevel", .string(recovery.name)),
      ("recoverableDays", .integer(Int64(recovery.days))), ("exportable", exportable.map(JSON.bool)),
    ])
  }
}

/// What the wire says of something deleted.
enum DeletionWire {
  static func members(_ deletion: KeyRecord.Deletion, _ recovery: String) -> [(String, JSON?)] {
    [
      ("recoveryId", .string(recovery)), ("deletedDate", .integer(deletion.deleted.seconds)),
      ("scheduledPurgeDate", .integer(deletion.scheduledPurge.seconds)),
    ]
  }

  /// Where a deleted key is found.
  static func recovery(_ uri: KeyURI) -> String { "https://\(uri.authority)/deletedkeys/\(uri.name)" }

  /// Where a deleted secret is found.
  static func recovery(_ uri: SecretURI) -> String { "https://\(uri.authority)/deletedsecrets/\(uri.name)" }
}
