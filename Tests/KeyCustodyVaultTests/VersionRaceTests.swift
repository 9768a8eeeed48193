import KeyCustody
import KeyCustodyTesting
import Testing

@testable import KeyCustodyVault

/// Creations, imports and restorations of one name that overtake each other.
struct VersionRaceTests {
  enum Rival: CaseIterable, Sendable { case otherType, importing, restoring, repeating }

  private static func named(_ name: String?) -> CallContext {
    CallContext(purpose: .vault, requestID: "request-7", clientRequestID: name)
  }

  /// Lets something happen before the `number`th write of the key from now on.
  private static func before(
    _ number: Int, of gate: GatedStore, _ body: @escaping @Sendable () async throws -> Void
  ) {
    gate.onWrite {
      if number == 1 { try await body() } else { before(number - 1, of: gate, body) }
    }
  }

  /// Runs two changes at once: the second when only the last write of the first is left.
  ///
  /// - Parameter write: of the second, before which the first goes on and ends; after all of them, if it has fewer.
  private static func race(
    _ bench: VaultBench, before write: Int, _ first: @escaping @Sendable (Vaults) async throws -> Void,
    _ second: @escaping @Sendable (Vaults) async throws -> Void
  ) async -> (first: KeyCustodyError?, second: KeyCustodyError?) {
    func gated() -> (Vaults, GatedStore) {
      let gate = GatedStore(bench.records, before: "vaults/kv1/keys/key")
      let vaults = Vaults(
        store: gate, providers: ["keys": bench.keys], domain: "vault.test", audit: bench.audit,
        environment: RuntimeEnvironment(time: bench.clock))
      return (vaults, gate)
    }
    let (vaults, gate) = gated()
    let (others, othersGate) = gated()
    let (reached, reach) = AsyncStream<Void>.makeStream()
    let (released, release) = AsyncStream<Void>.makeStream()
    before(2, of: gate) {
      reach.finish()
      for await _ in released {}
    }
    let running = Task {
      let outcome = await failure { try await first(vaults) }
      reach.finish()
      return outcome
    }
    for await _ in reached {}
    before(write, of: othersGate) {
      release.finish()
      _ = await running.value
    }
    let outcome = await failure { try await second(others) }
    release.finish()
    return (await running.value, outcome)
  }

  private static func create(
    _ bench: VaultBench, _ vaults: Vaults, _ type: KeyType = .aes(bits: 256), _ role: KeyRole = .wrapping
  ) async throws {
    try await vaults.createKey(bench.uri("key"), type: type, role: role, as: bench.owner, context: bench.context)
  }

  private static func importKey(_ bench: VaultBench, _ vaults: Vaults, _ request: String?) async throws {
    try await vaults.importKey(
      bench.secret(9), to: bench.uri("key"), type: .aes(bits: 256), role: .wrapping, as: bench.owner,
      context: named(request))
  }

  /// A backup of a key of that name, which is gone.
  private static func backup(_ bench: VaultBench) async throws -> [UInt8] {
    let (vaults, owner, context) = (bench.vaults, bench.owner, bench.context)
    let key = try await vaults.createKey(
      bench.uri("key"), type: .aes(bits: 256), role: .wrapping, isBackupable: true, as: owner, context: context
    ).uri
    let blob = try await vaults.backUpKey(key, as: owner, context: context)
    try await vaults.deleteKey(key, as: owner, context: context)
    try await vaults.purgeKey(key, as: owner, context: context)
    return blob
  }

  @Test("V7: nobody is answered with a key whose material somebody else destroys", arguments: Rival.allCases)
  func acknowledged(_ rival: Rival) async throws {
    let bench = try await VaultBench()
    let blob = rival == .restoring ? try await Self.backup(bench) : []
    // What backups are sealed by.
    let standing = try await bench.inventory()
    // Its second write is the one by which a rival takes the place of what the first has entered.
    let outcome = await Self.race(bench, before: 2) { vaults in
      if rival == .repeating {
        try await Self.importKey(bench, vaults, "once")
      } else {
        try await Self.create(bench, vaults)
      }
    } _: { vaults in
      switch rival {
      case .otherType: try await Self.create(bench, vaults, .ec(.p256), .signing)
      case .importing: try await Self.importKey(bench, vaults, nil)
      case .restoring: _ = try await vaults.restoreKey(blob, in: bench.vault, as: bench.owner, context: bench.context)
      case .repeating: try await Self.importKey(bench, vaults, "once")
      }
    }
    #expect(outcome.first == nil)
    #expect(try await bench.inventory().subtracting(standing) == Set(try await bench.recorded().map(\.version)))
    #expect(try await bench.unwrap(bench.wrap(bench.uri("key"))))
    let versions = try await bench.vaults.key(bench.uri("key"), as: bench.owner, context: bench.context).versions
    switch rival {
    case .otherType: #expect(outcome.second == error(.invalidInput, .alreadyExists) && versions.count == 1)
    case .importing: #expect(outcome.second == nil && versions.count == 2)
    case .restoring: #expect(outcome.second == error(.busy, .conflict) && versions.count == 1)
    case .repeating: #expect(outcome.second == nil && versions.count == 1)
    }
  }

  @Test("V7: whose version makes way for somebody else's is told so, and leaves nothing behind")
  func madeWay() async throws {
    let bench = try await VaultBench()
    let outcome = await Self.race(bench, before: 3) { vaults in
      try await Self.create(bench, vaults)
    } _: { vaults in
      try await Self.create(bench, vaults, .ec(.p256), .signing)
    }
    #expect(outcome.first == error(.busy, .conflict))
    #expect(outcome.second == nil)
    let key = try await bench.vaults.key(bench.uri("key"), as: bench.owner, context: bench.context)
    #expect(key.type == .ec(.p256) && key.versions.count == 1)
    #expect(try await bench.inventory() == Set(key.versions.map(\.version)))
  }

  @Test("V1: two creations of a new name at once give two versions, each with its own attributes")
  func ownAttributes() async throws {
    let bench = try await VaultBench()
    let expires = bench.clock.now() + VaultBench.day
    @Sendable func create(_ vaults: Vaults, _ request: String, _ attributes: KeyAttributes) async throws {
      let made = try await vaults.createKey(
        bench.uri("key"), type: .aes(bits: 256), role: .wrapping, attributes: attributes, onExisting: .addVersion,
        as: bench.owner, context: Self.named(request))
      #expect(made.attributes.expires == attributes.expires, "\(request)")
      #expect(made.attributes.chosenOperations == attributes.operations.map { Array($0) }, "\(request)")
    }
    let outcome = await Self.race(bench, before: .max) { vaults in
      try await create(vaults, "a", KeyAttributes(expires: expires, operations: [.wrapKey]))
    } _: { vaults in
      try await create(vaults, "b", KeyAttributes())
    }
    #expect(outcome.first == nil && outcome.second == nil)
    let versions = try await bench.vaults.key(bench.uri("key"), as: bench.owner, context: bench.context).versions
    #expect(versions.count == 2)
    #expect(versions.contains { $0.expires == expires && $0.chosenOperations == [.wrapKey] })
    #expect(versions.contains { $0.expires == nil && $0.chosenOperations == nil })
    try await bench.checkWhole("two creations")
  }

  @Test("V7: a creation that goes on with one that was cut off has its own attributes", arguments: [nil, "a"])
  func resumed(_ request: String?) async throws {
    let bench = try await VaultBench()
    let tagged = KeyAttributes(expires: bench.clock.now() + VaultBench.day, tags: ["a": "b"])
    bench.keyFaults.failNext(.generate, .after, with: lost)
    await #expect(throws: lost) {
      try await bench.vaults.createKey(
        bench.uri("key"), type: .aes(bits: 256), role: .wrapping, attributes: tagged, as: bench.owner,
        context: Self.named(request))
    }
    let before = try await bench.inventory()
    let made = try await bench.vaults.createKey(
      bench.uri("key"), type: .aes(bits: 256), role: .wrapping, as: bench.owner, context: bench.context)
    #expect(made.attributes.tags.isEmpty && made.attributes.expires == nil)
    let held = try await bench.inventory()
    #expect(held == [made.attributes.version])
    #expect((held == before) == (request == nil), "a named request's version is nobody else's")
  }
}
