import Foundation
import KeyCustody
import KeyCustodyTestSupport

/// A folder with a whole deployment, served by a process that may be killed and started again.
final class ServedVault: Sendable {
  /// Which policy store keeps its records.
  enum Store: String {
    case sqlite = "SQLite"
    case file
  }
  /// What a client needs to know, from bootstrap.json.
  struct Credentials: Sendable {
    var tenant: String
    var clientID: String
    var clientSecret: String
  }
  let store: Store
  let port: Int
  static let domain = "vault.crash.test"
  static let host = "main.\(domain)"
  private let executable: String
  private let folder: TemporaryFolder
  private let worker: BlockingWorker

  init(executable: String, store: Store) throws {
    (self.executable, self.store) = (executable, store)
    folder = try TemporaryFolder()
    worker = try BlockingWorker()
    // Given to nobody by the system, so that it is free again after a restart.
    port = Int.random(in: 18_000..<32_000)
    if store == .file { try folder.write(fileConfiguration.bytes, to: "keycustody.json") }
  }

  /// The folder's path.
  var path: String { folder.path }
  var authority: String { "\(Self.domain):\(port)" }
  var caFile: String { folder.appending("tls/ca.pem") }

  /// As the first start writes it, but for the policy store and for small files of the audit log, so that some are full.
  private var fileConfiguration: JSON {
    [
      "keyProviders": ["software": ["plugin": "file", "directory": "keys", "keyFile": "store.key"]],
      "policyStores": ["state": ["plugin": "file", "directory": "state"]],
      "service": ["keyProvider": "software", "policyStore": "state"],
      "vaults": ["domain": .string(authority)],
      "audit": ["folder": "audit", "origin": "crash-runs/audit", "fileMegabytes": 1, "checkpointRecords": 100],
      "server": ["tenant": "main", "certificateFolder": "tls"],
    ]
  }

  /// The deployment's configuration.
  func configuration() throws -> KeyCustodyConfiguration {
    try KeyCustodyConfiguration(json: try folder.read("keycustody.json"))
  }

  /// What the first start made.
  func credentials() throws -> Credentials {
    let json = try JSON(try folder.read("bootstrap.json"))
    guard let tenant = json["tenant"]?.string, let id = json["clientID"]?.string,
      let secret = json["clientSecret"]?.string
    else { throw Stop("bootstrap.json names no credentials.") }
    return Credentials(tenant: tenant, clientID: id, clientSecret: secret)
  }

  /// Starts the process, and does not wait.
  func spawn() throws -> ServerProcess {
    try ServerProcess(
      [
        executable, "serve", "--data", path, "--domain", Self.domain, "--port", "\(port)", "--output", "json",
      ], errors: folder.appending("errors"))
  }

  /// Starts the process, and waits until it serves.
  func start() async throws -> (process: ServerProcess, took: Duration) {
    let begin = ContinuousClock.now
    let process = try spawn()
    let isReady = await worker.run { process.isReady() }
    guard isReady else {
      process.strike()
      await worker.run { _ = process.reap() }
      let errors = try? folder.read("errors")
      throw Stop("The server does not start: \(String(decoding: (errors ?? []).suffix(2000), as: UTF8.self))")
    }
    return (process, ContinuousClock.now - begin)
  }

  /// Kills the process, and waits until it is gone.
  func kill(_ process: ServerProcess) async {
    process.strike()
    await worker.run { _ = process.reap() }
  }

  /// Lets the process end as it is asked to.
  func stop(_ process: ServerProcess) async -> Bool {
    process.stop()
    return await worker.run { process.reap() }
  }

  /// Runs a command of the executable to its end.
  func run(_ words: [String]) async throws -> (status: Int32, output: String) {
    let executable = try Executable(at: executable)
    let result = await worker.run { Result { try executable.run(words) } }
    return try result.get()
  }
}
