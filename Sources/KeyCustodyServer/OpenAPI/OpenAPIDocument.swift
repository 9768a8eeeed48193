import HTTPTypes
import KeyCustody

/// The description of everything that is served, for programs (OpenAPI 3.1), written from the table of routes.
enum OpenAPIDocument {
  /// Answers `/keycustody/v1/openapi.json`; `nil` for any other address.
  static func respond(_ request: WireRequest, domain: String) -> WireResponse? {
    guard request.method == .get, request.segments.map({ $0.lowercased() }) == ["keycustody", "v1", "openapi.json"]
    else { return nil }
    return WireResponse(.ok, json(domain: domain))
  }

  static func json(domain: String) -> JSON {
    [
      "openapi": "3.1.0",
      "info": [
        "title": "KeyCustody", "version": "1",
        "description":
          "Keys and secrets in the form of Azure Key Vault, token endpoints for its clients, and what that form lacks.",
      ],
      "servers": [vaultServer(domain)],
      "paths": paths(domain: domain),
      "components": [
        "schemas": JSON(members: APISchemas.all), "responses": responses,
        "securitySchemes": [
          "token": [
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": .string(
              "A token for https://\(domain), of the vault's tenant; to administer, of an administrator."),
          ]
        ],
      ],
    ]
  }

  private static func vaultServer(_ domain: String) -> JSON {
    [
      "url": .string("https://{vault}.\(domain)"), "description": "A vault.",
      "variables": ["vault": ["default": "vault", "description": "The vault's name."]],
    ]
  }

  private static func paths(domain: String) -> JSON {
    var paths = JSON.Object()
    for route in APIRoutes.all {
      var item = paths[route.path]?.object ?? JSON.Object()
      if item.members.isEmpty, let place = server(route, domain) { item["servers"] = .array([place]) }
      item[route.method.rawValue.lowercased()] = operation(route)
      paths[route.path] = .object(item)
    }
    return .object(paths)
  }

  /// Where a route is served, if not by a vault.
  private static func server(_ route: APIRoute, _ domain: String) -> JSON? {
    switch route.surface {
    case .vault, .own, .open: nil
    case .administration:
      ["url": .string("https://\(domain)"), "description": "Administration of a tenant."]
    case .tokens: ["url": .string("https://login.\(domain)"), "description": "The token endpoint."]
    case .machine:
      [
        "url": "http://127.0.0.1:{port}", "description": "This machine alone, where that is switched on.",
        "variables": ["port": ["default": "8080"]],
      ]
    }
  }

  private static func operation(_ route: APIRoute) -> JSON {
    var parameters = route.variables.map(variable)
    if route.surface == .vault { parameters.append(version) }
    parameters += route.parameters.map(\.json)
    return JSON(members: [
      ("operationId", .string(route.operation)), ("summary", .string(route.summary)),
      ("tags", JSON(texts: [tag(route)])),
      ("security", route.needsToken ? security : .array([])),
      ("parameters", parameters.isEmpty ? nil : .array(parameters)),
      ("requestBody", route.request.map { body($0, route.surface == .tokens) }),
      ("responses", answers(route)),
    ])
  }

  private static let security: JSON = [["token": []]]

  private static func tag(_ route: APIRoute) -> String {
    switch route.surface {
    case .vault: route.path.contains("secrets") ? "secrets" : "keys"
    case .own: "keycustody"
    case .administration: "administration"
    case .tokens, .machine: "tokens"
    case .open: "server"
    }
  }

  private static func variable(_ name: String) -> JSON {
    let schema: JSON =
      name.hasSuffix("version")
      ? ["type": "string", "pattern": "^[0-9a-f]{32}$"] : ["type": "string", "pattern": "^[0-9a-zA-Z-]{1,127}$"]
    return ["name": .string(name), "in": "path", "required": true, "schema": schema]
  }

  private static let version = APIParameter(
    "api-version", isRequired: true, ["type": "string", "enum": JSON(texts: WireVersion.known)],
    "The version of the wire; there is no default."
  ).json

  private static func body(_ schema: String, _ isForm: Bool) -> JSON {
    let type = isForm ? "application/x-www-form-urlencoded" : "application/json"
    return ["required": true, "content": JSON(members: [(type, ["schema": reference(schema)])])]
  }

  private static func reference(_ schema: String) -> JSON { ["$ref": .string("#/components/schemas/\(schema)")] }

  private static func content(_ schema: String) -> JSON {
    JSON(members: [("application/json", ["schema": reference(schema)])])
  }

  private static func answers(_ route: APIRoute) -> JSON {
    let done: (String, JSON?) =
      if let response = route.response { ("200", ["description": "Done.", "content": content(response)]) } else {
        ("204", ["description": "Done."])
      }
    func response(_ name: String) -> JSON { ["$ref": .string("#/components/responses/\(name)")] }
    switch route.surface {
    case .vault, .own, .administration:
      return JSON(members: [
        done, ("401", response("Unauthorized")), ("429", response("Later")), ("503", response("Later")),
        ("504", response("Later")), ("4XX", response("Error")), ("5XX", response("Error")),
      ])
    case .tokens: return JSON(members: [done, ("4XX", response("TokenError")), ("5XX", response("TokenError"))])
    case .machine:
      return JSON(members: [done, ("4XX", response("MachineTokenError")), ("5XX", response("MachineTokenError"))])
    case .open:
      return JSON(members: [
        done, route.operation == "ready" ? ("503", ["description": "Not ready.", "content": content("Health")]) : done,
      ])
    }
  }

  private static let responses: JSON = [
    "Error": ["description": "Refused, or failed.", "content": content("Error")],
    "Unauthorized": [
      "description": "No token, or one that does not count here.", "content": content("Error"),
      "headers": [
        "WWW-Authenticate": ["description": "Where a token is had, and for what.", "schema": ["type": "string"]]
      ],
    ],
    "Later": [
      "description": "Nothing is known to have been done; worth a repeat.", "content": content("Error"),
      "headers": ["Retry-After": ["description": "In seconds.", "schema": ["type": "integer"]]],
    ],
    "TokenError": ["description": "Refused (RFC 6749, section 5.2).", "content": content("TokenError")],
    "MachineTokenError": ["description": "Refused.", "content": content("MachineTokenError")],
  ]
}
