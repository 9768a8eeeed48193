import HTTPTypes
import KeyCustody
import KeyCustodyServices
import KeyCustodyVault

/// Tokens of the machine's own identity, for programs on it, in the forms of App Service and of IMDS.
struct ManagedIdentityRoutes: Sendable {
  let custody: KeyCustody
  let settings: ServerSettings
  let attempts: AttemptLog

  /// The path of the App Service form.
  static let appServicePath = "/msi/token"

  /// Answers a request that came over plain HTTP on this machine.
  ///
  /// - Parameter isOwnPeer: whether the peer runs under this server's own user or as root.
  func respond(_ request: WireRequest, isOwnPeer: () async -> Bool) async -> WireResponse {
    guard let identity = settings.managedIdentity else {
      return failure(.notFound, "There is no managed identity here.")
    }
    guard request.method == .get else { return failure(.methodNotAllowed, "Ask by GET.") }
    // Set by browsers and proxies that were talked into a request: IMDS refuses them too.
    guard request.headers[text: "x-forwarded-for"] == nil, request.headers[.origin] == nil else {
      return failure(.badRequest, "A request that was forwarded is refused.")
    }
    // A page whose own name was made to lead here sends no 'Origin': its name tells it, and what browsers add.
    guard Self.isAddress(request.host), request.headers[text: "sec-fetch-site"] == nil else {
      return failure(.badRequest, "Ask by this machine's address, as in http://127.0.0.1.")
    }
    switch request.segments.map({ $0.lowercased() }) {
    case ["msi", "token"]:
      guard
        constantTimeEqual(Array((request.headers[text: "x-identity-header"] ?? "").utf8), Array(identity.header.utf8))
      else {
        await attempts.refused(identity.principal.description, "identityHeader", at: "machine", request)
        return failure(.forbidden, "X-IDENTITY-HEADER is missing or wrong.")
      }
      return await token(request, identity, isIMDS: false)
    case ["metadata", "identity", "oauth2", "token"]:
      guard request.headers[text: "metadata"]?.lowercased() == "true" else {
        return failure(.badRequest, "The header 'Metadata: true' is missing.")
      }
      var isOwn = identity.servesIMDS
      if isOwn { isOwn = await isOwnPeer() }
      guard isOwn else {
        await attempts.refused(identity.principal.description, "imds", at: "machine", request)
        return failure(.forbidden, "Only programs of this server's own user on this machine are given its tokens.")
      }
      return await token(request, identity, isIMDS: true)
    default: return failure(.notFound, "There is nothing at this address.")
    }
  }

  /// Whether a host is an address in numbers, or the one name that no stranger's server answers for.
  private static func isAddress(_ host: String) -> Bool {
    let bare = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
    return host == "localhost" || (try? AddressRange(bare)) != nil
  }

  private func token(
    _ request: WireRequest, _ identity: ServerSettings.ManagedIdentity, isIMDS: Bool
  ) async -> WireResponse {
    guard let resource = request.query["resource"], let audience = TokenRoutes.resource(resource) else {
      return failure(.badRequest, "'resource' is missing, or is no address.")
    }
    for name in ["client_id", "object_id", "mi_res_id", "msi_res_id", "principal_id"] {
      guard let wanted = request.query[name], !wanted.isEmpty else { continue }
      guard wanted.lowercased() == identity.principal.subject.folded else {
        return failure(.badRequest, "There is no such identity on this machine.")
      }
    }
    let method = isIMDS ? "imds" : "identityHeader"
    let token: String
    do throws(KeyCustodyError) {
      token = try await custody.identities.issueToken(
        for: identity.principal, audience: audience, lifetime: settings.tokenLifetime)
      try await attempts.granted(identity.principal, method, for: audience, request)
    } catch {
      if error.code == .disabled || error.code == .notFound {
        await attempts.refused(
          identity.principal.description, method, at: "machine", request,
          error: "\(error.code.rawValue)/\(error.reason.rawValue)")
      }
      let isOutage = [.unavailable, .busy, .timeout, .fault].contains(error.code)
      return failure(isOutage ? .serviceUnavailable : .badRequest, error.message)
    }
    let now = custody.environment.time.now().seconds
    let lifetime = settings.tokenLifetime.components.seconds
    var response = WireResponse(
      .ok,
      JSON(members: [
        ("access_token", .string(token)), ("client_id", .string(identity.principal.subject.spelling)),
        ("expires_in", isIMDS ? .string("\(lifetime - 1)") : nil), ("expires_on", .string("\(now + lifetime)")),
        ("not_before", isIMDS ? .string("\(now)") : nil), ("resource", .string(resource)), ("token_type", "Bearer"),
      ]))
    response.headers[.cacheControl] = "no-store"
    return response
  }

  private func failure(_ status: HTTPResponse.Status, _ message: String) -> WireResponse {
    WireResponse(
      status,
      [
        "statusCode": .integer(Int64(status.code)), "message": .string(message),
        "error": .string(status.code == 400 ? "invalid_request" : "denied"), "error_description": .string(message),
      ])
  }
}
