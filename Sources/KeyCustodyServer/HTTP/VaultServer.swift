import HTTPTypes
public import KeyCustody
import KeyCustodyCrypto
public import KeyCustodyServices
import KeyCustodyVault
import Logging
import Synchronization

/// The vaults of a deployment in the Key Vault wire form, with the token endpoints that their clients need.
///
/// Every vault is at `https://NAME.DOMAIN`, the token endpoint at `https://login.DOMAIN`, where DOMAIN (and, where it
/// is not 443, the port) is the configuration's `vaults.domain`. It knows no transport: `VaultApplication` serves it,
/// and `VaultMiddleware` mounts it in another application.
public final class VaultServer: Sendable {
  let custody: KeyCustody
  /// How the vault is served.
  public let settings: ServerSettings
  private let tokens: TokenRoutes
  private let outsiders: [any IdentityProvider]
  private let domainHost: String
  private let domainSuffix: String
  private let audiences: Set<String>
  private let inFlight = Atomic(0)
  private let numbers = Atomic<UInt64>(0)
  private let boot: String
  let readiness: Readiness
  private let importer: BlockingWorker
  /// Reads small files of the system.
  let files: BlockingWorker
  private let watch: Watch
  let attempts: AttemptLog

  /// A server of that deployment's vaults.
  ///
  /// - Parameters:
  ///   - federation: verifies the assertions of programs that have no secret here (workload identity).
  /// - Throws: `unavailable` when there is no randomness.
  public init(
    _ custody: KeyCustody, settings: ServerSettings, federation: (any FederatedTokenVerifier)? = nil
  ) throws(KeyCustodyError) {
    self.custody = custody
    self.settings = settings
    // In turn, by name: a token that one refuses may be another's.
    outsiders = custody.identityProviders.sorted { $0.key < $1.key }.map(\.value)
    attempts = AttemptLog(custody)
    tokens = TokenRoutes(custody: custody, settings: settings, federation: federation, attempts: attempts)
    domainHost = WireRequest.host(custody.vaults.domain)
    domainSuffix = ".\(domainHost)"
    // With and without the port: some clients leave it out.
    audiences = [custody.audience, "https://\(domainHost)"]
    boot = try custody.environment.random.bytes(8).hexadecimal
    readiness = Readiness(custody)
    importer = try BlockingWorker()
    files = try BlockingWorker()
    watch = Watch(time: custody.environment.time)
  }

  /// How many requests are being worked on.
  var requestsInFlight: Int { inFlight.load(ordering: .relaxed) }

  /// Whether a request is for a host of this server: a vault's, or the token endpoint's.
  public func serves(host: String) -> Bool {
    isOurs(WireRequest.host(host))
  }

  private func isOurs(_ host: String) -> Bool { host == domainHost || host.hasSuffix(domainSuffix) }

  /// What is read of a request's body.
  enum Room: Sendable {
    /// At most so many bytes.
    case bytes(Int)
    /// Nothing, since it can't be answered but so.
    case answer(WireResponse)
  }

  /// How much of a request's body counts: nothing of one that shows no token, or a long one whose token is not good:
  /// these are answered without; little of one that asks for a token, so that strangers fill no memory.
  ///
  /// - Parameter executor: where it is worked on; `nil` for anywhere.
  func room(for head: HTTPRequest, on executor: (any TaskExecutor)? = nil) async -> Room {
    guard let header = head.headerFields[.authorization] else {
      return .bytes(head.path?.lowercased().contains("/oauth2/") ?? false ? Self.strangersBody : 0)
    }
    let length = head.headerFields[.contentLength].flatMap { Int($0) }
    if let length, length <= Self.strangersBody { return .bytes(Self.strangersBody) }
    let token = header.split(separator: " ", maxSplits: 1).last.map(String.init) ?? ""
    let path = Substring((head.path ?? "").utf8.prefix { $0 != UInt8(ascii: "?") }).lowercased()
    let most = path.hasSuffix("/restore") ? settings.largestBackup : settings.largestBody
    do throws(KeyCustodyError) {
      let deadline = custody.environment.time.running() + settings.deadline
      return try await watch.answer(by: deadline, on: executor) { () -> Room in
        // Looked up again when all has arrived: that may take as long as it takes to be switched off.
        do throws(KeyCustodyError) { return .bytes(try await self.principal(token) == nil ? 0 : most) } catch {
          return .answer(self.complete(WireError(error).response, head, self.nextID()))
        }
      }
    } catch { return .answer(complete(WireError(error).response, head, nextID())) }
  }

  static let strangersBody = 16 << 10

  /// Answers a request.
  ///
  /// - Parameter executor: where it is worked on; `nil` for anywhere.
  func respond(
    to head: HTTPRequest, body: [UInt8], from address: String?, on executor: (any TaskExecutor)? = nil
  ) async -> WireResponse {
    let id = nextID()
    let deadline = custody.environment.time.running() + allowance(head)
    do throws(KeyCustodyError) {
      let response = try await watch.answer(by: deadline, on: executor) {
        await self.answer(to: head, body: body, from: address, id, by: deadline)
      }
      return complete(response, head, id)
    } catch { return complete(WireError(error).response, head, id) }
  }

  private func nextID() -> String { "\(boot)-\(numbers.add(1, ordering: .relaxed).newValue)" }

  /// An answer with what every answer has.
  private func complete(_ response: WireResponse, _ head: HTTPRequest, _ id: String) -> WireResponse {
    var response = response
    if let name = Self.requestID { response.headers[name] = id }
    if let name = Self.clientRequestID, let given = head.headerFields[name], given.utf8.count <= 128,
      given.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
    {
      response.headers[name] = given
    }
    if response.headers[.cacheControl] == nil { response.headers[.cacheControl] = "no-cache" }
    response.headers[.xContentTypeOptions] = "nosniff"
    response.headers[.strictTransportSecurity] = "max-age=31536000;includeSubDomains"
    custody.environment.logger.debug(
      "request",
      metadata: ["id": "\(id)", "method": "\(head.method)", "status": "\(response.status.code)"])
    return response
  }

  private func answer(
    to head: HTTPRequest, body: [UInt8], from address: String?, _ id: String, by deadline: Duration
  ) async -> WireResponse {
    do throws(WireError) {
      var request: WireRequest
      do throws(KeyCustodyError) {
        request = try WireRequest(head, body: body, clientAddress: address, id: id)
      } catch { throw WireError(error) }
      request.deadline = deadline
      // Whoever is too busy for more is alive.
      if let alive = Readiness.live(request) { return alive }
      let whole = request
      return try await admitted { () async throws(WireError) in try await route(whole) }
    } catch { return error.response }
  }

  private static let requestID = HTTPField.Name("x-ms-request-id")
  private static let clientRequestID = HTTPField.Name("x-ms-client-request-id")
  private static let keyMakers = ["/create", "/rotate", "/restore"]

  /// How long a request may take: longer where keys are made, which takes seconds by itself.
  private func allowance(_ head: HTTPRequest) -> Duration {
    guard head.method == .put || head.method == .post else { return settings.deadline }
    let path = Substring((head.path ?? "").utf8.prefix { $0 != UInt8(ascii: "?") }).lowercased()
    let makesKeys =
      head.method == .put ? path.hasPrefix("/keys/") : Self.keyMakers.contains { path.hasSuffix($0) }
    return settings.deadline * (makesKeys ? 6 : 1)
  }

  /// Lets a request in while there is room.
  private func admitted(
    _ body: () async throws(WireError) -> WireResponse
  ) async throws(WireError) -> WireResponse {
    defer { inFlight.subtract(1, ordering: .relaxed) }
    guard inFlight.add(1, ordering: .relaxed).newValue <= settings.mostRequests else {
      var error = WireError(.tooManyRequests, "Throttled", "Too many requests at once; nothing was done.")
      error.retryAfter = 1
      throw error
    }
    return try await body()
  }

  private func route(_ request: WireRequest) async throws(WireError) -> WireResponse {
    if let health = await readiness.respond(request) { return health }
    guard isOurs(request.host) else {
      throw WireError(.misdirectedRequest, "BadParameter", "No vault of this server has that host.")
    }
    if let description = OpenAPIDocument.respond(request, domain: custody.vaults.domain) { return description }
    if let response = await tokens.respond(request) { return response }
    if request.host == domainHost, let response = try await administered(request) { return response }
    let label = request.host.dropLast(domainHost.utf8.count + 1)
    guard !label.isEmpty, label != "login", let vault = try? VaultName(String(label)) else { throw VaultRoutes.unknown }
    return try await respond(request, in: vault)
  }

  private func respond(_ request: WireRequest, in vault: VaultName) async throws(WireError) -> WireResponse {
    let definition: VaultDefinition?
    do throws(KeyCustodyError) { definition = try await custody.vaults.definition(vault) } catch {
      throw WireError(error)
    }
    // Of a vault that is not there: as of one of another tenant than the caller's.
    let tenant = definition?.tenant ?? settings.tenant
    let caller = try await authenticate(request, tenant)
    guard definition != nil, caller.id.tenant == tenant else {
      let isOther = caller.id.tenant != tenant
      await attempts.refused(
        caller.id.description, caller.method.rawValue, at: "https://\(request.host)", request, .access,
        rule: isOther ? "other-tenant" : "-", error: isOther ? "denied/access-denied" : "notFound/vault-unknown")
      throw refused(tenant, Self.wrongIssuer)
    }
    let context = try context(request, caller)
    if let answer = try await OwnRoutes(server: self, vault: vault, caller: caller).respond(request, context) {
      return answer
    }
    let version = try WireVersion.check(request.query["api-version"])
    return try await VaultRoutes(
      custody: custody, vault: vault, caller: caller, context: context, request: request,
      version: version, importer: importer, largestBackup: settings.largestBackup
    ).respond()
  }

  // MARK: Authentication

  private static let wrongIssuer = "AKV10032: Invalid issuer. The token is not of the vault's tenant."

  func authenticate(_ request: WireRequest, _ tenant: TenantID) async throws(WireError) -> Principal {
    let header: String?
    do throws(KeyCustodyError) { header = try request.header(.authorization) } catch { throw WireError(error) }
    guard let header else { throw refused(tenant, "AKV10000: Request is missing a Bearer or PoP token.") }
    let parts = header.split(separator: " ", maxSplits: 1)
    guard parts.count == 2, parts[0].lowercased() == "bearer" else {
      throw refused(tenant, "AKV10000: Request is missing a Bearer or PoP token.")
    }
    let token = String(parts[1])
    do throws(KeyCustodyError) {
      if let caller = try await principal(token) { return caller }
    } catch { throw WireError(error) }
    await attempts.refused("unknown", "token", at: "https://\(request.host)", request)
    throw refused(
      tenant, TokenDiagnosis.message(token, audiences: audiences, issuer: custody.identities.issuer(of: tenant)))
  }

  /// Whose token it is; `nil` for one that nobody takes.
  private func principal(_ token: String) async throws(KeyCustodyError) -> Principal? {
    do throws(KeyCustodyError) { return try await custody.identities.authenticate(token: token, for: audiences) } catch
    {
      guard error.code == .credentialRejected else { throw error }
    }
    for outsider in outsiders {
      do throws(KeyCustodyError) {
        let caller = try await outsider.authenticate(.token(token), audience: custody.audience)
        // Whoever chooses their name out there must not come out as one of our own.
        return try await custody.isOwn(caller.id) ? nil : caller
      } catch {
        guard error.code == .credentialRejected else { throw error }
      }
    }
    return nil
  }

  /// 401 with the challenge that tells a client whom to ask for a token.
  private func refused(_ tenant: TenantID, _ message: String) -> WireError {
    var error = WireError(.unauthorized, "Unauthorized", message)
    error.challenge =
      "Bearer authorization=\"\(tokens.authority)/\(tenant.folded)\", resource=\"\(custody.audience)\""
    return error
  }

  func context(_ request: WireRequest, _ caller: Principal) throws(WireError) -> CallContext {
    // A little before: what a backend says of itself tells more than that it is late.
    var context = CallContext(
      purpose: .vault, principal: caller.id, deadline: request.deadline - settings.deadline / 10,
      requestID: request.id, clientAddress: request.clientAddress, clientRequestID: try repeatable(request))
    context.repeatsOnlyWhatHolds = true
    // Clients repeat for minutes at most, and some programs send one name for all that they ask.
    context.repeatsWithin = .seconds(600)
    return context
  }

  /// What a change is known by when it is asked for again: the client's own name for it with all that it asks.
  ///
  /// Only what makes a version is remembered, since nobody can see whether a lost answer made one; and only names of the
  /// form of UUIDs, since some programs send one for everything.
  private func repeatable(_ request: WireRequest) throws(WireError) -> String? {
    guard let field = Self.clientRequestID, let name = request.headers[field] else { return nil }
    let last = request.segments.last?.lowercased() ?? ""
    let makesVersions =
      request.method == .put && last != "rotationpolicy"
      || request.method == .post && ["create", "rotate", "restore"].contains(last)
    guard makesVersions, name.utf8.count == 36,
      name.utf8.allSatisfy({ $0 == UInt8(ascii: "-") || $0.isASCIIAlphanumeric })
    else { return nil }
    do throws(KeyCustodyError) {
      let head = "\(name.lowercased())\n\(request.method)\n\(request.segments.joined(separator: "/"))\n"
      return try Hashing.digest(.sha256, Array(head.utf8), request.body).hexadecimal
    } catch { throw WireError(error) }
  }
}

/// The versions of the wire that are spoken.
enum WireVersion {
  static let known = [
    "2016-10-01", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6-preview.2", "7.6", "2025-06-01-preview", "2025-07-01",
    "2026-01-01-preview", "2026-04-01",
  ]

  static func check(_ version: String?) throws(WireError) -> String {
    guard let version, !version.isEmpty else {
      throw .badParameter("api-version must be specified; there is no default. Use \(known.last ?? "").")
    }
    guard known.contains(version) else {
      let shown = version.unicodeScalars.prefix(32).map { $0.isASCII ? Character($0) : "?" }
      throw .badParameter(
        "The specified version (\(String(shown))) is not recognized. "
          + "Consider using the latest supported version (\(known.last ?? "")).")
    }
    return version
  }
}

/// What is wrong with a token that was refused, by what it says of itself: that tells nobody anything new.
enum TokenDiagnosis {
  static func message(_ token: String, audiences: Set<String>, issuer: String) -> String {
    let parts = token.split(separator: ".", omittingEmptySubsequences: false)
    guard token.utf8.count <= 8192, parts.count == 3, let bytes = [UInt8](base64URL: parts[1]),
      let claims = try? JSON(bytes)
    else { return "AKV10000: The token is not a JWT." }
    if let found = claims["iss"]?.string, found != issuer {
      return "AKV10032: Invalid issuer. Expected one of \(issuer), found \(shown(found))."
    }
    if let found = claims["aud"]?.string, !audiences.contains(found) {
      return
        "AKV10022: Invalid audience. Expected \(audiences.sorted().joined(separator: " or ")), found: \(shown(found))."
    }
    return "AKV10000: The token is expired, not valid yet, or was not accepted."
  }

  private static func shown(_ text: String) -> String {
    String(
      text.unicodeScalars.prefix(120).map { $0.isASCII && $0.value >= 0x20 && $0.value < 0x7f ? Character($0) : "?" })
  }
}
