import Foundation
import KeyCustody
import KeyCustodyMemory
import KeyCustodyServices
import KeyCustodyTestSupport
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// A deployment that keeps an audit log, and the commands that check it without the deployment.
struct AuditConfigurationTests {
  private static func configuration(_ audit: ConfigurationValue?) -> KeyCustodyConfiguration {
    var values: [String: ConfigurationValue] = [
      "keyProviders": ["keys": ["plugin": "memory"]], "policyStores": ["state": ["plugin": "memory"]],
      "service": ["keyProvider": "keys", "policyStore": "state"], "vaults": ["domain": "vault.test"],
    ]
    values["audit"] = audit
    return KeyCustodyConfiguration(values)
  }

  private static func use(_ folder: TemporaryFolder) async throws -> AuditLog {
    let custody = try await KeyCustody.open(
      configuration(["folder": "audit", "checkpointRecords": 3]), plugins: [MemoryPlugin().plugin],
      environment: RuntimeEnvironment(baseDirectory: folder.path))
    let notes = try await custody.createResource(ResourceID("notes"), tenant: TenantID("contoso"))
    let sealed = try await notes.seal(Array("hello".utf8), as: "note")
    #expect(try await notes.open(sealed, as: "note") == Array("hello".utf8))
    let log = try #require(custody.auditLog)
    await custody.close()
    return log
  }

  @Test("V11: with audit.folder, uses of the service's own keys are in a signed log")
  func configured() async throws {
    let folder = try TemporaryFolder()
    let log = try await Self.use(folder)
    #expect(log.verifierKey.name == "vault.test/audit")
    let files = try AuditFiles(folders: [folder.appending("audit")])
    let found = try files.verify(log.verifierKey, after: log.latestCheckpoint)
    #expect(found.finding == nil && found.records > 2 && found.signed == found.records)
    var actions: Set<String> = []
    try files.forEach { record in
      actions.insert(record.event.action)
      return true
    }
    #expect(actions.isSuperset(of: ["create", "wrapKey"]))
  }

  @Test("A wrong section audit is refused before anything is recorded")
  func mistakes() async throws {
    let mistakes: [(ConfigurationValue, String)] = [
      (["foldr": "audit"], "folder"), (["folder": "audit", "deadlineSeconds": 0], "audit.deadlineSeconds"),
      (["folder": "audit", "fileMegabyte": 1], "audit.fileMegabyte"),
      (["folder": "audit", "keyProvider": "other"], "audit.keyProvider"),
      (["folder": "audit", "origin": "a b"], "a b"),
    ]
    for (section, hint) in mistakes {
      let folder = try TemporaryFolder()
      let error = await #expect(throws: KeyCustodyError.self) {
        _ = try await KeyCustody.open(
          Self.configuration(section), plugins: [MemoryPlugin().plugin],
          environment: RuntimeEnvironment(baseDirectory: folder.path))
      }
      #expect(error?.code == .invalidInput && error?.description.contains(hint) == true, "\(String(describing: error))")
    }
    await #expect(throws: KeyCustodyError(.invalidInput, .badConfigurationValue, "")) {
      _ = try await KeyCustody.open(
        Self.configuration(["folder": "audit"]), plugins: [MemoryPlugin().plugin], audit: RecordingAuditSink())
    }
  }

  @Test("V11: keycustody audit checks, shows and proves from the files alone")
  func commands() async throws {
    let folder = try TemporaryFolder()
    let log = try await Self.use(folder)
    let audit = folder.appending("audit")
    let key = try folder.write(Array("\(log.verifierKey)\n".utf8), to: "kept.key")
    let note = try #require(log.latestCheckpoint).note
    let kept = try folder.write(Array(note.utf8), to: "kept.checkpoint")
    // As a person cuts one out: the first six lines of the file.
    let checkpoints = String(decoding: try folder.read("audit/audit-00000001.checkpoints"), as: UTF8.self)
    let lines = checkpoints.split(separator: "\n", omittingEmptySubsequences: false)
    let early = try folder.write(
      Array((lines.prefix(6).joined(separator: "\n") + "\n").utf8), to: "early.checkpoint")
    #expect(checkpoints.hasPrefix("vault.test/audit\n0\n"))
    let program = try Executable("keycustody")
    let verified = try program.run(["audit", "verify", audit, "--verifier", key, "--after", kept])
    #expect(verified.status == 0 && verified.output.hasPrefix("sound: "), "\(verified)")
    let shown = try program.run(["audit", "show", audit, "--outcome", "allowed", "--output", "json"])
    #expect(shown.status == 0 && !shown.output.isEmpty)
    for line in shown.output.split(separator: "\n") {
      let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
      #expect((object["event"] as? [String: Any])?["outcome"] as? String == "allowed")
    }
    let nobody = try program.run(["audit", "show", audit, "--principal", "contoso/nobody"])
    #expect(nobody.status == 0 && nobody.output.isEmpty)
    let proof = try program.run(["audit", "proof", audit, "--verifier", key, "--record", "1"])
    #expect(proof.status == 0 && proof.output.hasPrefix("c2sp.org/tlog-proof@v1\nindex 1\n"), "\(proof)")
    #expect(proof.output.hasSuffix("\n\n\(note)"))
    let consistency = try program.run(["audit", "proof", audit, "--verifier", key, "--from", early])
    #expect(consistency.status == 0 && consistency.output.hasPrefix("old 0\n\n"), "\(consistency)")
    var bytes = try folder.read("audit/audit-00000001.jsonl")
    bytes[bytes.count / 2] ^= 1
    try folder.write(bytes, to: "audit/audit-00000001.jsonl")
    let broken = try program.run(["audit", "verify", audit, "--verifier", key, "--output", "json"])
    #expect(broken.status == 1 && broken.output.contains("\"sound\":false"), "\(broken)")
    #expect(broken.output.contains("audit-00000001.jsonl\""))
  }
}
