import KeyCustody
import KeyCustodyFile
import KeyCustodyMemory
import KeyCustodyPKCS11
import KeyCustodyServices
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

/// Where something is kept.
enum Backing: String, CaseIterable, Sendable {
  case memory
  case file
  case pkcs11
}

/// One choice of backends: where keys live, what the identities are made of, where the records are.
struct Composition: Sendable, CustomTestStringConvertible {
  var keys: Backing
  var identity: Backing
  var policy: Backing

  static let all = Backing.allCases.flatMap { keys in
    Backing.allCases.flatMap { identity in
      Backing.allCases.map { policy in Composition(keys: keys, identity: identity, policy: policy) }
    }
  }

  var testDescription: String { "keys \(keys), identity \(identity), policy \(policy)" }
}

/// A deployment on a composition, in a folder of its own; it can be closed and opened again as after a restart.
struct Deployment: Sendable {
  let folder: TemporaryFolder
  let clock = ManualClock()
  private let memory = MemoryPlugin()
  private let configuration: [String: ConfigurationValue]

  init(_ composition: Composition) async throws {
    folder = try TemporaryFolder()
    try folder.write([UInt8](repeating: 7, count: 16) + (0..<32), to: "store.key")
    configuration = [
      "keyProviders": .section([
        "keys": .section(try await Self.section("keys", composition.keys, folder, isStore: false)),
        "signer": .section(try await Self.section("signer", composition.identity, folder, isStore: false)),
      ]),
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
    try await KeyCustody.open(
      KeyCustodyConfiguration(configuration),
      plugins: [memory.plugin, FilePlugin.plugin, PKCS11Plugin.plugin], audit: audit,
      environment: RuntimeEnvironment(time: clock))
  }
}
