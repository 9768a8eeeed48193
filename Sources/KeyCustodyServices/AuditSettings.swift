import KeyCustody
import KeyCustodyVault

/// The section `audit` of a configuration.
struct AuditSettings: Sendable {
  private var log: AuditLog.Settings
  private var keyProvider: HostSettings.Choice
  private var policyStore: HostSettings.Choice

  /// Reads the section; `nil` when it is not there.
  init?(
    _ section: ConfigurationSection, domain: String, keyProvider: HostSettings.Choice, policyStore: HostSettings.Choice
  ) throws(KeyCustodyError) {
    // Asked for by itself too: it may stand in the environment alone.
    let folder = try section.string("folder")
    let exists = try section.exists()
    guard folder != nil || exists else { return nil }
    log = AuditLog.Settings(
      folder: try section.requiredString("folder"), origin: try section.string("origin") ?? "\(domain)/audit")
    log.fileSize = (try section.integer("fileMegabytes", in: 1...4096) ?? 64) << 20
    log.checkpointRecords = try section.integer("checkpointRecords", in: 1...1_000_000) ?? 1000
    log.checkpointInterval = .seconds(try section.integer("checkpointSeconds", in: 1...86_400) ?? 60)
    log.deadline = .seconds(try section.integer("deadlineSeconds", in: 1...60) ?? 5)
    self.keyProvider = try HostSettings.Choice("keyProvider", in: section) ?? keyProvider
    self.policyStore = try HostSettings.Choice("policyStore", in: section) ?? policyStore
    try section.refuseUnknownKeys()
  }

  func open(_ backends: Backends, _ environment: RuntimeEnvironment) async throws(KeyCustodyError) -> AuditLog {
    var settings = log
    settings.folder = environment.path(log.folder)
    return try await AuditLog.open(
      settings, store: try backends.policyStore(policyStore),
      signer: try backends.keyProvider(keyProvider), environment: environment)
  }
}
