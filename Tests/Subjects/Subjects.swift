import KeyCustody
import KeyCustodyCrypto
import KeyCustodyFile
import KeyCustodyMemory
import KeyCustodyPKCS11
import KeyCustodyPostgreSQL
import KeyCustodySQLite
import KeyCustodyTestSupport
package import KeyCustodyTesting
import KeyCustodyVault
import Synchronization

/// Every backend of ours, by name, as the kit and its report run it.
///
/// A backend joins the report by a line in one of these lists.
package enum Subjects {
  /// A subject and what the report calls it.
  package typealias Named<Subject> = (name: String, subject: Subject)

  /// Key providers.
  package static var keyProviders: [Named<KeyProviderSubject>] {
    [("memory", memoryKeys), ("file", fileKeys), ("pkcs11", tokenKeys)]
  }
  /// Policy stores.
  package static var policyStores: [Named<PolicyStoreSubject>] {
    [
      ("memory", memoryRecords), ("file", fileRecords), ("pkcs11", tokenRecords), ("sqlite", databaseRecords),
      ("postgresql", serverRecords),
    ]
  }
  /// Tables of sealed records.
  package static var sealedTables: [Named<SealedTableSubject>] {
    [("memory", memoryTable), ("sqlite", databaseTable), ("postgresql", serverTable)]
  }
  /// Identity providers.
  package static func identityProviders() throws -> [Named<IdentityProviderSubject>] {
    [("directory", try directory()), ("directory-sqlite", try directoryOnDatabase())]
  }

  private static let verify: KeyProviderSubject.SignatureVerifier = { signature, digest, publicKey, algorithm in
    try PublicKey(spki: publicKey).verify(signature, digest: digest, algorithm)
  }

  // MARK: Memory

  /// Keys in memory; what can fail beneath is the random source.
  package static let memoryKeys = KeyProviderSubject(verify: verify) { environment in
    let plugin = MemoryPlugin().plugin
    let random = SteeredRandom()
    var environment = environment
    environment.random = random
    let given = environment
    return .persistent(faults: random.faults) {
      try await [plugin].openKeyProvider(KeyCustodyConfiguration(["plugin": "memory"]).root, given)
    }
  }

  /// Records in memory.
  package static let memoryRecords = PolicyStoreSubject { environment in
    let plugin = MemoryPlugin().plugin
    let random = SteeredRandom()
    var environment = environment
    environment.random = random
    let given = environment
    return .persistent(faults: random.faults) {
      try await [plugin].openPolicyStore(KeyCustodyConfiguration(["plugin": "memory"]).root, given)
    }
  }

  // MARK: Files

  /// Keys in files, with the file system at fault.
  package static let fileKeys = KeyProviderSubject(verify: verify) { environment in
    let folder = try TemporaryFolder()
    let secret = try folder.write(try SystemRandom().bytes(32), to: "key-file")
    let system = SteeredFileSystem()
    return .persistent(faults: system.faults) {
      try await FileKeyProvider(
        directory: folder.appending("keys"), secret: .keyFile(secret), environment: environment, system: system)
    }
  }

  /// Records in files, with the file system at fault.
  package static let fileRecords = PolicyStoreSubject { environment in
    let folder = try TemporaryFolder()
    let system = SteeredFileSystem()
    return .persistent(faults: system.faults) {
      try await FilePolicyStore(directory: folder.appending("records"), environment: environment, system: system)
    }
  }

  // MARK: Databases

  /// Records in a database, with the files of SQLite at fault.
  package static let databaseRecords = PolicyStoreSubject { environment in
    let folder = try TemporaryFolder()
    let files = try SteeredDatabaseFiles(in: folder.path)
    return .persistent(faults: files.faults) {
      try await SQLitePolicyStore(
        path: "\(folder.path)/records.sqlite", environment: environment, system: files.system)
    }
  }

  /// Records on a PostgreSQL server, with the connections to it at fault.
  package static let serverRecords = PolicyStoreSubject { environment in
    let server = try PostgreSQLServer.shared()
    let folder = try TemporaryFolder()
    let steered = try SteeredServer(before: server.folder, in: folder.path)
    var settings = server.settings(schema: PostgreSQLServer.schemaName())
    // The tables are made beforehand, with more time than a call has below.
    try await [PostgreSQLPlugin.plugin].openPolicyStore(KeyCustodyConfiguration(settings).root, environment).close()
    settings["url"] = .string("postgresql://postgres@/postgres?host=\(folder.path)")
    // An outcome is looked for as long as this, which must be less than the kit's patience.
    settings["timeout"] = 8
    let given = settings
    return .persistent(faults: steered.faults) {
      // Lives as long as the backend.
      _ = (folder, steered)
      return try await [PostgreSQLPlugin.plugin].openPolicyStore(KeyCustodyConfiguration(given).root, environment)
    }
  }

  // MARK: Tokens

  /// Keys on a token of SoftHSM, with the module at fault.
  package static let tokenKeys = KeyProviderSubject(verify: verify) { environment in
    let token = try await SoftHSM.makeToken()
    let faults = try SteeredModule()
    let section = section(token, faults, ["sessions": 2, "emulate": ["RSA-OAEP-256"]])
    return .persistent(faults: faults) {
      try await [PKCS11Plugin.plugin].openKeyProvider(section, environment)
    }
  }

  /// Records on a token of SoftHSM, with the module at fault.
  package static let tokenRecords = PolicyStoreSubject(capacity: 1000) { environment in
    let token = try await SoftHSM.makeToken()
    let faults = try SteeredModule()
    let section = section(token, faults, ["lockFile": .string("\(token.pinFile).lock")])
    return .persistent(faults: faults) {
      try await [PKCS11Plugin.plugin].openPolicyStore(section, environment)
    }
  }

  private static func section(
    _ token: SoftHSMToken, _ faults: SteeredModule, _ more: [String: ConfigurationValue]
  ) -> ConfigurationSection {
    let settings = token.settings.merging(["module": .string(faults.module.path)]) { $1 }.merging(more) { $1 }
    return KeyCustodyConfiguration(["hsm": .section(settings)]).root.section("hsm")
  }

  // MARK: Directory

  /// The directory over memory, with the store and the key provider beneath it at fault.
  package static func directory() throws -> IdentityProviderSubject {
    IdentityProviderSubject(
      audience: "https://vault.test", tenant: try TenantID("contoso"), otherTenant: try TenantID("fabrikam")
    ) { environment in
      let memory = MemoryPlugin()
      let faults = FaultSwitch([.refused, .answerLost, .outage, .full, .hung, .crash])
      return .persistent(faults: faults) {
        let section = KeyCustodyConfiguration(["plugin": "memory"]).root
        return try await DirectoryIdentityProvider(
          store: FaultingPolicyStore(
            try await [memory.plugin].openPolicyStore(section, environment), plan: FaultPlan(faults)),
          signer: FaultingKeyProvider(
            try await [memory.plugin].openKeyProvider(section, environment), plan: FaultPlan(faults)),
          issuer: "https://vault.test/directory", environment: environment)
      }
    }
  }

  /// The directory over a database and keys in memory, with the files of SQLite at fault.
  package static func directoryOnDatabase() throws -> IdentityProviderSubject {
    IdentityProviderSubject(
      audience: "https://vault.test", tenant: try TenantID("contoso"), otherTenant: try TenantID("fabrikam")
    ) { environment in
      let memory = MemoryPlugin()
      let folder = try TemporaryFolder()
      let files = try SteeredDatabaseFiles(in: folder.path)
      let opened = Mutex<SQLitePolicyStore?>(nil)
      return .persistent(faults: files.faults) {
        // A directory leaves its store open, since others may use it.
        await opened.withLock { $0.take() }?.close()
        let section = KeyCustodyConfiguration(["plugin": "memory"]).root
        let store = try await SQLitePolicyStore(
          path: "\(folder.path)/directory.sqlite", environment: environment, system: files.system)
        opened.withLock { $0 = store }
        return try await DirectoryIdentityProvider(
          store: store,
          signer: try await [memory.plugin].openKeyProvider(section, environment),
          issuer: "https://vault.test/directory", environment: environment)
      }
    }
  }
}
