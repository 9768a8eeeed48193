import Foundation
import KeyCustody
import KeyCustodyFile
import KeyCustodyPostgreSQL
import KeyCustodySQLite
import KeyCustodyServices
import Logging

/// A deployment of many resources in a folder: keys in files, state in SQLite, or where it is told.
struct ManyResources {
  let folder: TemporaryFolder
  let count: Int
  /// The policy store's settings, where it is not a SQLite file of the folder.
  private let state: [String: ConfigurationValue]?
  /// Of the stored form of one resource, in bytes.
  private(set) var recordLength = 0
  /// How many root keys each resource has.
  private(set) var keys = 0

  /// Makes them.
  init(_ count: Int, state: [String: ConfigurationValue]? = nil) async throws {
    folder = try TemporaryFolder()
    self.count = count
    self.state = state
    let key = (0..<32).map { _ in UInt8.random(in: 0...255) }
    try Data(key).write(to: URL(fileURLWithPath: "\(folder.path)/key"))
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: "\(folder.path)/key")
    let custody = try await open()
    try await Self.each(count) { _ = try await custody.createResource($0, tenant: TenantID("tenant")) }
    let record = try await custody.policyStores["state"]?.read(RecordKey("resources/\(try Self.name(0).folded)"))
    keys = try await custody.resource(Self.name(0)).envelopes().count
    await custody.close()
    guard let record else { throw Unexpected(description: "The record of a resource can't be found.") }
    recordLength = record.value.count
  }

  func open() async throws -> KeyCustody { try await Self.open(folder.path, state: state) }

  static func name(_ number: Int) throws -> ResourceID { try ResourceID("customer-\(number)") }

  /// Does something for each of so many resources, many at a time.
  static func each(_ count: Int, _ body: @escaping @Sendable (ResourceID) async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<count {
        if number >= 256 { try await group.next() }
        group.addTask { try await body(name(number)) }
      }
      try await group.waitForAll()
    }
  }

  static func open(_ folder: String, state: [String: ConfigurationValue]? = nil) async throws -> KeyCustody {
    var logger = Logger(label: "bench")
    logger.logLevel = .error
    return try await KeyCustody.open(
      KeyCustodyConfiguration([
        "keyProviders": [
          "keys": ["plugin": "file", "directory": .string("\(folder)/keys"), "keyFile": .string("\(folder)/key")]
        ],
        "policyStores": [
          "state": .section(state ?? ["plugin": "sqlite", "path": .string("\(folder)/state.sqlite")])
        ],
        "service": ["keyProvider": "keys", "policyStore": "state", "leaseSeconds": 900],
      ]), plugins: [FilePlugin.plugin, SQLitePlugin.plugin, PostgreSQLPlugin.plugin], audit: NoAudit(),
      environment: RuntimeEnvironment(logger: logger))
  }

  // MARK: In a process of its own

  /// What a process does with a deployment before it says so, and stays.
  enum Holding: String {
    /// Opens it.
    case opened
    /// Has looked every resource up, and holds no key of any.
    case known
    /// Has sealed for every resource, and has a living lease on all of its keys.
    case leased
    /// Wraps every keyset anew, says so at half of them, and goes on.
    case rewrapping
  }

  /// Holds a deployment, if the command line asks for it: `--hold FOLDER COUNT HOLDING`.
  static func holdIfAsked() async throws {
    let words = CommandLine.arguments
    guard words.count == 5, words[1] == "--hold", let count = Int(words[3]), let holding = Holding(rawValue: words[4])
    else { return }
    let custody = try await open(words[2])
    switch holding {
    case .opened: break
    case .known:
      try await each(count) { _ = try await custody.resource($0) }
    case .leased:
      try await each(count) { _ = try await custody.resource($0).seal([1], as: "value") }
    case .rewrapping:
      try await custody.upkeep { if $0.resources == count / 2 { say() } }
      throw Unexpected(description: "It was not ended in the middle.")
    }
    say()
    // Holds what it has until the process that measures it ends it.
    while true { try await Task.sleep(for: .seconds(3600)) }
  }

  private static func say() {
    print(1)
    fflush(nil)
  }

  func hold(_ holding: Holding) throws -> ServerProcess {
    try ServerProcess([ServerProcess.programs.bench, "--hold", folder.path, "\(count)", holding.rawValue])
  }

  /// What such a process has in memory, in MiB.
  func resident(_ holding: Holding) throws -> Double {
    let process = try hold(holding)
    defer { process.stop() }
    return try process.resident
  }
}
