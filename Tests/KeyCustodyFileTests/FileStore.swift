import KeyCustody
import KeyCustodyFile
import KeyCustodyTestSupport

/// A folder with a key store, a policy store and a key file, each where it is asked for; removed with this value.
final class FileStore: Sendable {
  let folder: TemporaryFolder
  let keyFile: String
  let context = CallContext(purpose: .probe)

  init() throws {
    folder = try TemporaryFolder()
    keyFile = try folder.write(try SystemRandom().bytes(32), to: "key-file")
  }

  var keys: String { folder.appending("keys") }
  var records: String { folder.appending("records") }

  /// Opens the key store as a configuration would.
  func openKeys(
    _ environment: RuntimeEnvironment = RuntimeEnvironment(), _ more: [String: ConfigurationValue] = [:]
  ) async throws -> any KeyProvider {
    var values: [String: ConfigurationValue] = [
      "plugin": "file", "directory": .string(keys), "keyFile": .string(keyFile),
    ]
    values.merge(more) { _, new in new }
    return try await [FilePlugin.plugin].openKeyProvider(KeyCustodyConfiguration(values).root, environment)
  }

  /// Opens the policy store as a configuration would.
  func openRecords(
    _ environment: RuntimeEnvironment = RuntimeEnvironment(), _ more: [String: ConfigurationValue] = [:]
  ) async throws -> any PolicyStore {
    var values: [String: ConfigurationValue] = ["plugin": "file", "directory": .string(records)]
    values.merge(more) { _, new in new }
    return try await [FilePlugin.plugin].openPolicyStore(KeyCustodyConfiguration(values).root, environment)
  }

  /// The key store through a file system of the test's.
  func openKeys(through system: any FileSystem) async throws(KeyCustodyError) -> FileKeyProvider {
    try await FileKeyProvider(directory: keys, secret: .keyFile(keyFile), system: system)
  }

  func request(
    _ type: KeyType = .aes(bits: 256), _ role: KeyRole = .wrapping, backupable: Bool = false
  ) throws -> GenerateKeyRequest {
    GenerateKeyRequest(
      version: try KeyVersionID(random: SystemRandom()), type: type, role: role, label: "a label",
      backupable: backupable)
  }
}

extension KeyCustodyError {
  /// A code and a reason, to compare with.
  static func of(_ code: Code, _ reason: Reason) -> KeyCustodyError { KeyCustodyError(code, reason, "") }
}
