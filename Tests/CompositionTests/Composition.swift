import KeyCustody
import KeyCustodyFile
import KeyCustodyMemory
import KeyCustodyPKCS11
import KeyCustodyPostgreSQL
import KeyCustodySQLite
import KeyCustodyServedVaults
import KeyCustodyTestSupport
import KeyCustodyTesting
import Synchronization
import Testing

@testable import KeyCustodyServices

/// Where something is kept.
enum Backing: String, CaseIterable, Sendable {
  case memory
  case file
  case pkcs11
  /// Records alone; keys that belong to them are in files.
  case sqlite
  /// As `sqlite`.
  case postgresql
  /// Keys alone, in a vault over HTTPS; records that belong to them are in memory.
  case azureKeyVault

  /// Those that hold keys, and need no server.
  static let ofKeys: [Backing] = [.memory, .file, .pkcs11]
  /// Those that hold records, and need no server.
  static let ofRecords: [Backing] = [.memory, .file, .pkcs11, .sqlite]
}

/// One choice of backends: where keys live, what the identities are made of, where the records are.
struct Composition: Sendable, CustomTestStringConvertible {
  var keys: Backing
  var identity: Backing
  var policy: Backing

  /// Every one of those that need no server, and some with it on either side.
  static let all =
    Backing.ofKeys.flatMap { keys in
      Backing.ofRecords.flatMap { identity in
        Backing.ofRecords.map { policy in
          Composition(keys: keys, identity: identity, policy: policy)
        }
      } + [Composition(keys: keys, identity: .postgresql, policy: .postgresql)]
    } + [
      Composition(keys: .memory, identity: .sqlite, policy: .postgresql),
      Composition(keys: .memory, identity: .postgresql, policy: .file),
    ] + overHTTPS

  #if AzureKeyVault
    private static let overHTTPS = [
      Composition(keys: .azureKeyVault, identity: .memory, policy: .memory),
      Composition(keys: .azureKeyVault, identity: .sqlite, policy: .file),
      Composition(keys: .file, identity: .azureKeyVault, policy: .sqlite),
    ]
  #else
    private static let overHTTPS: [Composition] = []
  #endif

  var testDescription: String { "keys \(keys), identity \(identity), policy \(policy)" }
}

/// A deployment on a composition, in a folder of its own; it can be closed and opened again as after a restart.
struct Deployment: Sendable {
  let folder: TemporaryFolder
  let clock = ManualClock()
  private let memory = MemoryPlugin()
  private let configuration: [String: ConfigurationValue]

  /// - Parameter direct: where keys of the tenant `contoso` are that are used with no vault before them: the key
  ///   provider `theirs`, under `https://contoso-keys.key-provider`.
  init(_ composition: Composition, direct: Backing? = nil) async throws {
    folder = try TemporaryFolder()
    try folder.write([UInt8](repeating: 7, count: 16) + (0..<32), to: "store.key")
    var providers = [
      "keys": ConfigurationValue.section(try await Self.section("keys", composition.keys, folder, isStore: false)),
      "signer": .section(try await Self.section("signer", composition.identity, folder, isStore: false)),
    ]
    if let direct { providers["theirs"] = .section(try await Self.section("theirs", direct, folder, isStore: false)) }
    configuration = [
      "keyProviders": .section(providers),
      "customerKeys": direct == nil ? [:] : ["contoso-keys": ["keyProvider": "theirs", "tenant": "contoso"]],
      "policyStores": .section([
        "records": .section(try await Self.section("records", composition.policy, folder, isStore: true)),
        "directory": .section(try await Self.section("directory", composition.identity, folder, isStore: true)),
      ]),
      "service": ["keyProvider": "keys", "policyStore": "records"],
      "identity": ["keyProvider": "signer", "policyStore": "directory"],
      "vaults": ["domain": "vault.test"],
    ]
  }

  /// The section of one backend: the only place where the compositions differ.
  private static func section(
    _ name: String, _ backing: Backing, _ folder: TemporaryFolder, isStore: Bool
  ) async throws -> [String: ConfigurationValue] {
    switch backing {
    case .memory: return ["plugin": "memory", "name": .string(name)]
    case .file:
      let base: [String: ConfigurationValue] = ["plugin": "file", "directory": .string(folder.appending(name))]
      return isStore ? base : base.merging(["keyFile": .string(folder.appending("store.key"))]) { $1 }
    case .sqlite:
      guard isStore else { return try await self.section(name, .file, folder, isStore: false) }
      return ["plugin": "sqlite", "path": .string(folder.appending("\(name).sqlite"))]
    case .postgresql:
      guard isStore else { return try await self.section(name, .file, folder, isStore: false) }
      return try PostgreSQLServer.shared().settings(schema: PostgreSQLServer.schemaName())
    case .azureKeyVault:
      guard !isStore else { return try await self.section(name, .memory, folder, isStore: true) }
      #if AzureKeyVault
        return try await ServedVaults.shared().section(in: folder)
      #else
        throw KeyCustodyError(.unsupported, .notOffered, "This was built without the trait 'AzureKeyVault'.")
      #endif
    case .pkcs11:
      let token = try await SoftHSM.makeToken()
      let base: [String: ConfigurationValue] = [
        "plugin": "pkcs11", "module": .string(token.module), "token": .string(token.uri),
        "pinFile": .string(token.pinFile),
      ]
      return isStore
        ? base.merging(["lockFile": .string(folder.appending("\(name).lock"))]) { $1 }
        : base.merging(["emulate": ["RSA-OAEP-256"], "sessions": 2]) { $1 }
    }
  }

  func open(audit: RecordingAuditSink) async throws -> KeyCustody {
    var plugins = [
      memory.plugin, FilePlugin.plugin, PKCS11Plugin.plugin, SQLitePlugin.plugin, PostgreSQLPlugin.plugin,
    ]
    #if AzureKeyVault
      plugins.append(ServedVaults.plugin)
    #endif
    return try await KeyCustody.open(
      KeyCustodyConfiguration(configuration), plugins: plugins, audit: audit,
      environment: RuntimeEnvironment(time: clock))
  }

  /// Converts, and lets a lease's time pass where processes may share the store: a conversion waits for that.
  func whileLeasesEnd(
    _ custody: KeyCustody, _ convert: @escaping @Sendable () async throws -> Void
  ) async throws {
    let waiting = Task { [clock] in
      while !Task.isCancelled {
        if custody.waitsForLeases.load(ordering: .relaxed) > 0 { return clock.advance(by: .seconds(60)) }
        await Task.yield()
      }
    }
    defer { waiting.cancel() }
    try await convert()
  }
}
