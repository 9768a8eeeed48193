import HTTPTypes
import KeyCustody
import KeyCustodyCrypto
import KeyCustodyServices
import KeyCustodyVault
import Logging

/// The token endpoint, OpenID discovery and the keys that verify tokens (RFC 6749, OpenID Connect Discovery 1.0).
struct TokenRoutes: Sendable {
  let custody: KeyCustody
  let settings: ServerSettings
  let federation: (any FederatedTokenVerifier)?
  let attempts: AttemptLog

  /// Where tokens come from, without a tenant.
  var authority: String { "https://login.\(custody.vaults.domain)" }

  /// Answers `/TENANT/…`; `nil` for any other address.
  func respond(_ request: WireRequest) async -> WireResponse? {
    // Nearly every request is a vault's, and ends in another name.
    guard let first = request.segments.first, request.segments.count >= 2,
      let last = request.segments.last?.lowercased(), Self.lastNames.contains(last), let tenant = try? TenantID(first)
    else { return nil }
    let path = request.segments.dropFirst().joined(separator: "/").lowercased()
    switch (request.method, path) {
    case (.get, "v2.0/.well-known/openid-configuration"), (.get, ".well-known/openid-configuration"):
      return discovery(tenant)
    case (.get, "discovery/v2.0/keys"), (.get, "discovery/keys"): return keys()
    case (.post, "oauth2/v2.0/token"), (.post, "oauth2/token"): return await token(tenant, request)
    case (_, "oauth2/v2.0/token"), (_, "oauth2/token"):
      return WireResponse(.methodNotAllowed, headers: [.allow: "POST"])
    default: return nil
    }
  }

  private static let lastNames = ["token", "keys", "openid-configuration"]

  private func discovery(_ tenant: TenantID) -> WireResponse {
    let base = "\(authority)/\(tenant.folded)"
    return WireResponse(
      .ok,
      JSON(members: [
        ("issuer", .string(custody.identities.issuer(of: tenant))),
        ("authorization_endpoint", .string("\(base)/oauth2/v2.0/authorize")),
        ("token_endpoint", .string("\(base)/oauth2/v2.0/token")),
        ("jwks_uri", .string("\(base)/discovery/v2.0/keys")),
        ("token_endpoint_auth_methods_supported", ["client_secret_post", "private_key_jwt"]),
        ("grant_types_supported", ["client_credentials"]),
        ("response_types_supported", ["token"]), ("subject_types_supported", ["public"]),
        (
          "id_token_signing_alg_values_supported",
          JSON(texts: [custody.identities.verificationKey.algorithm.rawValue])
        ),
      ]))
  }

  private func keys() -> WireResponse {
    let key = custody.identities.verificationKey
    var members: [(String, JSON?)] = [
      ("kid", .string(key.version.description)), ("use", "sig"), ("alg", .string(key.algorithm.rawValue)),
      ("kty", key.algorithm == .es256 ? "EC" : "RSA"),
    ]
    for member in key.publicKey.jsonWebKeyMembers { members.append((member.name, .string(member.value))) }
    var response = WireResponse(.ok, ["keys": .array([JSON(members: members)])])
    response.headers[.cacheControl] = "max-age=3600"
    return response
  }

  // MARK: Tokens

  private func token(_ tenant: TenantID, _ request: WireRequest) async -> WireResponse {
    do throws(TokenError) {
      let form = try Form(request)
      guard let kind = form["grant_type"] else { throw .invalidRequest("'grant_type' is missing.") }
      guard kind == "client_credentials" else { throw .unsupportedGrant }
      let audience = try audience(form)
      let id = try principal(form["client_id"], tenant)
      let method = form["client_assertion"] == nil ? "clientSecret" : "assertion"
      do throws(TokenError) { try await authenticate(id, form) } catch {
        if error.code == "invalid_client" { await attempts.refused(id.description, method, at: authority, request) }
        throw error
      }
      let response = try await grant(id, audience)
      do throws(KeyCustodyError) { try await attempts.granted(id, method, for: audience, request) } catch {
        throw outage(error)
      }
      return response
    } catch { return error.response }
  }

  /// A form, each of whose fields comes once.
  private struct Form {
    private let fields: [String: String]

    init(_ request: WireRequest) throws(TokenError) {
      let type = request.headers[.contentType]?.lowercased() ?? ""
      guard type.hasPrefix("application/x-www-form-urlencoded"),
        let text = String(validating: request.body, as: UTF8.self), let fields = try? WireRequest.pairs(text[...])
      else {
        throw .invalidRequest("The body is not a form (application/x-www-form-urlencoded) with every field once.")
      }
      self.fields = fields
    }

    subscript(_ name: String) -> String? { fields[name].flatMap { $0.isEmpty ? nil : $0 } }
  }

  /// What the token is for: `scope=RESOURCE/.default`, or `resource=RESOURCE`.
  private func audience(_ form: Form) throws(TokenError) -> String {
    let text: String
    switch (form["scope"], form["resource"]) {
    case (let scope?, nil):
      // Some clients ask for OpenID scopes beside the one that counts.
      let scopes = scope.split(separator: " ").filter { $0.hasSuffix("/.default") }
      guard scopes.count == 1, let only = scopes.first else { throw .invalidScope }
      text = String(only.dropLast("/.default".count))
    case (nil, let resource?): text = resource
    default: throw .invalidRequest("The form has either 'scope' (RESOURCE/.default) or 'resource'.")
    }
    guard let audience = Self.resource(text) else { throw .invalidScope }
    return audience
  }

  /// A resource as the `aud` of tokens: an https address in lower case without a slash at its end, or a name.
  static func resource(_ text: String) -> String? {
    var text = text.lowercased()
    while text.hasSuffix("/") { text.removeLast() }
    let fits = text.utf8.allSatisfy { $0.isASCIIAlphanumeric || "-._~:/".utf8.contains($0) }
    return fits && (1...256).contains(text.utf8.count) ? text : nil
  }

  /// The client: its name within the tenant, or with the tenant in front.
  private func principal(_ name: String?, _ tenant: TenantID) throws(TokenError) -> PrincipalID {
    guard let name else { throw .invalidRequest("'client_id' is missing.") }
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    guard let subject = try? SubjectID(String(parts.last ?? "")), parts.count <= 2,
      parts.count == 1 || parts[0].lowercased() == tenant.folded
    else { throw .invalidClient }
    return PrincipalID(tenant: tenant, subject: subject)
  }

  private func authenticate(_ id: PrincipalID, _ form: Form) async throws(TokenError) {
    switch (form["client_secret"], form["client_assertion"]) {
    case (let secret?, nil):
      do throws(KeyCustodyError) {
        _ = try await custody.identities.authenticate(
          .clientSecret(id, SecretBytes(copying: Array(secret.utf8))), audience: custody.audience)
      } catch { throw outage(error) }
    case (nil, let assertion?):
      guard form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" else {
        throw .invalidRequest("'client_assertion_type' is not that of a JWT (RFC 7523).")
      }
      guard let federation else { throw .invalidClient }
      do throws(KeyCustodyError) {
        try await custody.identities.authenticate(id, assertion: assertion, by: federation)
      } catch { throw outage(error) }
    default: throw .invalidRequest("The form has either 'client_secret' or 'client_assertion'.")
    }
  }

  /// What went wrong is for whoever runs the server: it tells what lies behind it.
  private func outage(_ error: KeyCustodyError) -> TokenError {
    let answer = TokenError(error)
    if answer.status == .serviceUnavailable {
      custody.environment.logger.warning("a token could not be given", metadata: ["error": "\(error)"])
    }
    return answer
  }

  private func grant(_ id: PrincipalID, _ audience: String) async throws(TokenError) -> WireResponse {
    let token: String
    do throws(KeyCustodyError) {
      token = try await custody.identities.issueToken(for: id, audience: audience, lifetime: settings.tokenLifetime)
    } catch { throw outage(error) }
    // A second less than it lives: clients count from when they asked.
    let seconds = JSON.integer(settings.tokenLifetime.components.seconds - 1)
    var response = WireResponse(
      .ok,
      [
        "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": .string(token),
      ])
    response.headers[.cacheControl] = "no-store"
    response.headers[text: "pragma"] = "no-cache"
    return response
  }
}

/// An error of the token endpoint (RFC 6749, section 5.2).
struct TokenError: Error {
  let status: HTTPResponse.Status
  let code: String
  let description: String
  var retryAfter: Int?

  static let unsupportedGrant = TokenError(
    status: .badRequest, code: "unsupported_grant_type",
    description: "AADSTS70003: The grant type is not client_credentials, the only one offered.")
  static let invalidScope = TokenError(
    status: .badRequest, code: "invalid_scope",
    description: "AADSTS70011: The scope is not valid; write RESOURCE/.default, once.")
  /// The same for an unknown client, a wrong secret, and a client that is switched off.
  static let invalidClient = TokenError(
    status: .unauthorized, code: "invalid_client", description: "AADSTS7000215: Invalid client secret provided.")
  static func invalidRequest(_ what: String) -> TokenError {
    TokenError(status: .badRequest, code: "invalid_request", description: "AADSTS900144: \(what)")
  }

  init(status: HTTPResponse.Status, code: String, description: String) {
    self.status = status
    self.code = code
    self.description = description
  }

  init(_ error: KeyCustodyError) {
    switch error.code {
    case .unavailable, .busy, .timeout, .fault:
      self.init(
        status: .serviceUnavailable, code: "temporarily_unavailable",
        description: "AADSTS90033: The service, or an issuer that the client's credential is of, does not answer.")
      retryAfter = 1
    default: self = .invalidClient
    }
  }

  var response: WireResponse {
    var response = WireResponse(status, ["error": .string(code), "error_description": .string(description)])
    response.headers[.cacheControl] = "no-store"
    if let retryAfter { response.headers[.retryAfter] = "\(retryAfter)" }
    return response
  }
}
