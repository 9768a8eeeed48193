import KeyCustody
import KeyCustodyTesting
import KeyCustodyVault
import Testing

/// A change asked for again under the caller's own name for it is made once.
struct RequestTests {
  private func named(_ name: String) -> CallContext {
    CallContext(purpose: .vault, requestID: "request-7", clientRequestID: name)
  }

  @Test("V8: a repeated request answers as the first time, for every kind of change")
  func repeats() async throws {
    let bench = try await VaultBench()
    let (vaults, owner, uri) = (bench.vaults, bench.owner, try bench.uri("key"))
    func create() async throws(KeyCustodyError) -> KeyBundle {
      try await vaults.createKey(uri, type: .aes(bits: 256), role: .wrapping, as: owner, context: named("create"))
    }
    let made = try await create()
    #expect(try await create() == made)
    let rotated = try await vaults.rotateKey(uri, as: owner, context: named("rotate"))
    #expect(try await vaults.rotateKey(uri, as: owner, context: named("rotate")) == rotated)
    #expect(try await vaults.rotateKey(uri, as: owner, context: named("rotate 2")).uri != rotated.uri)
    #expect(try await create() == made, "later changes don't matter")
    let imported = try await vaults.importKey(
      bench.secret(9), to: uri, type: .aes(bits: 256), role: .wrapping, as: owner, context: named("import"))
    let again = try await vaults.importKey(
      bench.secret(9), to: uri, type: .aes(bits: 256), role: .wrapping, as: owner, context: named("import"))
    #expect(again == imported)
    #expect(try await vaults.key(uri, as: owner, context: bench.context).versions.count == 4)
    #expect(try await bench.inventory().count == 4)
    let deleted = try await vaults.deleteKey(uri, as: owner, context: named("delete"))
    #expect(try await vaults.deleteKey(uri, as: owner, context: named("delete")) == deleted)
    for _ in 0..<2 { try await vaults.recoverKey(uri, as: owner, context: named("recover")) }
    try await vaults.deleteKey(uri, as: owner, context: bench.context)
    for _ in 0..<2 { try await vaults.purgeKey(uri, as: owner, context: named("purge")) }
    #expect(try await bench.inventory().isEmpty)
    let secret = vaults.secretURI(bench.vault, try SecretName("s"))
    let first = try await vaults.setSecret(bench.secret(), at: secret, as: owner, context: named("set"))
    #expect(try await vaults.setSecret(bench.secret(), at: secret, as: owner, context: named("set")) == first)
    #expect(try await vaults.listVersions(of: secret, as: owner, context: bench.context).items == [first])
  }

  @Test("V8: where names may stand for several changes, what was undone since is made again")
  func onlyWhatHolds() async throws {
    let bench = try await VaultBench()
    let (vaults, owner) = (bench.vaults, bench.owner)
    var context = named("same")
    context.repeatsOnlyWhatHolds = true
    let again = context
    let secret = vaults.secretURI(bench.vault, try SecretName("s"))
    func set(_ byte: UInt8, _ context: CallContext) async throws -> KeyVersionID {
      try await vaults.setSecret(bench.secret(byte), at: secret, as: owner, context: context).attributes.version
    }
    let first = try await set(1, again)
    #expect(try await set(1, again) == first, "answered as the first time")
    _ = try await set(2, bench.context)
    #expect(try await set(1, again) != first)
    let value = try await vaults.secret(secret, as: owner, context: bench.context).value.isEqual(to: bench.secret(1))
    #expect(value, "the last one that was acknowledged")
    let key = try await bench.create()
    let rotated = try await vaults.rotateKey(key, as: owner, context: named("r")).uri
    try await vaults.deleteKey(key, as: owner, context: bench.context)
    try await vaults.recoverKey(key, as: owner, context: bench.context)
    try await vaults.updateKey(key.with(version: nil), isEnabled: false, as: owner, context: bench.context)
    var other = named("r")
    other.repeatsOnlyWhatHolds = true
    #expect(try await vaults.rotateKey(key, as: owner, context: other).uri != rotated)
  }

  @Test("V8: a name stands for one change of one caller for a day; access is decided anew each time")
  func limits() async throws {
    let bench = try await VaultBench()
    let (vaults, owner) = (bench.vaults, bench.owner)
    let key = try await bench.create()
    let other = try VaultBench.principal("contoso/other", at: bench.clock)
    try await bench.grant(other.id, [.rotate])
    let first = try await vaults.rotateKey(key, as: owner, context: named("n")).uri
    let theirs = try await vaults.rotateKey(key, as: other, context: named("n")).uri
    #expect(theirs != first, "another caller's name is another name")
    let reused = await failure { try await vaults.deleteKey(key, as: owner, context: named("n")) }
    #expect(reused == error(.invalidInput, .requestReused) && reused?.remedy.isEmpty == false)
    for name in ["", String(repeating: "x", count: 129)] {
      await #expect(throws: error(.invalidInput, .wrongSize)) {
        try await vaults.rotateKey(key, as: owner, context: named(name))
      }
    }
    bench.clock.advance(by: VaultBench.day - .milliseconds(1))
    #expect(try await vaults.rotateKey(key, as: owner, context: named("n")).uri == first)
    try await bench.vaults.removeRule("allow-contoso-other", in: bench.vault)
    await #expect(throws: error(.denied, .accessDenied)) {
      try await vaults.rotateKey(key, as: other, context: named("n"))
    }
    bench.clock.advance(by: .milliseconds(1))
    let later = try await vaults.rotateKey(key, as: owner, context: named("n")).uri
    #expect(later != first && later != theirs)
    func remembered() async throws -> Int {
      try await bench.records.list(prefix: "vaults/kv1/requests/", after: nil, limit: 100).count
    }
    bench.clock.advance(by: VaultBench.day)
    #expect(try await remembered() > 0)
    _ = try await vaults.runRotations()
    #expect(try await remembered() == 0, "what is forgotten is removed")
  }

  @Test("V8: whatever was cut off, the repeated request makes one version; so do 16 at once", arguments: [true, false])
  func faults(isImport: Bool) async throws {
    func run(_ bench: VaultBench, _ key: KeyURI) async throws(KeyCustodyError) -> KeyURI {
      guard isImport else {
        return try await bench.vaults.rotateKey(key, as: bench.owner, context: named("once")).uri
      }
      return try await bench.vaults.importKey(
        bench.secret(9), to: key.with(version: nil), type: .aes(bits: 256), role: .wrapping, as: bench.owner,
        context: named("once")
      ).uri
    }
    var runs = 0
    for moment in [FaultPlan<FaultingPolicyStore.Operation>.Moment.before, .after] {
      for call in 1... {
        let bench = try await VaultBench()
        let key = try await bench.create()
        bench.storeFaults.reset()
        bench.storeFaults.fail(.compareAndSet, call: call, moment, with: moment == .before ? down : lost)
        let outcome = await failure { _ = try await run(bench, key) }
        guard bench.storeFaults.calls(of: .compareAndSet) >= call else { break }
        runs += 1
        #expect(outcome != nil)
        let made = try await run(bench, key)
        #expect(try await run(bench, key) == made)
        let record = try await bench.vaults.key(key, as: bench.owner, context: bench.context)
        #expect(record.versions.count == 2 && record.newest?.version == made.version, "\(call) \(moment)")
        #expect(try await bench.inventory().count == 2)
        #expect(try await bench.wrap(key.with(version: nil)).key == made)
      }
    }
    #expect(runs >= 8)
    let bench = try await VaultBench()
    let key = try await bench.create()
    let made = try await withThrowingTaskGroup(of: KeyURI.self) { group in
      for _ in 0..<16 { group.addTask { try await run(bench, key) } }
      return try await group.reduce(into: Set<KeyURI>()) { $0.insert($1) }
    }
    #expect(made.count == 1)
    #expect(try await bench.inventory().count == 2)
  }
}
