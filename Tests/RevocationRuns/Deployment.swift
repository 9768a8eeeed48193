import KeyCustody
import KeyCustodyPKCS11
import KeyCustodyPostgreSQL
import KeyCustodyServices
import KeyCustodyTestSupport
import KeyCustodyVault
import Logging

/// Customers with a key each, of a service whose processes share a PostgreSQL server and a SoftHSM token.
struct Deployment {
  /// How a process hears of what another one changed.
  enum Hearing: String, CaseIterable {
    case notification = "by NOTIFY"
    case polling = "by looking, each second"
    /// The database server hangs from the answer on.
    case nothing = "not at all: the database hangs"
  }
  static let customers = 4
  static let leaseSeconds = 5
  static let content = Array("a value".utf8)
  private let folder: String

  /// One that was made, by its folder.
  init(at folder: String) { self.folder = folder }

  /// Makes it: the token, the customers' vaults, keys and grants, and a sealed value of each customer's.
  init(in folder: TemporaryFolder, on server: PostgreSQLServer, heard way: Hearing) async throws {
    self.folder = folder.path
    let token = try await SoftHSM.makeToken()
    let configuration: JSON = [
      "keyProviders": [
        "keys": [
          "plugin": "pkcs11", "module": .string(token.module), "token": .string(token.uri),
          "pinFile": .string(token.pinFile),
        ]
      ],
      "policyStores": [
        "records": [
          "plugin": "postgresql", "url": .string(server.url()), "schema": .string(PostgreSQLServer.schemaName()),
          "timeout": way == .nothing ? 2 : 60, "notifications": .bool(way == .notification), "pollMilliseconds": 1000,
        ]
      ],
      "service": [
        "keyProvider": "keys", "policyStore": "records", "leaseSeconds": .integer(Int64(Self.leaseSeconds)),
      ],
      "vaults": ["domain": "vault.test"],
    ]
    try folder.write(configuration.bytes, to: "configuration.json")
    let custody = try await open()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for customer in 0..<Self.customers {
        group.addTask {
          try folder.write(try await Self.make(customer, in: custody), to: "value-\(customer)")
        }
      }
      try await group.waitForAll()
    }
    await custody.close()
  }

  /// Opens it in this process.
  func open() async throws -> KeyCustody {
    var logger = Logger(label: "revocation")
    logger.logLevel = .critical
    return try await KeyCustody.open(
      KeyCustodyConfiguration(json: SoftHSM.contents(of: "\(folder)/configuration.json")),
      plugins: [PKCS11Plugin.plugin, PostgreSQLPlugin.plugin], environment: RuntimeEnvironment(logger: logger))
  }

  /// What was sealed for a customer.
  func value(_ customer: Int) -> [UInt8] { SoftHSM.contents(of: "\(folder)/value-\(customer)") }

  static func resource(_ customer: Int) throws -> ResourceID { try ResourceID("notes-\(customer)") }

  private static func vault(_ customer: Int) throws -> VaultName { try VaultName("keys-\(customer)") }

  /// Lets the service use a customer's key.
  static func grant(_ customer: Int, in custody: KeyCustody) async throws {
    guard let identity = try await custody.resource(resource(customer)).status().identity else {
      throw Stop("A resource has no identity.")
    }
    try await custody.vaults.setRule(
      AccessRule(name: "service", principal: identity, keys: [.get, .wrapKey, .unwrapKey]), in: vault(customer))
  }

  /// Withdraws that.
  static func revoke(_ customer: Int, in custody: KeyCustody) async throws {
    try await custody.vaults.removeRule("service", in: vault(customer))
  }

  /// - Returns: a sealed value.
  private static func make(_ customer: Int, in custody: KeyCustody) async throws -> [UInt8] {
    let tenant = try TenantID("customer-\(customer)")
    let notes = try await custody.createResource(resource(customer), tenant: tenant)
    try await custody.vaults.create(
      VaultDefinition(
        name: vault(customer), tenant: tenant, region: custody.region, keyProvider: "keys", softDeleteDays: 7,
        purgeProtection: true))
    let owner = PrincipalID(tenant: tenant, subject: try SubjectID("owner"))
    try await custody.identities.create(owner, kind: .user)
    try await custody.vaults.setRule(
      AccessRule(name: "owner", principal: owner, keys: [.get, .create]), in: vault(customer))
    let token = try await custody.identities.issueToken(for: owner, audience: custody.audience, lifetime: .seconds(300))
    let caller = try await custody.identities.authenticate(.token(token), audience: custody.audience)
    let key = try await custody.vaults.createKey(
      custody.vaults.uri(vault(customer), KeyName("notes")), type: .aes(bits: 256), role: .wrapping, as: caller,
      context: CallContext(purpose: .administration)
    ).uri
    try await notes.switchIdentityOn()
    try await grant(customer, in: custody)
    try await notes.enableCustomerKey(key, converting: [])
    return try await notes.seal(content, as: "value")
  }
}

/// Why a run can't go on.
struct Stop: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
