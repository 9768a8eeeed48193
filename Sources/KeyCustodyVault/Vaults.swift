public import KeyCustody
import Synchronization

/// The vaults of a deployment: identity → policy → key lifecycle → provider → audit → answer.
///
/// Management of vaults themselves (making them, their rules) is for the host program, which says for whom it acts
/// (``Administrator``); everything on keys takes an authenticated ``Principal`` and is decided by the vault's rules.
public final class Vaults: Sendable {
  /// Told of a change before the call that made it is answered.
  public let observers = Observers<VaultChange>()
  /// The domain under which vaults have their addresses.
  public let domain: String
  let records: RecordView<VaultRecord>
  let policies: RecordView<AccessPolicy>
  let keys: RecordView<KeyRecord>
  let internalKeys: RecordView<InternalKeyRecord>
  let secrets: RecordView<SecretRecord>
  let secretValues: RecordView<SealedValue>
  let providers: [String: any KeyProvider]
  let dependents = Mutex<[DependentSource]>([])
  let audit: any AuditSink
  let environment: RuntimeEnvironment
  let observed: ObservedTime
  let requests: RequestLedger
  private let changes = Mutex<UInt64>(0)

  /// Vaults whose records are in `store` and whose keys are in `providers`, by their names in the configuration.
  public init(
    store: any PolicyStore, providers: [String: any KeyProvider], domain: String, audit: any AuditSink,
    environment: RuntimeEnvironment
  ) {
    records = RecordView(store)
    policies = RecordView(store)
    keys = RecordView(store)
    internalKeys = RecordView(store)
    secrets = RecordView(store)
    secretValues = RecordView(store)
    self.providers = providers
    self.domain = domain
    self.audit = audit
    self.environment = environment
    observed = ObservedTime(store: store, time: environment.time)
    requests = RequestLedger(store: store, environment: environment)
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

  /// A vault's definition; `nil` when there is none.
  public func definition(_ name: VaultName) async throws(KeyCustodyError) -> VaultDefinition? {
    guard let record = try await records.read(try Self.path(name, "definition")), record.deletion == nil else {
      return nil
    }
    return record.definition
  }

  /// Every vault there is.
  public func definitions() async throws(KeyCustodyError) -> [VaultDefinition] {
    try await everyRecord().filter { $0.deletion == nil }.map(\.definition)
  }

  /// Every vault there is or was.
  func everyRecord() async throws(KeyCustodyError) -> [VaultRecord] {
    var found: [VaultRecord] = []
    var last: RecordKey?
    // From one vault to the next, past all that lies in it: "~" comes after every other character of a name.
    while let record = try await records.store.list(prefix: "vaults/", after: last, limit: 1).first {
      let folder = record.key.description.split(separator: "/").prefix(2).joined(separator: "/")
      if let vault = try await records.read(try RecordKey("\(folder)/definition")) { found.append(vault) }
      last = try RecordKey("\(folder)/~")
    }
    return found
  }

  /// The address of a key.
  public func uri(_ vault: VaultName, _ key: KeyName, version: KeyVersionID? = nil) -> KeyURI {
    KeyURI(authority: "\(vault.folded).\(domain)", name: key, version: version)
  }

  func required(_ name: VaultName) async throws(KeyCustodyError) -> VaultRecord {
    guard let record = try await records.read(try Self.path(name, "definition")), record.deletion == nil else {
      throw VaultErrors.vaultUnknown(name)
    }
    return record
  }

  /// The provider of a vault's keys of that protection, provided it is the backend the vault was made on.
  func provider(
    of record: VaultRecord, _ protection: KeyProtection = .software
  ) throws(KeyCustodyError) -> any KeyProvider {
    let (name, expected) =
      switch protection {
      case .software: (Optional(record.definition.keyProvider), Optional(record.provider))
      case .hsm: (record.definition.hsmKeyProvider, record.hsmProvider)
      }
    guard let name, let expected else {
      throw KeyCustodyError(
        .unsupported, .notOffered, "The vault '\(record.definition.name)' has no HSM-protected keys.",
        remedy: "Use a software-protected type, or a vault that was made with an HSM key provider.")
    }
    guard let provider = providers[name], provider.identity == expected else {
      let found = providers[name].map { "is '\($0.identity)'" } ?? "is missing"
      throw KeyCustodyError(
        .unavailable, .backendMismatch,
        "The vault '\(record.definition.name)' has keys in '\(expected)', but the key provider '\(name)' \(found).",
        remedy: "Point keyProviders.\(name) at the backend that holds the keys.")
    }
    return provider
  }

  static func path(_ vault: VaultName, _ name: String) throws(KeyCustodyError) -> RecordKey {
    try RecordKey("vaults/\(vault.folded)/\(name)")
  }

  static func path(_ uri: KeyURI) throws(KeyCustodyError) -> RecordKey {
    try RecordKey("vaults/\(try uri.vault.folded)/keys/\(uri.name.folded)")
  }
}
