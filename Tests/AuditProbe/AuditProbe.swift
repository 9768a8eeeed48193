import KeyCustody
import KeyCustodyFile
import KeyCustodyVault

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The process that is killed: it records events as fast as it can, and prints each one's name once it is acknowledged.
///
/// `KeyCustodyAuditProbe FOLDER RUN COUNT`: FOLDER holds `key`, 32 random bytes. After COUNT events for each of eight
/// tasks it closes the log.
@main
enum AuditProbe {
  static func main() async throws {
    let words = CommandLine.arguments
    guard words.count == 4, let count = Int(words[3]) else {
      return print("usage: KeyCustodyAuditProbe FOLDER RUN COUNT")
    }
    let (folder, run) = (words[1], words[2])
    let store = try await FilePolicyStore(directory: "\(folder)/state")
    let keys = try await FileKeyProvider(directory: "\(folder)/keys", secret: .keyFile("\(folder)/key"))
    var settings = AuditLog.Settings(folder: "\(folder)/audit", origin: "probe.test/audit")
    settings.fileSize = 64 << 10
    settings.checkpointRecords = 100
    let log = try await AuditLog.open(settings, store: store, signer: keys)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<8 {
        group.addTask {
          for number in 0..<count {
            let name = "\(run)-\(task)-\(number)"
            try await log.record(
              AuditEvent(
                time: SystemTime().now(), principal: "contoso/probe", method: "token", action: "sign",
                target: "https://kv1.vault.test/keys/key", resource: nil, rule: "allow", outcome: .allowed, error: nil,
                requestID: name))
            acknowledge(name)
          }
        }
      }
      try await group.waitForAll()
    }
    await log.close()
    acknowledge("closed")
    await keys.close()
    await store.close()
  }

  /// A whole line at once, and not kept back in this process.
  private static func acknowledge(_ name: String) {
    let line = Array("\(name)\n".utf8)
    _ = unsafe write(1, line, line.count)
  }
}
