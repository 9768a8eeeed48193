import HTTPTypes
import KeyCustody
import KeyCustodyMemory
import KeyCustodyPKCS11
import KeyCustodyServices
import KeyCustodyTestSupport
import KeyCustodyTesting
import KeyCustodyVault
import Logging
import Testing

@testable import KeyCustodyServer

/// A server of a deployment in memory: three vaults of two tenants, on two key providers.
struct ServerBench {
  /// What beneath `kv1` and `fab` can be made to hang or fail.
  let keyFaults = FaultSwitch([.hung, .outage])
  /// What all that is remembered can be made to hang by.
  let storeFaults = FaultSwitch([.hung])
  let clock = ManualClock()
  let audit = RecordingAuditSink()
  let log = LogRecorder()
  let custody: KeyCustody
  let server: VaultServer
  /// May do everything in `kv1` and `kv2`.
  let owner: String
  /// May do nothing anywhere, though of the same tenant.
  let nobody: String
  /// May do everything in `fab`, of another tenant.
  let stranger: String

  /// The first provider of a process tries the library out: once, before many tests begin at the same time.
  private static let tried = Task { await (try? MemoryKeyProvider())?.close() }
  static let domain = "vault.test:8443"
  static let audience = "https://vault.test:8443"
  static let identityHeader = "a-header-only-programs-here-know"

  /// - Parameter hsm: the settings of an HSM provider of `kv1`; none unless given.
  init(
    hsm: ConfigurationValue? = nil, purgeProtection: Bool = false, federation: (any FederatedTokenVerifier)? = nil,
    time: (any TimeSource)? = nil, _ adjust: (inout ServerSettings) throws -> Void = { _ in }
  ) async throws {
    await Self.tried.value
    let memory = MemoryPlugin()
    let environment = RuntimeEnvironment(time: time ?? clock, logger: log.logger)
    var providers: [String: ConfigurationValue] = [
      "keys": ["plugin": "faulty", "name": "keys"], "other": ["plugin": "memory", "name": "other"],
      "own": ["plugin": "memory", "name": "own"],
    ]
    if let hsm { providers["hsm"] = hsm }
    let configuration = KeyCustodyConfiguration([
      "keyProviders": .section(providers), "policyStores": ["state": ["plugin": "faulty"]],
      "service": ["keyProvider": "own", "policyStore": "state", "region": "north"],
      "vaults": ["domain": .string(Self.domain)],
    ])
    custody = try await KeyCustody.open(
      configuration, plugins: [memory.plugin, Self.faulty(memory.plugin, keyFaults, storeFaults), PKCS11Plugin.plugin],
      audit: audit, environment: environment)
    var settings = ServerSettings(tenant: try TenantID("contoso"))
    settings.managedIdentity = .init(principal: try PrincipalID("contoso/machine"), header: Self.identityHeader)
    try adjust(&settings)
    server = try VaultServer(custody, settings: settings, federation: federation)
    for (vault, tenant, provider) in [
      ("kv1", "contoso", "keys"), ("kv2", "contoso", "other"), ("fab", "fabrikam", "keys"),
    ] {
      try await custody.vaults.create(
        VaultDefinition(
          name: VaultName(vault), tenant: TenantID(tenant), region: Region("north"), keyProvider: provider,
          softDeleteDays: 7, purgeProtection: purgeProtection,
          hsmKeyProvider: vault == "kv1" && hsm != nil ? "hsm" : nil))
    }
    for name in ["contoso/owner", "contoso/nobody", "fabrikam/owner", "contoso/machine"] {
      try await custody.identities.create(try PrincipalID(name), kind: .servicePrincipal)
    }
    owner = try await Self.token(custody, "contoso/owner")
    nobody = try await Self.token(custody, "contoso/nobody")
    stranger = try await Self.token(custody, "fabrikam/owner")
    for (vault, name) in [("kv1", "contoso/owner"), ("kv2", "contoso/owner"), ("fab", "fabrikam/owner")] {
      try await grant(name, in: vault, Set(KeyPermission.allCases), Set(SecretPermission.allCases))
    }
  }

  private static func faulty(_ inner: Plugin, _ faults: FaultSwitch, _ storeFaults: FaultSwitch) -> Plugin {
    Plugin(
      name: "faulty",
      keyProvider: { (section, environment) throws(KeyCustodyError) in
        let opening = try inner.keyProvider?(section, environment)
        return { () async throws(KeyCustodyError) in
          guard let provider = try await opening?() else { throw KeyCustodyError(.fault, .internalFault, "none") }
          return FaultingKeyProvider(provider, plan: FaultPlan(faults))
        }
      },
      policyStore: { (section, environment) throws(KeyCustodyError) in
        let opening = try inner.policyStore?(section, environment)
        return { () async throws(KeyCustodyError) in
          guard let store = try await opening?() else { throw KeyCustodyError(.fault, .internalFault, "none") }
          return FaultingPolicyStore(store, plan: FaultPlan(storeFaults))
        }
      })
  }

  static func token(
    _ custody: KeyCustody, _ name: String, audience: String = audience, lifetime: Duration = .seconds(3600)
  ) async throws -> String {
    try await custody.identities.issueToken(for: PrincipalID(name), audience: audience, lifetime: lifetime)
  }

  func grant(
    _ name: String, in vault: String, _ keys: Set<KeyPermission>, _ secrets: Set<SecretPermission> = []
  ) async throws {
    let principal = try PrincipalID(name)
    try await custody.vaults.setRule(
      AccessRule(name: "allow-\(principal.subject)", principal: principal, keys: keys, secrets: secrets),
      in: VaultName(vault))
  }

  // MARK: Requests

  /// Waits until so many requests are being worked on.
  func requests(_ count: Int) async {
    while server.requestsInFlight < count { await Task.yield() }
  }

  /// Asks for something; what comes back must fit the description of the route.
  ///
  /// - Parameters:
  ///   - token: whose; the owner's unless given. An empty one sends no header.
  ///   - version: the `api-version`, added to addresses of a vault that have no query.
  func send(
    _ method: HTTPRequest.Method, _ path: String, _ body: JSON? = nil, as token: String? = nil, vault: String = "kv1",
    host: String? = nil, version: String? = "7.4", headers: [(String, String)] = [], bytes: [UInt8]? = nil,
    from address: String? = "192.0.2.7", isChecked: Bool = true
  ) async -> Answer {
    var path = path
    if let version, !path.contains("?") { path += "?api-version=\(version)" }
    var fields = HTTPFields()
    let token = token ?? owner
    if !token.isEmpty { fields[.authorization] = "Bearer \(token)" }
    for (name, value) in headers {
      guard let name = HTTPField.Name(name) else { continue }
      fields.append(HTTPField(name: name, value: value))
    }
    let head = HTTPRequest(
      method: method, scheme: "https", authority: host ?? "\(vault).\(Self.domain)", path: path, headerFields: fields)
    let response = await server.respond(to: head, body: bytes ?? body?.bytes ?? [], from: address)
    let answer = Answer(response)
    if isChecked {
      for problem in SchemaCheck.problems(of: answer, to: method, path) {
        Issue.record("\(method) \(path): \(problem): \(answer.text)")
      }
    }
    return answer
  }

  /// Makes a key, and answers the name of its version.
  @discardableResult
  func makeKey(
    _ name: String, _ body: JSON = ["kty": "oct"], vault: String = "kv1", as token: String? = nil
  ) async throws -> String {
    let made = await send(.post, "/keys/\(name)/create", body, as: token, vault: vault)
    #expect(made.status == 200, "\(made.text)")
    return String(try #require(made["key", "kid"]?.string).suffix(32))
  }

  @discardableResult
  func makeSecret(
    _ name: String, _ value: String = "hello", vault: String = "kv1", as token: String? = nil
  ) async throws -> String {
    let made = await send(.put, "/secrets/\(name)", ["value": .string(value)], as: token, vault: vault)
    #expect(made.status == 200, "\(made.text)")
    return String(try #require(made["id"]?.string).suffix(32))
  }

  /// Wraps 32 bytes, and answers what came of it.
  func wrap(_ key: String, vault: String = "kv1", as token: String? = nil) async throws -> String {
    let wrapped = await send(.post, "/keys/\(key)/wrapkey", Self.wrapBody, as: token, vault: vault)
    #expect(wrapped.status == 200, "\(wrapped.text)")
    return try #require(wrapped["value"]?.string)
  }

  static let wrapBody: JSON = ["alg": "A256KW", "value": .string([UInt8](repeating: 0x5a, count: 32).base64URL)]

  /// Asks the token endpoint.
  func form(
    _ fields: [(String, String)], path: String = "/contoso/oauth2/v2.0/token",
    type: String = "application/x-www-form-urlencoded"
  ) async -> Answer {
    let text = fields.map { "\($0.0)=\(Self.escaped($0.1))" }.joined(separator: "&")
    return await send(
      .post, path, as: "", host: "login.vault.test:8443", version: nil, headers: [("Content-Type", type)],
      bytes: Array(text.utf8))
  }

  static func escaped(_ text: String) -> String {
    text.utf8.map { byte in
      byte.isASCIIAlphanumeric || "-._~".utf8.contains(byte) ? String(UnicodeScalar(byte)) : "%" + [byte].hexadecimal
    }.joined()
  }
}

/// What was answered.
struct Answer: Sendable {
  let status: Int
  let headers: HTTPFields
  let bytes: [UInt8]
  let json: JSON?

  init(_ response: WireResponse) {
    status = response.status.code
    headers = response.headers
    bytes = response.body
    json = response.body.isEmpty ? nil : try? JSON(response.body)
  }

  var text: String { "\(status) \(String(decoding: bytes, as: UTF8.self))" }
  /// The error's code, with the inner one after a slash where there is one.
  var code: String? {
    guard let outer = self["error", "code"]?.string else { return nil }
    return self["error", "innererror", "code"]?.string.map { "\(outer)/\($0)" } ?? outer
  }
  var message: String { self["error", "message"]?.string ?? "" }
  /// Status and code in one, to be compared.
  var outcome: String { code.map { "\(status) \($0)" } ?? "\(status)" }

  /// A member of the body, and one of that, and so on.
  subscript(_ names: String...) -> JSON? { names.reduce(json) { $0?[$1] } }
  /// The names after the last slash of every entry of a list.
  var names: [String] {
    (self["value"]?.array ?? []).compactMap {
      ($0["kid"] ?? $0["id"])?.string?.split(separator: "/").last.map(String.init)
    }
  }
}
