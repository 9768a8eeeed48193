import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyMemory
import KeyCustodyPostgreSQL
import KeyCustodySQLite
import KeyCustodyServices
import KeyCustodyTestSupport
import KeyCustodyTesting
import KeyCustodyVault
import Synchronization
import Testing

/// A resource, a customer's key, and a table to keep sealed data in.
struct TableBench: Sendable {
  /// What happens to the resource's keys, one after the other.
  enum Step: CaseIterable, Sendable {
    case enable
    case rotate
    case disable
  }

  let folder: TemporaryFolder
  let custody: KeyCustody
  let notes: ProtectedResource
  let vault: VaultName
  let key: KeyURI
  let table: any SealedTable
  let store: TableSealedStore
  private let owner: Principal
  private let context = CallContext(purpose: .administration)

  init(_ backing: Backing) async throws {
    folder = try TemporaryFolder()
    let memory = MemoryPlugin()
    custody = try await KeyCustody.open(
      KeyCustodyConfiguration([
        "keyProviders": ["keys": ["plugin": "memory"]], "policyStores": ["records": ["plugin": "memory"]],
        "service": ["keyProvider": "keys", "policyStore": "records"], "vaults": ["domain": "vault.test"],
      ]), plugins: [memory.plugin], audit: RecordingAuditSink())
    var profile = try Profile.custom()
    profile.rotation = .reencrypt
    let tenant = try TenantID("contoso")
    notes = try await custody.createResource(ResourceID("contoso-notes"), tenant: tenant, profile: profile)
    vault = try VaultName("contoso-keys")
    owner = Principal(
      id: PrincipalID(tenant: tenant, subject: try SubjectID("owner")), kind: .user, method: .token,
      expires: SystemTime().now() + .seconds(3600))
    try await custody.vaults.create(
      VaultDefinition(
        name: vault, tenant: tenant, region: custody.region, keyProvider: "keys", softDeleteDays: 7,
        purgeProtection: true))
    try await custody.vaults.setRule(
      AccessRule(name: "owner", principal: owner.id, keys: Set(KeyPermission.allCases)), in: vault)
    key = try await custody.vaults.createKey(
      custody.vaults.uri(vault, KeyName("notes")), type: .aes(bits: 256), role: .wrapping, as: owner, context: context
    ).uri
    let identity = try await notes.switchIdentityOn()
    try await custody.vaults.setRule(
      AccessRule(name: "service", principal: identity, keys: [.get, .wrapKey, .unwrapKey]), in: vault)
    table = try await [memory.plugin, SQLitePlugin.plugin, PostgreSQLPlugin.plugin].openSealedTable(
      KeyCustodyConfiguration(try Self.section(backing, folder)).root, RuntimeEnvironment())
    store = TableSealedStore(table)
  }

  private static func section(_ backing: Backing, _ folder: TemporaryFolder) throws -> [String: ConfigurationValue] {
    switch backing {
    case .sqlite: ["plugin": "sqlite", "path": .string(folder.appending("data.sqlite"))]
    case .postgresql: try PostgreSQLServer.shared().settings(schema: PostgreSQLServer.schemaName())
    default: ["plugin": "memory"]
    }
  }

  static func name(_ number: Int) -> String { "item/\(10_000 + number)" }

  /// Keeps so many items.
  func fill(_ count: Int) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for part in 0..<8 {
        group.addTask {
          for number in stride(from: part, to: count, by: 8) {
            let name = Self.name(number)
            try await store.put(Array(name.utf8), as: name, in: notes, identifiers: ["number": "\(number)"])
          }
        }
      }
      try await group.waitForAll()
    }
  }

  /// Takes a step, and converts.
  func take(_ step: Step) async throws {
    switch step {
    case .enable: try await notes.enableCustomerKey(key, converting: [store])
    case .rotate:
      let newer = try await custody.vaults.rotateKey(key, as: owner, context: context).uri
      try await notes.updateCustomerKey(newer, converting: [store])
    case .disable: try await notes.disableCustomerKey(converting: [store])
    }
  }

  /// Writes new items, and old ones of the first 200 anew, while `body` works; so many at most that it is not starved.
  ///
  /// - Returns: the names of the new ones.
  func whileWriting(_ step: Step, _ body: @Sendable () async throws -> Void) async throws -> Set<String> {
    let end = End()
    let (begun, hasBegun) = AsyncStream.makeStream(of: Void.self)
    return try await withThrowingTaskGroup(of: [String].self) { group in
      for writer in 0..<2 {
        group.addTask {
          var names: [String] = []
          for number in 0..<200 {
            let name = "new/\(step)/\(writer)/\(number)"
            try await store.put(Array(name.utf8), as: name, in: notes)
            names.append(name)
            let old = Self.name((number * 37 + writer) % 200)
            try await store.put(Array(old.utf8), as: old, in: notes, identifiers: ["writer": "\(writer)"])
            #expect(try await store.get(old, in: notes) == Array(old.utf8))
            hasBegun.yield()
            if end.isThere { break }
          }
          return names
        }
      }
      for await _ in begun { break }
      do { try await body() } catch {
        end.come()
        throw error
      }
      end.come()
      return try await group.reduce(into: Set<String>()) { $0.formUnion($1) }
    }
  }

  /// The root keys that stored items are under.
  func rootKeys() async throws -> Set<RootKeyID> {
    var keys: Set<RootKeyID> = []
    var last: String?
    while case let page = try await store.items(of: notes.id, after: last, limit: 300), let end = page.last {
      keys.formUnion(page.map(\.header.rootKey))
      last = end.object
    }
    return keys
  }

  func close() async {
    await table.close()
    await custody.close()
  }
}

/// Whether those who work are to stop.
private final class End: Sendable {
  private let state = Mutex(false)
  var isThere: Bool { state.withLock { $0 } }
  func come() { state.withLock { $0 = true } }
}

/// A table that counts what listings read, and lets something happen before the first replacement.
final class CountingTable: SealedTable {
  private let inner: any SealedTable
  private let counts = Mutex((rows: 0, pages: 0))
  private let isDue = Mutex(true)
  private let action: @Sendable () async throws -> Void

  init(_ inner: any SealedTable, _ action: @escaping @Sendable () async throws -> Void = {}) {
    self.inner = inner
    self.action = action
  }

  var rows: Int { counts.withLock { $0.rows } }
  var pages: Int { counts.withLock { $0.pages } }
  var place: String { inner.place }

  func page(
    of resource: ResourceID, after name: String?, excluding rootKey: [UInt8]?, limit: Int
  ) async throws(KeyCustodyError) -> [SealedRow] {
    let page = try await inner.page(of: resource, after: name, excluding: rootKey, limit: limit)
    counts.withLock { $0 = ($0.rows + page.count, $0.pages + 1) }
    return page
  }

  func read(_ name: String, of resource: ResourceID) async throws(KeyCustodyError) -> SealedContent? {
    try await inner.read(name, of: resource)
  }

  func put(_ sealed: [UInt8], label: [UInt8], as name: String, of resource: ResourceID) async throws(KeyCustodyError) {
    try await inner.put(sealed, label: label, as: name, of: resource)
  }

  func replace(
    _ sealed: [UInt8], as name: String, of resource: ResourceID, expecting revision: UInt64
  ) async throws(KeyCustodyError) -> Bool {
    let isDue =
      name == TableBench.name(1)
      && isDue.withLock { isDue in
        defer { isDue = false }
        return isDue
      }
    if isDue, (try? await action()) == nil { Issue.record("the change in between failed") }
    return try await inner.replace(sealed, as: name, of: resource, expecting: revision)
  }

  func remove(_ name: String, of resource: ResourceID) async throws(KeyCustodyError) {
    try await inner.remove(name, of: resource)
  }

  func removeAll(of resource: ResourceID) async throws(KeyCustodyError) { try await inner.removeAll(of: resource) }

  func close() async { await inner.close() }
}
