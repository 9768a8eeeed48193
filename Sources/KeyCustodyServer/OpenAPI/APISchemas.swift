import KeyCustody

/// What bodies of requests and answers look like (JSON Schema 2020-12, as OpenAPI 3.1 has it).
struct APISchemas {
  /// The schemas by their names.
  static let all: [(String, JSON)] = {
    var schemas = APISchemas()
    schemas.addKeys()
    schemas.addKeyRequests()
    schemas.addOperations()
    schemas.addSecrets()
    schemas.addPolicies()
    schemas.addOwn()
    schemas.addAdministration()
    schemas.addTokens()
    schemas.addErrors()
    return schemas.found
  }()

  typealias Members = [(String, JSON)]
  var found: [(String, JSON)] = []

  let text: JSON = ["type": "string"]
  let flag: JSON = ["type": "boolean"]
  let number: JSON = ["type": "integer"]
  let seconds: JSON = ["type": "integer", "description": "Seconds since 1970."]
  private let bytes: JSON = ["type": "string", "description": "base64url without padding."]
  let texts: JSON = ["type": "array", "items": ["type": "string"]]
  private let tags: JSON = ["type": "object", "additionalProperties": ["type": "string"]]
  private let nullable: JSON = ["type": ["string", "null"]]

  private init() {}

  func to(_ name: String) -> JSON { ["$ref": .string("#/components/schemas/\(name)")] }
  func list(_ name: String) -> JSON { ["type": "array", "items": to(name)] }

  private func object(_ required: Members, optional: Members = []) -> JSON {
    JSON(members: [
      ("type", "object"), ("required", required.isEmpty ? nil : JSON(texts: required.map(\.0))),
      ("properties", JSON(members: required + optional)),
    ])
  }

  mutating func add(_ name: String, _ required: Members, optional: Members = []) {
    found.append((name, object(required, optional: optional)))
  }

  private mutating func addPage(_ name: String, of item: String) {
    add(name, [("value", list(item)), ("nextLink", nullable)])
  }

  private var deletion: Members { [("recoveryId", text), ("deletedDate", seconds), ("scheduledPurgeDate", seconds)] }

  // MARK: Keys

  private mutating func addKeys() {
    add(
      "Attributes", [("enabled", flag), ("created", seconds), ("updated", seconds), ("recoveryLevel", text)],
      optional: [("nbf", seconds), ("exp", seconds), ("recoverableDays", number), ("exportable", flag)])
    add("AttributesUpdate", [], optional: [("enabled", flag), ("nbf", seconds), ("exp", seconds)])
    add(
      "JsonWebKey", [("kid", text), ("kty", text), ("key_ops", texts)],
      optional: [("n", bytes), ("e", bytes), ("crv", text), ("x", bytes), ("y", bytes)])
    let bundle: Members = [("key", to("JsonWebKey")), ("attributes", to("Attributes"))]
    let item: Members = [("kid", text), ("attributes", to("Attributes"))]
    add("KeyBundle", bundle, optional: [("tags", tags)])
    add("DeletedKeyBundle", bundle + deletion, optional: [("tags", tags)])
    add("KeyItem", item, optional: [("tags", tags)])
    add("DeletedKeyItem", item + deletion, optional: [("tags", tags)])
    addPage("KeyListResult", of: "KeyItem")
    addPage("DeletedKeyListResult", of: "DeletedKeyItem")
    add("Backup", [("value", bytes)])
  }

  private mutating func addKeyRequests() {
    let changes: Members = [("key_ops", texts), ("attributes", to("AttributesUpdate")), ("tags", tags)]
    let types: JSON = ["enum": ["RSA", "RSA-HSM", "EC", "EC-HSM", "oct", "oct-HSM"]]
    let type: Members = [
      ("key_size", number), ("crv", ["enum": ["P-256", "P-384", "P-521"]]), ("public_exponent", ["const": 65537]),
    ]
    add("KeyCreation", [("kty", types)], optional: type + changes)
    var parts: Members = ["n", "e", "d", "p", "q", "dp", "dq", "qi", "x", "y", "k"].map { ($0, bytes) }
    parts.append(("crv", text))
    parts.append(("key_ops", texts))
    add("PrivateJsonWebKey", [("kty", text)], optional: parts)
    let isHSM: Members = [("Hsm", flag)]
    add("KeyImport", [("key", to("PrivateJsonWebKey"))], optional: isHSM + changes)
    add("KeyUpdate", [], optional: changes)
  }

  private mutating func addOperations() {
    add("KeyOperation", [("alg", text), ("value", bytes)])
    add("KeyOperationResult", [("kid", text), ("value", bytes)])
    add("KeyVerification", [("alg", text), ("digest", bytes), ("value", bytes)])
    add("KeyVerificationResult", [("value", flag)])
  }

  // MARK: Secrets and policies

  private mutating func addSecrets() {
    let secret: Members = [("id", text), ("attributes", to("Attributes"))]
    let extras: Members = [("contentType", text), ("tags", tags)]
    let changes: Members = [("contentType", text), ("attributes", to("AttributesUpdate")), ("tags", tags)]
    let value: Members = [("value", text)]
    add("SecretBundle", secret, optional: extras)
    add("SecretValueBundle", value + secret, optional: extras)
    add("DeletedSecretBundle", secret + deletion, optional: extras)
    addPage("SecretListResult", of: "SecretBundle")
    addPage("DeletedSecretListResult", of: "DeletedSecretBundle")
    add("SecretSet", [("value", ["type": "string", "maxLength": 25600])], optional: changes)
    add("SecretUpdate", [], optional: changes)
  }

  private mutating func addPolicies() {
    let trigger = object([], optional: [("timeAfterCreate", text), ("timeBeforeExpiry", text)])
    let action = object([("type", ["enum": ["Rotate", "Notify"]])])
    add("LifetimeAction", [("trigger", trigger), ("action", action)])
    let actions: Members = [("lifetimeActions", list("LifetimeAction"))]
    let times: Members = [("created", ["type": ["integer", "null"]]), ("updated", ["type": ["integer", "null"]])]
    let shown = object([], optional: [("expiryTime", nullable)] + times)
    let wanted = object([], optional: [("expiryTime", nullable)])
    add("RotationPolicy", [("id", text)] + actions + [("attributes", shown)])
    add("RotationPolicyUpdate", [], optional: actions + [("attributes", wanted)])
  }

  // MARK: The project's own

  private mutating func addOwn() {
    add("DataKeyRequest", [("alg", text)], optional: [("size", ["enum": [16, 24, 32, 64]])])
    add("DataKey", [("kid", text), ("alg", text), ("value", bytes), ("plaintext", bytes)])
    add("RewrapRequest", [("alg", text), ("value", bytes)], optional: [("newAlg", text)])
    add("WrappedKey", [("kid", text), ("alg", text), ("value", bytes)])
    add("Dependent", [("resource", text), ("key", text)])
    add("Impact", [("value", list("Dependent"))])
    let time: JSON = ["type": "integer", "description": "Milliseconds since 1970."]
    add(
      "AuditRecord",
      [
        ("number", number), ("time", time), ("principal", text), ("action", text), ("target", text), ("rule", text),
        ("outcome", text), ("request", text),
      ], optional: [("error", text), ("source", text), ("detail", text), ("method", text)])
    add("AdministrationRecords", [("value", list("AuditRecord")), ("next", nullable)])
    add("AuditRecords", [("value", list("AuditRecord")), ("next", nullable)])
    add("Explanation", [("allowed", flag), ("rule", text)], optional: [("obstacle", text)])
    add("Health", [("status", text)], optional: [("parts", tags)])
    add("Document", [("openapi", text), ("info", ["type": "object"]), ("paths", ["type": "object"])])
  }

  // MARK: Tokens

  private mutating func addTokens() {
    let bearer: JSON = ["const": "Bearer"]
    add(
      "TokenRequest", [("grant_type", ["const": "client_credentials"]), ("client_id", text)],
      optional: [
        ("client_secret", text), ("client_assertion", text), ("client_assertion_type", text), ("scope", text),
        ("resource", text),
      ])
    add("Token", [("token_type", bearer), ("expires_in", number), ("ext_expires_in", number), ("access_token", text)])
    add(
      "MachineToken", [("access_token", text), ("expires_on", text), ("resource", text), ("token_type", bearer)],
      optional: [("client_id", text), ("expires_in", text), ("not_before", text)])
    add(
      "Discovery",
      [
        ("issuer", text), ("authorization_endpoint", text), ("token_endpoint", text), ("jwks_uri", text),
        ("response_types_supported", texts), ("subject_types_supported", texts),
        ("id_token_signing_alg_values_supported", texts),
      ])
    add("TokenKey", [("kid", text), ("use", text), ("alg", text), ("kty", text)])
    add("JsonWebKeySet", [("keys", list("TokenKey"))])
  }

  // MARK: Errors

  private mutating func addErrors() {
    let inner = object([("code", text)])
    let error = object([("code", text), ("message", text)], optional: [("innererror", inner)])
    add("Error", [("error", error)])
    add("TokenError", [("error", text), ("error_description", text)])
    add(
      "MachineTokenError",
      [("statusCode", number), ("message", text), ("error", text), ("error_description", text)])
  }
}
