import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyVault

@testable import KeyCustodyServer

/// Every route of a vault, asked for with a body that is right: what a test of all routes goes through.
struct AskedRoute: Sendable {
  let route: APIRoute
  let path: String
  let body: JSON?

  /// Whether its answer tells nothing of one object.
  var isOfVault: Bool { route.variables.isEmpty }

  private static let bytes = JSON.string([UInt8](repeating: 7, count: 32).base64URL)

  /// A body for each schema.
  static func body(_ schema: String?) -> JSON? {
    switch schema {
    case "KeyCreation": ["kty": "oct"]
    case "KeyImport": ["key": ["kty": "oct", "k": bytes]]
    case "KeyUpdate", "SecretUpdate": ["tags": ["a": "b"]]
    case "Backup": ["value": "AAAA"]
    case "KeyOperation": ["alg": "A256KW", "value": bytes]
    case "KeyVerification": ["alg": "ES256", "digest": bytes, "value": bytes]
    case "RotationPolicyUpdate": ["lifetimeActions": [], "attributes": [:]]
    case "SecretSet": ["value": "hello"]
    case "KeyMaking": ["type": "aes-256"]
    case "VaultCreation": ["name": "made", "keyProvider": "keys"]
    case "NetworkRules": ["allowsEveryAddress": true]
    case "Permissions": ["keys": ["get"]]
    case "IdentityCreation": ["name": "made"]
    case "IdentityUpdate": ["enabled": true]
    case "SecretIssue": ["days": 7]
    case "Federation": ["issuer": "https://issuer.example", "subject": "job"]
    case "DataKeyRequest": ["alg": "A256KW"]
    case "RewrapRequest": ["alg": "A256KW", "value": bytes]
    default: nil
    }
  }

  /// All routes of the administration, for a vault and a principal.
  static func administration(vault: String = "kv1", principal: String = "nobody") -> [AskedRoute] {
    APIRoutes.all.filter { $0.surface == .administration }.map { route in
      var path = route.path.replacing("{vault-name}", with: vault).replacing("{principal}", with: principal)
      if route.operation == "explainAccess" { path += "?permission=wrapKey&principal=\(principal)" }
      return AskedRoute(route: route, path: path, body: body(route.request))
    }
  }

  /// All routes of vaults for one name and version.
  static func all(_ name: String, _ version: String) -> [AskedRoute] {
    APIRoutes.all.filter { $0.surface == .vault || $0.surface == .own }.map { route in
      var path = route.path.replacing("{key-name}", with: name).replacing("{secret-name}", with: name)
        .replacing("{key-version}", with: version).replacing("{secret-version}", with: version)
      if route.operation == "explain" { path += "?permission=wrapKey&key=\(name)" }
      // `sign` and the wrapping operations share a schema, not their algorithms.
      let body: JSON? = route.operation.hasPrefix("sign") ? ["alg": "ES256", "value": bytes] : body(route.request)
      return AskedRoute(route: route, path: path, body: body)
    }
  }
}

extension ServerBench {
  /// Asks for a route of the administration, at the domain itself.
  func administer(_ asked: AskedRoute, as token: String) async -> Answer {
    await administer(asked.route.method, asked.path, asked.body, as: token)
  }

  /// Asks the domain itself.
  func administer(
    _ method: HTTPRequest.Method, _ path: String, _ body: JSON? = nil, as token: String
  ) async -> Answer {
    let path = path.hasPrefix("/") ? path : "/keycustody/v1/\(path)"
    return await send(method, path, body, as: token, host: Self.domain, version: nil)
  }

  /// A principal that administers its tenant, and its token.
  func administrator(_ name: String = "contoso/chief") async throws -> String {
    let id = try PrincipalID(name)
    if try await custody.identities.lookup(id) == nil {
      try await custody.identities.create(id, kind: .servicePrincipal)
    }
    try await custody.setAdministrator(true, id)
    return try await Self.token(custody, name)
  }

  func send(_ asked: AskedRoute, as token: String? = nil, vault: String = "kv1") async -> Answer {
    await send(asked.route.method, asked.path, asked.body, as: token, vault: vault)
  }
}
