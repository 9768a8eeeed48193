import Foundation
import KeyCustody
import KeyCustodyServices
import KeyCustodyVault

/// How figures grow with the number of resources, and with that of stored items: one line for each number.
struct Scale {
  let resources: Int
  let items: Int

  func run() async throws {
    for count in [resources / 100, resources / 10, resources] where count > 0 { try await run(count) }
    for count in [items / 100, items / 10, items] where count > 0 { try await convert(count) }
  }

  private func run(_ count: Int) async throws {
    var start = clock.now
    let many = try await ManyResources(count)
    defer { many.folder.remove() }
    let made = seconds(since: start)
    let (idle, known, leased) = (
      try many.resident(.opened), try many.resident(.known), try many.resident(.leased)
    )
    start = clock.now
    var custody = try await many.open()
    let opening = seconds(since: start)

    // Some of them, wherever they lie.
    var samples: [(resource: ProtectedResource, sealed: [UInt8])] = []
    start = clock.now
    for number in stride(from: 0, to: count, by: max(count / 100, 1)) {
      let resource = try await custody.resource(try ManyResources.name(number))
      samples.append((resource, try await resource.seal(Array("a value".utf8), as: "value")))
    }
    let first = seconds(since: start) / Double(samples.count)
    start = clock.now
    for _ in 0..<100 { for (resource, sealed) in samples { _ = try await resource.open(sealed, as: "value") } }
    let hot = seconds(since: start) / Double(100 * samples.count)

    let keys = many.keys * count
    try await custody.rotateServiceKeys()
    await custody.close()
    // One is killed in the middle; the next one finds what is left.
    try many.hold(.rewrapping).stop()
    custody = try await many.open()
    start = clock.now
    let report = try await custody.upkeep()
    let rewrapping = seconds(since: start)
    for (resource, sealed) in samples {
      let again = try await custody.resource(resource.id)
      guard try await again.open(sealed, as: "value") == Array("a value".utf8) else {
        throw Unexpected(description: "A value of '\(resource.id)' is another one now.")
      }
    }
    guard report.failed == 0, report.resources == count, (1..<keys).contains(report.rewrapped),
      try await custody.upkeep().rewrapped == 0
    else { throw Unexpected(description: "Rewrapped after a kill: \(report), of \(keys)") }
    await custody.close()
    print(
      "resources=\(count) record=\(many.recordLength)B keys=\(many.keys) made=\(whole(Double(count) / made))/s opened=\(whole(opening * 1000))ms",
      "idle=\(whole(idle))MiB known=\(whole(known))MiB leased=\(whole(leased))MiB",
      "known-each=\(whole((known - idle) * 1_048_576 / Double(count)))B",
      "leased-each=\(whole((leased - idle) * 1_048_576 / Double(count)))B",
      "first-use=\(whole(first * 1e6))us hot=\(whole(hot * 1e9))ns",
      "keysets killed-after=\((keys - report.rewrapped) / many.keys) then=\(report.rewrapped / many.keys)",
      "rate=\(whole(Double(report.rewrapped) / Double(many.keys) / rewrapping))/s")
  }

  /// Puts so many stored items of one resource under a customer's key.
  private func convert(_ count: Int) async throws {
    let many = try await ManyResources(1)
    defer { many.folder.remove() }
    let custody = try await many.open()
    let resource = try await custody.resource(try ManyResources.name(0))
    let key = try await customerKey(custody, for: resource)
    let store = MemorySealedStore()
    let value = [UInt8](repeating: 7, count: 100)
    for number in 0..<count {
      let name = "item-\(number)"
      try store.put(try await resource.seal(value, as: name), as: name, of: resource.id)
    }
    let start = clock.now
    try await resource.enableCustomerKey(key, converting: [store])
    let took = seconds(since: start)
    let left = try await resource.rootKeyUse(in: [store]).filter { !$0.isPrimary && $0.items ?? 0 > 0 }
    guard left.isEmpty, let sealed = store.get("item-\(count / 2)", of: resource.id),
      try await resource.open(sealed, as: "item-\(count / 2)") == value
    else { throw Unexpected(description: "Not all items are converted: \(left)") }
    await custody.close()
    print("items=\(count) converted=\(whole(Double(count) / took))/s left=0")
  }

  private func customerKey(
    _ custody: KeyCustody, for resource: ProtectedResource
  ) async throws -> KeyURI {
    let (name, tenant) = (try VaultName("customer-vault"), try TenantID("tenant"))
    try await custody.vaults.create(
      VaultDefinition(
        name: name, tenant: tenant, region: custody.region, keyProvider: "keys", softDeleteDays: 7,
        purgeProtection: true))
    let owner = PrincipalID(tenant: tenant, subject: try SubjectID("owner"))
    try await custody.identities.create(owner, kind: .user)
    let token = try await custody.identities.issueToken(for: owner, audience: custody.audience, lifetime: .seconds(300))
    let caller = try await custody.identities.authenticate(.token(token), audience: custody.audience)
    try await custody.vaults.setRule(
      AccessRule(name: "owner", principal: owner, keys: Set(KeyPermission.allCases)), in: name)
    let identity = try await resource.switchIdentityOn()
    try await custody.vaults.setRule(
      AccessRule(name: "service", principal: identity, keys: [.get, .wrapKey, .unwrapKey]), in: name)
    let uri = custody.vaults.uri(name, try KeyName("notes"))
    return try await custody.vaults.createKey(
      uri, type: .aes(bits: 256), role: .wrapping, as: caller, context: CallContext(purpose: .administration)
    ).uri
  }

  private func seconds(since start: ContinuousClock.Instant) -> Double { (clock.now - start) / .seconds(1) }

  private func whole(_ value: Double) -> Int { Int(value.rounded()) }
}
