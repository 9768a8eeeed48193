import HTTPTypes
import KeyCustody

/// Every route that is served: what is not in this table is answered as unknown, and the OpenAPI document is written
/// from it.
enum APIRoutes {
  static let all: [APIRoute] = [
    keys, keyOperations, deletedKeys, secrets, deletedSecrets, own, AdministrationRoutes.table.map(\.route), tokens,
    open, machine,
  ].flatMap { $0 }

  /// The route of a request; a fixed name goes before one in braces.
  static func find(_ method: HTTPRequest.Method, _ segments: [String]) -> APIRoute? {
    all.filter { $0.matches(method, segments) }.min { $0.variables.count < $1.variables.count }
  }

  /// Whether a vault serves it.
  static func isServed(_ method: HTTPRequest.Method, _ segments: [String], on surface: APIRoute.Surface) -> Bool {
    let folded = segments.map { $0.utf8.allSatisfy { $0 < 0x80 } ? $0.lowercased() : "" }
    return shapes[Shape(surface: surface, method: method, length: segments.count)]?.contains { $0.fits(folded) }
      ?? false
  }

  /// What is compared before the names are.
  private struct Shape: Hashable {
    let surface: APIRoute.Surface
    let method: HTTPRequest.Method
    let length: Int
  }

  private static let shapes = Dictionary(grouping: all) { route in
    Shape(surface: route.surface, method: route.method, length: route.length)
  }

  private static let paging = [
    APIParameter("maxresults", ["type": "integer", "minimum": 1, "maximum": 25], "The most entries of a page."),
    APIParameter("$skiptoken", ["type": "string"], "Where the page begins: taken from a nextLink."),
  ]

  // MARK: Keys

  private static let keys: [APIRoute] = [
    APIRoute(.vault, .get, "/keys", "getKeys", "List keys", parameters: paging, gives: "KeyListResult"),
    APIRoute(.vault, .post, "/keys/restore", "restoreKey", "Restore a key", takes: "Backup", gives: "KeyBundle"),
    APIRoute(
      .vault, .put, "/keys/{key-name}", "importKey", "Bring in a key", takes: "KeyImport", gives: "KeyBundle"),
    APIRoute(.vault, .get, "/keys/{key-name}", "getLatestKey", "Show a key's newest version", gives: "KeyBundle"),
    APIRoute(
      .vault, .patch, "/keys/{key-name}", "updateLatestKey", "Change the newest version", takes: "KeyUpdate",
      gives: "KeyBundle"),
    APIRoute(.vault, .delete, "/keys/{key-name}", "deleteKey", "Soft-delete a key", gives: "DeletedKeyBundle"),
    APIRoute(
      .vault, .post, "/keys/{key-name}/create", "createKey", "Make a key or a version of one", takes: "KeyCreation",
      gives: "KeyBundle"),
    APIRoute(.vault, .post, "/keys/{key-name}/rotate", "rotateKey", "Make a new version", gives: "KeyBundle"),
    APIRoute(.vault, .post, "/keys/{key-name}/backup", "backupKey", "Back up a key", gives: "Backup"),
    APIRoute(
      .vault, .get, "/keys/{key-name}/versions", "getKeyVersions", "List versions", parameters: paging,
      gives: "KeyListResult"),
    APIRoute(
      .vault, .get, "/keys/{key-name}/rotationpolicy", "getKeyRotationPolicy", "Show the rotation policy",
      gives: "RotationPolicy"),
    APIRoute(
      .vault, .put, "/keys/{key-name}/rotationpolicy", "updateKeyRotationPolicy", "Set the rotation policy",
      takes: "RotationPolicyUpdate", gives: "RotationPolicy"),
    APIRoute(.vault, .get, "/keys/{key-name}/{key-version}", "getKey", "Show a version", gives: "KeyBundle"),
    APIRoute(
      .vault, .patch, "/keys/{key-name}/{key-version}", "updateKey", "Change a version", takes: "KeyUpdate",
      gives: "KeyBundle"),
  ]

  private static let keyOperations: [APIRoute] =
    operation("encrypt", "Encrypt") + operation("decrypt", "Decrypt") + operation("wrapkey", "Wrap a key")
    + operation("unwrapkey", "Unwrap a key") + operation("sign", "Sign a digest")
    + operation("verify", "Verify a signature", takes: "KeyVerification", gives: "KeyVerificationResult")

  private static func operation(
    _ name: String, _ summary: String, takes request: String = "KeyOperation",
    gives response: String = "KeyOperationResult"
  ) -> [APIRoute] {
    [
      APIRoute(
        .vault, .post, "/keys/{key-name}/\(name)", "\(name)Latest", "\(summary) by the newest version", takes: request,
        gives: response),
      APIRoute(
        .vault, .post, "/keys/{key-name}/{key-version}/\(name)", name, "\(summary) by a version", takes: request,
        gives: response),
    ]
  }

  private static let deletedKeys: [APIRoute] = [
    APIRoute(
      .vault, .get, "/deletedkeys", "getDeletedKeys", "List deleted keys", parameters: paging,
      gives: "DeletedKeyListResult"),
    APIRoute(
      .vault, .get, "/deletedkeys/{key-name}", "getDeletedKey", "Show a deleted key", gives: "DeletedKeyBundle"),
    APIRoute(.vault, .delete, "/deletedkeys/{key-name}", "purgeDeletedKey", "Destroy a deleted key"),
    APIRoute(
      .vault, .post, "/deletedkeys/{key-name}/recover", "recoverDeletedKey", "Bring a key back", gives: "KeyBundle"),
  ]

  // MARK: Secrets

  private static let secrets: [APIRoute] = [
    APIRoute(.vault, .get, "/secrets", "getSecrets", "List secrets", parameters: paging, gives: "SecretListResult"),
    APIRoute(
      .vault, .post, "/secrets/restore", "restoreSecret", "Restore a secret", takes: "Backup", gives: "SecretBundle"),
    APIRoute(
      .vault, .put, "/secrets/{secret-name}", "setSecret", "Store a value", takes: "SecretSet",
      gives: "SecretValueBundle"),
    APIRoute(
      .vault, .get, "/secrets/{secret-name}", "getLatestSecret", "Read the newest value", gives: "SecretValueBundle"),
    APIRoute(
      .vault, .patch, "/secrets/{secret-name}", "updateLatestSecret", "Change the newest version",
      takes: "SecretUpdate", gives: "SecretBundle"),
    APIRoute(
      .vault, .delete, "/secrets/{secret-name}", "deleteSecret", "Soft-delete a secret", gives: "DeletedSecretBundle"),
    APIRoute(.vault, .post, "/secrets/{secret-name}/backup", "backupSecret", "Back up a secret", gives: "Backup"),
    APIRoute(
      .vault, .get, "/secrets/{secret-name}/versions", "getSecretVersions", "List versions", parameters: paging,
      gives: "SecretListResult"),
    APIRoute(
      .vault, .get, "/secrets/{secret-name}/{secret-version}", "getSecret", "Read a version's value",
      gives: "SecretValueBundle"),
    APIRoute(
      .vault, .patch, "/secrets/{secret-name}/{secret-version}", "updateSecret", "Change a version",
      takes: "SecretUpdate", gives: "SecretBundle"),
  ]

  private static let deletedSecrets: [APIRoute] = [
    APIRoute(
      .vault, .get, "/deletedsecrets", "getDeletedSecrets", "List deleted secrets", parameters: paging,
      gives: "DeletedSecretListResult"),
    APIRoute(
      .vault, .get, "/deletedsecrets/{secret-name}", "getDeletedSecret", "Show a deleted secret",
      gives: "DeletedSecretBundle"),
    APIRoute(.vault, .delete, "/deletedsecrets/{secret-name}", "purgeDeletedSecret", "Destroy a deleted secret"),
    APIRoute(
      .vault, .post, "/deletedsecrets/{secret-name}/recover", "recoverDeletedSecret", "Bring a secret back",
      gives: "SecretBundle"),
  ]

  // MARK: What Key Vault's wire lacks

  private static let own: [APIRoute] = [
    APIRoute(
      .own, .get, "/keycustody/v1/keys", "listKeySummaries", "List keys with their versions, deleted ones included",
      gives: "KeySummaries"),
    APIRoute(
      .own, .get, "/keycustody/v1/keys/{key-name}", "getKeySummary", "Show a key with its versions",
      gives: "KeySummary"),
    APIRoute(
      .own, .post, "/keycustody/v1/keys/{key-name}/create", "makeKey", "Make a key of a type and for a role",
      takes: "KeyMaking", gives: "KeySummary"),
    APIRoute(
      .own, .get, "/keycustody/v1/audit", "getAdministration", "List how the vault was administered, and by whom",
      parameters: [APIParameter("after", ["type": "string"], "Where the page begins: 'next' of the page before.")],
      gives: "AdministrationRecords"),
    APIRoute(
      .own, .post, "/keycustody/v1/keys/{key-name}/generatedatakey", "generateDataKeyLatest",
      "Make a data key, in clear and wrapped by the newest version", takes: "DataKeyRequest", gives: "DataKey"),
    APIRoute(
      .own, .post, "/keycustody/v1/keys/{key-name}/{key-version}/generatedatakey", "generateDataKey",
      "Make a data key, in clear and wrapped by a version", takes: "DataKeyRequest", gives: "DataKey"),
    APIRoute(
      .own, .post, "/keycustody/v1/keys/{key-name}/{key-version}/rewrap", "rewrap",
      "Wrap by the newest version what this one wrapped", takes: "RewrapRequest", gives: "WrappedKey"),
    APIRoute(
      .own, .post, "/keycustody/v1/keys/{key-name}/rewrap", "rewrapLatest",
      "Refused: the version that wrapped the value must be named", takes: "RewrapRequest", gives: "WrappedKey"),
    APIRoute(
      .own, .get, "/keycustody/v1/keys/{key-name}/impact", "getImpact", "List what would stop without the key",
      gives: "Impact"),
    APIRoute(
      .own, .get, "/keycustody/v1/keys/{key-name}/audit", "getAudit", "List the audit records of a key, oldest first",
      parameters: [APIParameter("after", ["type": "string"], "Where the page begins: 'next' of the page before.")],
      gives: "AuditRecords"),
    APIRoute(
      .own, .get, "/keycustody/v1/explain", "explain", "Tell why the caller may, or may not, do something",
      parameters: [
        APIParameter("permission", isRequired: true, ["type": "string"], "A permission, like wrapKey or secrets/get."),
        APIParameter("key", ["type": "string"], "The name of the key it is wanted for."),
      ], gives: "Explanation"),
  ]

  // MARK: Tokens, health, this document

  private static let tokens: [APIRoute] = [
    APIRoute(
      .tokens, .get, "/{tenant}/v2.0/.well-known/openid-configuration", "discovery", "OpenID discovery",
      gives: "Discovery"),
    APIRoute(
      .tokens, .get, "/{tenant}/.well-known/openid-configuration", "discoveryV1", "OpenID discovery", gives: "Discovery"
    ),
    APIRoute(
      .tokens, .get, "/{tenant}/discovery/v2.0/keys", "tokenKeys", "The keys that verify tokens",
      gives: "JsonWebKeySet"),
    APIRoute(
      .tokens, .get, "/{tenant}/discovery/keys", "tokenKeysV1", "The keys that verify tokens", gives: "JsonWebKeySet"),
    APIRoute(
      .tokens, .post, "/{tenant}/oauth2/v2.0/token", "token", "Ask for a token by client credentials (RFC 6749)",
      takes: "TokenRequest", gives: "Token"),
    APIRoute(
      .tokens, .post, "/{tenant}/oauth2/token", "tokenV1", "Ask for a token by client credentials (RFC 6749)",
      takes: "TokenRequest", gives: "Token"),
  ]

  private static let open: [APIRoute] = [
    APIRoute(.open, .get, "/healthz", "live", "Whether the process answers", gives: "Health"),
    APIRoute(.open, .get, "/readyz", "ready", "Whether what it stands on answers (503: no)", gives: "Health"),
    APIRoute(.open, .get, "/keycustody/v1/openapi.json", "openapi", "This document", gives: "Document"),
  ]

  private static let resource = APIParameter(
    "resource", isRequired: true, ["type": "string"], "What the token is for: the address of the vaults.")

  private static let machine: [APIRoute] = [
    APIRoute(
      .machine, .get, ManagedIdentityRoutes.appServicePath, "machineToken",
      "The machine's own token, in the form of App Service",
      parameters: [
        resource,
        APIParameter("X-IDENTITY-HEADER", in: "header", isRequired: true, ["type": "string"], "The shared secret."),
      ], gives: "MachineToken"),
    APIRoute(
      .machine, .get, "/metadata/identity/oauth2/token", "instanceToken",
      "The machine's own token, in the form of an instance's metadata",
      parameters: [
        resource, APIParameter("Metadata", in: "header", isRequired: true, ["const": "true"], "Must be there."),
      ], gives: "MachineToken"),
  ]
}
