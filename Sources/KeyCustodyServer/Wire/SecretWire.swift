import KeyCustody
import KeyCustodyVault

/// Secrets as the wire has them.
enum SecretWire {
  /// Reads what may be said of a secret.
  static func attributes(_ body: WireBody) throws(WireError) -> SecretAttributes {
    var found = SecretAttributes(contentType: try body.text("contentType"), tags: try body.tags("tags"))
    if let attributes = try body.body("attributes") {
      found.isEnabled = try attributes.flag("enabled")
      found.notBefore = try attributes.moment("nbf")
      found.expires = try attributes.moment("exp")
    }
    return found
  }

  /// A secret's bundle, with its value where that was asked for.
  static func bundle(_ secret: SecretBundle, value: String? = nil) -> JSON {
    JSON(members: [("value", value.map(JSON.string))] + members(secret, withVersion: true))
  }

  /// A bundle of a deleted secret.
  static func deleted(_ deleted: DeletedSecretBundle) -> JSON {
    JSON(
      members: members(deleted.secret, withVersion: true)
        + DeletionWire.members(deleted.deletion, DeletionWire.recovery(deleted.secret.uri)))
  }

  /// An entry of a list of secrets, by the address without a version, or of versions.
  static func item(_ secret: SecretBundle, withVersion: Bool) -> JSON {
    JSON(members: members(secret, withVersion: withVersion))
  }

  /// An entry of a list of deleted secrets.
  static func deletedItem(_ deleted: DeletedSecretBundle) -> JSON {
    JSON(
      members: members(deleted.secret, withVersion: false)
        + DeletionWire.members(deleted.deletion, DeletionWire.recovery(deleted.secret.uri)))
  }

  private static func members(_ secret: SecretBundle, withVersion: Bool) -> [(String, JSON?)] {
    let uri = withVersion ? secret.uri : secret.uri.with(version: nil)
    let attributes = secret.attributes
    return [
      ("id", .string(uri.description)), ("contentType", attributes.contentType.map(JSON.string)),
      (
        "attributes",
        AttributesWire.json(
          enabled: attributes.isEnabled, notBefore: attributes.notBefore, expires: attributes.expires,
          created: attributes.created, updated: attributes.updated, recovery: secret.recovery, exportable: nil)
      ),
      ("tags", KeyWire.tags(attributes.tags)),
    ]
  }
}
