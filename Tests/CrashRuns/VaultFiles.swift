import KeyCustody
import KeyCustodyFile
import KeyCustodySQLite
import KeyCustodyVault

/// What a vault that is not served any more left in its folder: the audit log, the records and the keys.
struct VaultFiles {
  /// What was found.
  struct Report {
    /// Answers without a record in the audit log.
    var missing = 0
    /// Answers with more than one.
    var doubled = 0
    /// Key versions in the provider.
    var keys = 0
    /// Those that no record names.
    var orphans = 0
    /// What processes that were killed left half made in the provider.
    var leftovers = 0
    /// What the audit log's verification said.
    var verified = ""
    /// What should not be, in words.
    var wrong: [String] = []
  }
  private let vault: ServedVault

  init(_ vault: ServedVault) { self.vault = vault }

  func check(_ counts: VaultCounts) async throws -> Report {
    var report = Report()
    let verified = try await verify()
    report.verified = verified.said
    if !verified.isSound { report.wrong.append("the audit log is not sound") }
    try readAudit(counts, &report)
    try await readKeys(&report)
    let doctor = try await vault.run(["doctor", "--data", vault.path])
    if doctor.status != 0 { report.wrong.append("doctor: \(doctor.output)") }
    return report
  }

  /// Has the audit log verified, as it lies there.
  func verify() async throws -> (isSound: Bool, said: String) {
    let result = try await vault.run(["audit", "verify", audit, "--verifier", "\(audit)/verifier.key"])
    return (result.status == 0, result.output.split(separator: "\n").first.map(String.init) ?? "")
  }

  private var audit: String { "\(vault.path)/audit" }

  /// Every good answer has one record that says that it was allowed, on what it was about.
  private func readAudit(_ counts: VaultCounts, _ report: inout Report) throws {
    var targets: [String: [String]] = [:]
    try AuditFiles(folders: [audit]).forEach { (record) throws(KeyCustodyError) in
      if record.event.outcome == .allowed { targets[record.event.requestID, default: []].append(record.event.target) }
      return true
    }
    for (request, thing) in counts.answered {
      let found = targets[request] ?? []
      if found.count > 1 { report.doubled += 1 }
      let isThere = found.contains { $0.lowercased().split(separator: "/").contains(Substring(thing.lowercased())) }
      if !isThere {
        report.missing += 1
        report.wrong.append("\(request) on \(thing) is not in the audit log: \(found)")
      }
    }
  }

  /// Every key version of the provider is named in a record.
  private func readKeys(_ report: inout Report) async throws {
    let plugins = [FilePlugin.plugin, SQLitePlugin.plugin]
    let (root, environment) = (try vault.configuration().root, RuntimeEnvironment(baseDirectory: vault.path))
    let records = try await plugins.openPolicyStore(root.section("policyStores").section("state"), environment)
    var named: Set<Substring> = []
    var last: RecordKey?
    while true {
      let page = try await records.list(prefix: "", after: last, limit: 500)
      for record in page {
        let text = "\(record.key) \(String(decoding: record.value, as: UTF8.self))"
        named.formUnion(text.split { !$0.isHexDigit }.filter { $0.utf8.count == 32 })
      }
      guard let end = page.last else { break }
      last = end.key
    }
    await records.close()
    let keys = try await plugins.openKeyProvider(root.section("keyProviders").section("software"), environment)
    var after: KeyVersionID?
    while let page = try await keys.inventory?.versions(after: after, limit: 500), let end = page.last {
      report.keys += page.count
      for version in page where !named.contains("\(version)") {
        report.orphans += 1
        report.wrong.append("key version \(version) is in no record")
      }
      after = end
    }
    report.leftovers = try await keys.inventory?.leftovers().count ?? 0
    await keys.close()
  }
}
