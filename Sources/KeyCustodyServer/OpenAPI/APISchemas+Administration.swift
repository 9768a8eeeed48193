import KeyCustody

extension APISchemas {
  /// What the administration of vaults, rules and identities takes and gives.
  mutating func addAdministration() {
    let vault: Members = [
      ("name", text), ("tenant", text), ("region", text), ("softDeleteDays", number), ("purgeProtection", flag),
      ("keyProvider", text),
    ]
    add("Vault", vault, optional: [("hsmKeyProvider", text)])
    found.append(("Vaults", list("Vault")))
    add(
      "VaultCreation", [("name", text)],
      optional: [
        ("keyProvider", text), ("hsmKeyProvider", text),
        ("softDeleteDays", ["type": "integer", "minimum": 7, "maximum": 90]), ("purgeProtection", flag),
      ])
    add("VaultProtection", [("protected", text)])
    add("VaultDeletion", [("deleted", text)])
    add(
      "NetworkRules", [("allowsEveryAddress", flag)], optional: [("ranges", texts), ("trustedServicesBypass", flag)])
    add("VaultDescription", [("definition", to("Vault")), ("network", to("NetworkRules"))])
    add("PrincipalName", [("tenant", text), ("subject", text)])
    add(
      "AccessRule",
      [
        ("name", text), ("principal", to("PrincipalName")), ("effect", ["enum": ["allow", "deny"]]), ("keys", texts),
        ("secrets", texts),
      ])
    add("AccessPolicy", [("rules", list("AccessRule"))])
    add("Permissions", [], optional: [("keys", texts), ("secrets", texts), ("deny", flag)])
    addIdentities()
    let version: JSON = [
      "type": "object", "required": ["version", "enabled", "created"],
      "properties": ["version": text, "enabled": flag, "created": seconds, "expires": seconds],
    ]
    add(
      "KeySummary",
      [("key", text), ("type", text), ("role", text), ("versions", ["type": "array", "items": version])],
      optional: [("deletedUntil", seconds)])
    found.append(("KeySummaries", list("KeySummary")))
    add("KeyMaking", [("type", text)], optional: [("role", ["enum": ["wrapping", "signing", "general"]])])
  }

  private mutating func addIdentities() {
    add(
      "Identity", [("id", text), ("clientID", text), ("tenant", text), ("principal", text)],
      optional: [
        ("kind", text), ("enabled", flag), ("administrator", flag), ("clientSecret", text), ("secret", text),
        ("issuer", text), ("subject", text), ("removed", flag),
      ])
    found.append(("Identities", list("Identity")))
    add("IdentityUpdate", [("enabled", flag)])
    add("SecretIssue", [], optional: [("days", ["type": "integer", "minimum": 1, "maximum": 3650])])
    let trusted: Members = [("issuer", text), ("subject", text)]
    add("Federation", trusted, optional: [("audience", text), ("removed", flag)])
    add(
      "IdentityCreation", [("name", text)],
      optional: [("withoutSecret", flag), ("administrator", flag), ("federation", to("Federation"))])
  }
}
