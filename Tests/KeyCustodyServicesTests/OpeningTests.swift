import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyMemory
import KeyCustodyTesting
import KeyCustodyVault
import Synchronization
import Testing

@testable import KeyCustodyServices

/// Opening a deployment: what is wrong is said, and leaves nothing open.
struct OpeningTests {
  /// Counts what is open.
  private final class Counter: Sendable {
    let opened = Atomic(0)
    let closed = Atomic(0)
    var balance: Int { opened.load(ordering: .relaxed) - closed.load(ordering: .relaxed) }

    func plugin(_ inner: Plugin) -> Plugin {
      Plugin(
        name: "counted",
        keyProvider: { (section, environment) throws(KeyCustodyError) in
          let opening = try inner.keyProvider?(section, environment)
          return { () async throws(KeyCustodyError) in
            guard let provider = try await opening?() else { throw down }
            self.opened.add(1, ordering: .relaxed)
            return CountedProvider(inner: provider, counter: self)
          }
        },
        policyStore: { (section, environment) throws(KeyCustodyError) in
          let opening = try inner.policyStore?(section, environment)
          return { () async throws(KeyCustodyError) in
            guard let store = try await opening?() else { throw down }
            self.opened.add(1, ordering: .relaxed)
            return CountedStore(inner: store, counter: self)
          }
        })
    }
  }

  private static func configuration(
    _ change: (inout [String: [String: ConfigurationValue]]) -> Void = { _ in }
  ) -> KeyCustodyConfiguration {
    var sections: [String: [String: ConfigurationValue]] = [
      "keyProviders": ["a": ["plugin": "counted"], "b": ["plugin": "counted", "name": "b"]],
      "policyStores": ["state": ["plugin": "counted"]],
      "service": ["keyProvider": "a", "policyStore": "state"],
    ]
    change(&sections)
    return KeyCustodyConfiguration(sections.mapValues { .section($0) })
  }

  struct Mistake: Sendable, CustomTestStringConvertible {
    var name: String
    var reason: KeyCustodyError.Reason
    var hint: String
    var change: @Sendable (inout [String: [String: ConfigurationValue]]) -> Void
    var testDescription: String { name }
  }

  static let mistakes: [Mistake] = [
    Mistake(name: "an unknown key names the nearest", reason: .unknownConfigurationKey, hint: "leaseSeconds") {
      $0["service"]?["leaseSecond"] = 5
    },
    Mistake(name: "an unknown key of a backend", reason: .unknownConfigurationKey, hint: "keyProviders.b.name") {
      $0["keyProviders"]?["b"] = ["plugin": "counted", "nam": "b"]
    },
    Mistake(name: "an unknown key of a policy store", reason: .unknownConfigurationKey, hint: "policyStores.state.name")
    {
      $0["policyStores"]?["state"] = ["plugin": "counted", "nme": "x"]
    },
    Mistake(name: "an unknown section", reason: .unknownConfigurationKey, hint: "vaults") {
      $0["vault"] = ["domain": "x.test"]
    },
    Mistake(name: "an unknown key of a section of ours", reason: .unknownConfigurationKey, hint: "vaults.domain") {
      $0["vaults"] = ["domian": "x.test"]
    },
    Mistake(
      name: "no key provider of the service", reason: .missingConfigurationKey, hint: "KEYCUSTODY_SERVICE_KEY_PROVIDER"
    ) {
      $0["service"]?["keyProvider"] = nil
    },
    Mistake(
      name: "no policy store of the service", reason: .missingConfigurationKey, hint: "KEYCUSTODY_SERVICE_POLICY_STORE"
    ) {
      $0["service"]?["policyStore"] = nil
    },
    Mistake(name: "no service at all", reason: .missingConfigurationKey, hint: "KEYCUSTODY_SERVICE") {
      $0["service"] = nil
    },
    Mistake(name: "a key provider that is not there", reason: .badConfigurationValue, hint: "a, b") {
      $0["service"]?["keyProvider"] = "c"
    },
    Mistake(name: "a policy store that is not there", reason: .badConfigurationValue, hint: "state") {
      $0["service"]?["policyStore"] = "c"
    },
    Mistake(name: "an identity key provider that is not there", reason: .badConfigurationValue, hint: "a, b") {
      $0["identity"] = ["keyProvider": "c"]
    },
    Mistake(name: "a plugin that is not there", reason: .badConfigurationValue, hint: "counted") {
      $0["policyStores"]?["other"] = ["plugin": "oracle"]
    },
    Mistake(name: "no plugin", reason: .missingConfigurationKey, hint: "KEYCUSTODY_KEY_PROVIDERS_B_PLUGIN") {
      $0["keyProviders"]?["b"] = ["name": "b"]
    },
    Mistake(name: "a lease too long", reason: .badConfigurationValue, hint: "") {
      $0["service"]?["leaseSeconds"] = 901
    },
    Mistake(name: "a lease below zero", reason: .badConfigurationValue, hint: "") {
      $0["service"]?["leaseSeconds"] = -1
    },
    Mistake(name: "a lease that is no number", reason: .badConfigurationValue, hint: "") {
      $0["service"]?["leaseSeconds"] = "long"
    },
    Mistake(name: "a tenant that is no name", reason: .badName, hint: "") { $0["service"]?["tenant"] = "no spaces" },
    Mistake(name: "a key type there is not", reason: .wrongKeyType, hint: "aes-256") {
      $0["service"]?["keyType"] = "aes-512"
    },
    Mistake(name: "a service KEK that can't wrap", reason: .wrongKeyType, hint: "") {
      $0["service"]?["keyType"] = "ec-p256"
    },
    Mistake(name: "a domain that is none", reason: .malformed, hint: "") { $0["vaults"] = ["domain": "a b"] },
  ]

  @Test(
    "A wrong configuration says what is wrong and what would be right, and leaves nothing open", arguments: mistakes)
  func wrong(_ mistake: Mistake) async throws {
    let counter = Counter()
    let memory = MemoryPlugin()
    let refused = await failure {
      let custody = try await KeyCustody.open(
        Self.configuration(mistake.change), plugins: [counter.plugin(memory.plugin)])
      await custody.close()
    }
    #expect(refused?.code == .invalidInput)
    #expect(refused?.reason == mistake.reason)
    let text = refused?.description ?? ""
    #expect(text.contains(mistake.hint), "it names '\(mistake.hint)': \(text)")
    #expect(counter.balance == 0, "everything opened is closed again")
  }

  @Test("A right configuration opens every backend once, and closing closes them")
  func right() async throws {
    let counter = Counter()
    let memory = MemoryPlugin()
    for lease in [0, 900] {
      let custody = try await KeyCustody.open(
        Self.configuration { $0["service"]?["leaseSeconds"] = .integer(lease) },
        plugins: [counter.plugin(memory.plugin)])
      #expect(custody.leases.duration == .seconds(lease))
      #expect(counter.balance == 3)
      await custody.close()
      #expect(counter.balance == 0)
    }
  }

  @Test("E12: openings at once, on fresh backends, make the service's keys once, and read each other's data")
  func bootstrapRace() async throws {
    let memory = MemoryPlugin()
    let opened = try await withThrowingTaskGroup(of: KeyCustody.self) { group in
      for _ in 0..<4 {
        group.addTask {
          try await KeyCustody.open(
            Self.configuration(), plugins: [Counter().plugin(memory.plugin)], audit: RecordingAuditSink())
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    let versions = try await opened[0].keyProviders["a"]?.inventory?.versions(after: nil, limit: 10)
    #expect(versions?.count == 3, "a KEK for each layer and the key that signs tokens")
    let notes = try await opened[0].createResource(ResourceID("notes"), tenant: TenantID("contoso"))
    let sealed = try await notes.seal([1], as: "value")
    for custody in opened {
      #expect(try await custody.resource(notes.id).open(sealed, as: "value") == [1])
      await custody.close()
    }
  }

  @Test("E12: the service's bootstrap survives a fault at every step, with one KEK for each layer in the end")
  func bootstrapFaults() async throws {
    var runs = 0
    for moment in [FaultPlan<FaultingPolicyStore.Operation>.Moment.before, .after] {
      for call in 1... {
        let memory = MemoryPlugin()
        let plan = FaultPlan<FaultingPolicyStore.Operation>()
        plan.fail(.compareAndSet, call: call, moment, with: moment == .before ? down : lost)
        let counter = Counter()
        let faulty = Plugin(
          name: "faulty",
          policyStore: { (section, environment) throws(KeyCustodyError) in
            let opening = try counter.plugin(memory.plugin).policyStore?(section, environment)
            return { () async throws(KeyCustodyError) in
              guard let store = try await opening?() else { throw down }
              return FaultingPolicyStore(store, plan: plan)
            }
          })
        let configuration = { Self.configuration { $0["policyStores"] = ["state": ["plugin": "faulty"]] } }
        let plugins = [counter.plugin(memory.plugin), faulty]
        let failed = await failure {
          await (try await KeyCustody.open(configuration(), plugins: plugins, audit: RecordingAuditSink())).close()
        }
        guard plan.calls(of: .compareAndSet) >= call else { break }
        runs += 1
        #expect(failed != nil && counter.balance == 0)
        let custody = try await KeyCustody.open(configuration(), plugins: plugins, audit: RecordingAuditSink())
        let versions = try await custody.keyProviders["a"]?.inventory?.versions(after: nil, limit: 10)
        #expect(versions?.count == 3, "\(call) \(moment)")
        let notes = try await custody.createResource(ResourceID("notes"), tenant: TenantID("contoso"))
        try await notes.roundTrip()
        await custody.close()
      }
    }
    print("bootstrap: \(runs) faults")
    #expect(runs > 10)
  }

  @Test("E12: another backend behind the service's key provider is refused, and nothing stays open")
  func swapped() async throws {
    let memory = MemoryPlugin()
    let counter = Counter()
    let custody = try await KeyCustody.open(
      Self.configuration { $0["identity"] = ["keyProvider": "b"] }, plugins: [counter.plugin(memory.plugin)])
    await custody.close()
    let refused = await failure {
      _ = try await KeyCustody.open(
        Self.configuration {
          $0["identity"] = ["keyProvider": "b"]
          $0["keyProviders"]?["a"] = ["plugin": "counted", "name": "another"]
        }, plugins: [counter.plugin(memory.plugin)])
    }
    #expect(refused?.reason == .backendMismatch)
    #expect(counter.balance == 0)
  }

  @Test("E12: only the service's own principal can use the service's keys")
  func ownKeys() async throws {
    let bench = try await ServiceBench()
    let key = try await bench.makeResource().custody.vaults.uri(
      VaultName(ServiceKeys.vaultName), ServiceKeys.keyName(.customer))
    let secret = SecretBytes(copying: [UInt8](repeating: 1, count: 32))
    for stranger in ["contoso/owner", "service/somebody"] {
      var caller = bench.owner
      caller.id = try PrincipalID(stranger)
      let refused = await failure {
        _ = try await bench.custody.vaults.wrap(
          secret, with: key, algorithm: .aes256KW, as: caller, context: bench.context)
      }
      #expect(refused?.code == .denied)
    }
  }

  private struct CountedProvider: KeyProvider {
    let inner: any KeyProvider
    let counter: Counter
    var identity: ProviderIdentity { inner.identity }
    var capabilities: KeyProviderCapabilities { inner.capabilities }
    var inventory: (any KeyInventory)? { inner.inventory }
    func events() -> AsyncStream<KeyProviderEvent> { inner.events() }
    func close() async {
      counter.closed.add(1, ordering: .relaxed)
      await inner.close()
    }
    func generate(
      _ request: GenerateKeyRequest, context: CallContext
    ) async throws(KeyCustodyError) -> KeyDescription { try await inner.generate(request, context: context) }
    func importKey(
      _ material: borrowing SecretBytes, as request: GenerateKeyRequest, context: CallContext
    ) async throws(KeyCustodyError) -> KeyDescription {
      try await inner.importKey(material, as: request, context: context)
    }
    func describe(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) -> KeyDescription {
      try await inner.describe(version, context: context)
    }
    func destroy(_ version: KeyVersionID, context: CallContext) async throws(KeyCustodyError) {
      try await inner.destroy(version, context: context)
    }
    func wrap(
      _ secret: borrowing SecretBytes, with request: WrapRequest
    ) async throws(KeyCustodyError) -> WrappedSecret { try await inner.wrap(secret, with: request) }
    func unwrap(_ wrapped: [UInt8], with request: WrapRequest) async throws(KeyCustodyError) -> SecretBytes {
      try await inner.unwrap(wrapped, with: request)
    }
    func sign(_ digest: [UInt8], with request: SignRequest) async throws(KeyCustodyError) -> [UInt8] {
      try await inner.sign(digest, with: request)
    }
    func probe(_ version: KeyVersionID?, context: CallContext) async throws(KeyCustodyError) {
      try await inner.probe(version, context: context)
    }
  }

  private struct CountedStore: PolicyStore {
    let inner: any PolicyStore
    let counter: Counter
    var identity: ProviderIdentity { inner.identity }
    func read(_ key: RecordKey) async throws(KeyCustodyError) -> PolicyRecord? { try await inner.read(key) }
    func compareAndSet(
      _ key: RecordKey, expecting revision: StoreRevision?, value: [UInt8]
    ) async throws(KeyCustodyError) -> StoreOutcome {
      try await inner.compareAndSet(key, expecting: revision, value: value)
    }
    func delete(
      _ key: RecordKey, expecting revision: StoreRevision
    ) async throws(KeyCustodyError) -> StoreOutcome { try await inner.delete(key, expecting: revision) }
    func list(prefix: String, after key: RecordKey?, limit: Int) async throws(KeyCustodyError) -> [PolicyRecord] {
      try await inner.list(prefix: prefix, after: key, limit: limit)
    }
    func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange> {
      try await inner.watch(since: revision)
    }
    func currentRevision() async throws(KeyCustodyError) -> StoreRevision { try await inner.currentRevision() }
    func close() async {
      counter.closed.add(1, ordering: .relaxed)
      await inner.close()
    }
  }
}
