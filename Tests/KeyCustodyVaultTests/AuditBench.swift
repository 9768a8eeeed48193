import KeyCustody
import KeyCustodyMemory
import KeyCustodyTestSupport
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// One audit log in a temporary folder, with its key and its memory of itself in other places.
struct AuditBench {
  let folder: TemporaryFolder
  let keys: any KeyProvider
  let store: any PolicyStore
  let system = SteeredAuditFiles()
  let time: any TimeSource
  var settings: AuditLog.Settings

  init(time: any TimeSource = SystemTime()) async throws {
    folder = try TemporaryFolder()
    self.time = time
    keys = try await MemoryKeyProvider(environment: RuntimeEnvironment(time: time))
    store = try MemoryPolicyStore(environment: RuntimeEnvironment())
    settings = AuditLog.Settings(folder: folder.appending("audit"), origin: "vault.test/audit")
    settings.deadline = .seconds(60)
    settings.checkpointInterval = .seconds(3600)
  }

  func open() async throws(KeyCustodyError) -> AuditLog {
    try await AuditLog.open(
      settings, store: store, signer: keys, environment: RuntimeEnvironment(time: time), system: system)
  }

  /// Records so many events, one after the other.
  func fill(_ log: AuditLog, _ count: Int, from start: Int = 0) async throws {
    for number in start..<start + count { try await log.record(Self.event("request-\(number)")) }
  }

  /// What the log holds, read as a tool does.
  func records() throws -> [AuditRecord] {
    var all: [AuditRecord] = []
    try AuditFiles(folders: [settings.folder]).forEach { record in
      all.append(record)
      return true
    }
    return all
  }

  var requests: [String] { get throws { try records().map(\.event.requestID) } }

  func verify(after checkpoint: AuditCheckpoint? = nil, _ folders: [String]? = nil) throws -> AuditVerification {
    try AuditFiles(folders: folders ?? [settings.folder]).verify(verifier(), after: checkpoint)
  }

  func verifier() throws -> AuditVerifierKey {
    let text = String(decoding: try folder.read("audit/verifier.key"), as: UTF8.self)
    return try AuditVerifierKey(String(text.dropLast()))
  }

  /// The files of the log by their names.
  func files() throws -> [String: [UInt8]] {
    var files: [String: [UInt8]] = [:]
    for name in try FileManager.default.contentsOfDirectory(atPath: settings.folder) where name.hasPrefix("audit-") {
      files[name] = try folder.read("audit/\(name)")
    }
    return files
  }

  func write(_ bytes: [UInt8], _ name: String) throws { try folder.write(bytes, to: "audit/\(name)") }

  static func event(_ request: String, target: String = "https://kv1.vault.test/keys/key") -> AuditEvent {
    AuditEvent(
      time: Timestamp(seconds: 1_767_225_600), principal: "contoso/owner", method: "token", action: "wrapKey",
      target: target, resource: nil, rule: "allow", outcome: .allowed, error: nil, requestID: request)
  }
}

/// Numbers that a seed decides.
struct Dice: RandomNumberGenerator {
  private let source: SeededRandom
  init(seed: UInt64) { source = SeededRandom(seed: seed) }
  mutating func next() -> UInt64 { source.next() }
}
