public import KeyCustody
import Synchronization

/// The vaults of a deployment: identity → policy → key lifecycle → provider → audit → answer.
///
/// Management of vaults themselves (making them, their rules) is for the host program and takes no caller; everything
/// on keys takes an authenticated ``Principal`` and is decided by the vault's rules.
public final class Vaults: Sendable {
  /// Told of a change before the call that made it is answered.
  public let observers = Observers<VaultChange>()
  /// The domain under which vaults have their addresses.
  public let domain: String
  let records: RecordView<VaultRecord>
  let policies: RecordView<AccessPolicy>
  let keys: RecordView<KeyRecord>
  let providers: [String: any KeyProvider]
  let audit: any AuditSink
  let environment: RuntimeEnvironment
  private let changes = Mutex<UInt64>(0)

  /// Vaults whose records are in `store` and whose keys are in `providers`, by their names in the configuration.
  public init(
    store: any PolicyStore, providers: [String: any KeyProvider], domain: String, audit: any AuditSink,
    environment: RuntimeEnvironment
  ) {
    records = RecordView(store)
    policies = RecordView(store)
    keys = RecordView(store)
    self.providers = providers
    self.domain = domain
    self.audit = audit
    self.environment = environment
  }

  /// Grows with every change that may have taken away access.
  ///
  /// Whoever keeps something that access was needed for compares it before and after, and does not keep it when it
  /// moved.
  public var changeCount: UInt64 { changes.withLock { $0 } }

  func tell(_ change: VaultChange) {
    changes.withLock { $0 += 1 }
    observers.tell(change)
  }

  // MARK: Vaults

  /// Makes a vault without any rules: nobody may do anything yet.
  ///
  /// - Throws: `invalidInput` (`already-exists`, `wrong-size`, `bad-configuration-value`).
  public func create(_ definition: VaultDefinition) async throws(KeyCustodyError) {
    guard (7...90).contains(definition.softDeleteDays) else {
      throw KeyCustodyError(.invalidInput, .wrongSize, "A deleted key is kept for 7 to 90 days.")
    }
    guard let provider = providers[definition.keyProvider] else {
      throw KeyCustodyError(
        .invalidInput, .badConfigurationValue, "There is no key provider '\(definition.keyProvider)'.",
        remedy: "Use one of: \(providers.keys.sorted().joined(separator: ", ")).")
    }
    let record = VaultRecord(definition: definition, provider: provider.identity, created: environment.time.now())
    guard try await records.create(try Self.path(definition.name, "definition"), record) else {
      throw KeyCustodyError(.invalidInput, .alreadyExists, "The vault '\(definition.name)' exists already.")
    }
  }

  /// A vault's definition; `nil` when there is none.
  public func definition(_ name: VaultName) async throws(KeyCustodyError) -> VaultDefinition? {
    try await records.read(try Self.path(name, "definition"))?.definition
  }

  /// Every vault there is.
  public func definitions() async throws(KeyCustodyError) -> [VaultDefinition] {
    var found: [VaultDefinition] = []
    var last: RecordKey?
    while true {
      let page = try await records.store.list(prefix: "vaults/", after: last, limit: PolicyStoreLimits.pageSize)
      for name in page where name.key.description.hasSuffix("/definition") {
        if let record = try await records.read(name.key) { found.append(record.definition) }
      }
      last = page.last?.key
      if page.count < PolicyStoreLimits.pageSize { return found }
    }
  }

  /// Turns purge protection on, for good.
  public func enablePurgeProtection(_ name: VaultName) async throws(KeyCustodyError) {
    guard try await records.update(try Self.path(name, "definition"), { $0.definition.purgeProtection = true }) != nil
    else { throw VaultErrors.vaultUnknown(name) }
  }

  /// Sets the rule of that name, replacing an earlier one.
  public func setRule(_ rule: AccessRule, in vault: VaultName) async throws(KeyCustodyError) {
    _ = try await required(vault)
    let path = try Self.path(vault, "policy")
    // Told whatever comes of it: of a lost answer nobody knows.
    var concerned: Set = [rule.principal]
    defer { tell(.policy(vault, concerned)) }
    _ = try await policies.create(path, AccessPolicy())
    try await policies.update(path) { policy in
      concerned.formUnion(policy.rules.filter { $0.name == rule.name }.map(\.principal))
      policy.rules.removeAll { $0.name == rule.name }
      policy.rules.append(rule)
    }
  }

  /// Removes the rule of that name; acts at once.
  public func removeRule(_ name: String, in vault: VaultName) async throws(KeyCustodyError) {
    _ = try await required(vault)
    var concerned: Set<PrincipalID> = []
    defer { tell(.policy(vault, concerned)) }
    try await policies.update(try Self.path(vault, "policy")) { policy in
      concerned.formUnion(policy.rules.filter { $0.name == name }.map(\.principal))
      policy.rules.removeAll { $0.name == name }
    }
  }

  /// The rules of a vault.
  public func policy(of vault: VaultName) async throws(KeyCustodyError) -> AccessPolicy {
    _ = try await required(vault)
    return try await policies.read(try Self.path(vault, "policy")) ?? AccessPolicy()
  }

  /// The address of a key.
  public func uri(_ vault: VaultName, _ key: KeyName, version: KeyVersionID? = nil) -> KeyURI {
    KeyURI(authority: "\(vault.folded).\(domain)", name: key, version: version)
  }

  // MARK: The way of every operation on keys

  /// What an operation works on, once it is allowed.
  struct Admission {
    var vault: VaultDefinition
    var provider: any KeyProvider
    var rule: String
  }

  func required(_ name: VaultName) async throws(KeyCustodyError) -> VaultRecord {
    guard let record = try await records.read(try Self.path(name, "definition")) else {
      throw VaultErrors.vaultUnknown(name)
    }
    return record
  }

  /// The provider of a vault, provided it is the backend the vault was made on.
  func provider(of record: VaultRecord) throws(KeyCustodyError) -> any KeyProvider {
    guard let provider = providers[record.definition.keyProvider], provider.identity == record.provider else {
      let found = providers[record.definition.keyProvider].map { "is '\($0.identity)'" } ?? "is missing"
      throw KeyCustodyError(
        .unavailable, .backendMismatch,
        "The vault '\(record.definition.name)' has its keys in '\(record.provider)', but the key provider "
          + "'\(record.definition.keyProvider)' \(found).",
        remedy: "Point keyProviders.\(record.definition.keyProvider) at the backend that holds the keys.")
    }
    return provider
  }

  /// Lets `body` happen if the rules allow it, and answers only when what happened is in the audit log.
  func perform<Result>(
    _ permission: KeyPermission, on uri: KeyURI, as caller: Principal, context: CallContext,
    _ body: (Admission) async throws(KeyCustodyError) -> (Result, KeyURI)
  ) async throws(KeyCustodyError) -> Result {
    var event = AuditEvent(
      time: environment.time.now(), principal: caller.id.description, method: caller.method.rawValue,
      action: permission.rawValue, target: uri.description, resource: context.resource?.spelling, rule: "-",
      outcome: .failed, error: nil, requestID: context.requestID)
    do throws(KeyCustodyError) {
      guard uri.authority == "\(try uri.vault.folded).\(domain)" else { throw VaultErrors.vaultUnknown(try uri.vault) }
      let record = try await required(try uri.vault)
      let decision = try await policy(of: record.definition.name).decide(
        AccessRequest(principal: caller, permission: permission, tenant: record.definition.tenant))
      let isExpired = decision.isAllowed && caller.expires <= environment.time.now()
      event.rule = isExpired ? "expired" : decision.rule
      guard decision.isAllowed, !isExpired else {
        event.outcome = .refused
        throw VaultErrors.denied(caller.id, permission, uri.description, rule: event.rule)
      }
      let admission = Admission(
        vault: record.definition, provider: try provider(of: record), rule: decision.rule)
      if permission.changesSomething {
        // What can't be recorded must not happen, and a change can't be taken back afterwards.
        var intent = event
        intent.outcome = .intended
        try await audit.record(intent)
      }
      let (result, target) = try await body(admission)
      event.outcome = .allowed
      event.target = target.description
      try await audit.record(event)
      return result
    } catch {
      guard event.outcome != .allowed else { throw error }
      event.error = "\(error.code.rawValue)/\(error.reason.rawValue)"
      try await audit.record(event)
      throw error
    }
  }

  static func path(_ vault: VaultName, _ name: String) throws(KeyCustodyError) -> RecordKey {
    try RecordKey("vaults/\(vault.folded)/\(name)")
  }

  static func path(_ uri: KeyURI) throws(KeyCustodyError) -> RecordKey {
    try RecordKey("vaults/\(try uri.vault.folded)/keys/\(uri.name.folded)")
  }
}

extension KeyPermission {
  /// Whether what it allows changes a key, or its provider.
  fileprivate var changesSomething: Bool {
    switch self {
    case .create, .import, .update, .delete, .recover, .purge, .restore, .rotate, .setRotationPolicy: true
    case .get, .list, .backup, .encrypt, .decrypt, .wrapKey, .unwrapKey, .sign, .verify, .getRotationPolicy: false
    }
  }
}
