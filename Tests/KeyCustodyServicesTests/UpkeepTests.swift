import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTesting
import Testing

@testable import KeyCustodyServices
@testable import KeyCustodyVault

/// Keysets wrapped anew, many root keys at a time (SEMANTICS E12).
struct UpkeepTests {
  @Test("V11: of a keyset that is wrapped anew, every use of a KEK is recorded, by the service's own principal")
  func recorded() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    try await bench.custody.rotateServiceKeys()
    bench.audit.removeAll()
    #expect(try await bench.custody.upkeep().rewrapped == 6)
    let uses = bench.audit.events.filter { $0.resource == notes.id.spelling }
    #expect(uses.count { $0.action == Permission.key(.wrapKey).description } == 6)
    #expect(
      uses.count { $0.action == Permission.key(.unwrapKey).description } == 12,
      "each old one, and each new one as proof")
    let principal = bench.custody.servicePrincipal.description
    #expect(uses.allSatisfy { $0.principal == principal && $0.rule == "service" && $0.outcome == .allowed })
    let newest = try await bench.custody.newestServiceKeys().values.map(\.description)
    #expect(uses.count { newest.contains($0.target) } == 12)
  }

  @Test("V11: what can't be recorded changes no keyset")
  func unrecorded() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let before = try await bench.record(notes).rootKeys
    try await bench.custody.rotateServiceKeys()
    let newest = try await bench.custody.newestServiceKeys()
    let found = try #require(try await bench.custody.resources.readRevised(try KeyCustody.path(notes.id)))
    let keks = KEKs(bench.custody)
    bench.audit.fail(with: error(.unavailable, .unreachable))
    #expect(
      await failure { _ = try await notes.rewrapServiceKeys(of: found, under: newest, keks: keks) }
        == error(.unavailable, .unreachable))
    bench.audit.fail(with: nil)
    #expect(try await bench.record(notes).rootKeys == before)
    #expect(try await notes.rewrapServiceKeys(of: found, under: newest, keks: keks) == 6)
  }

  @Test("A resource that changes between its listing and its turn is wrapped anew by what it is then")
  func changedMeanwhile() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    try await bench.custody.rotateServiceKeys()
    let changes = Tally()
    bench.hooks.afterRead("resources/") {
      changes.add()
      _ = try? await bench.custody.change(notes.id) { $0.followsNewest = true }
    }
    let report = try await bench.custody.upkeep()
    #expect(changes.value == 1 && report.rewrapped == 6 && report.failed == 0)
    let record = try await bench.record(notes)
    #expect(record.followsNewest == true, "nobody's change is lost")
    let newest = try await bench.custody.newestServiceKeys()
    #expect(record.rootKeys.allSatisfy { $0.kek == newest[$0.layer] })
    try await notes.roundTrip()
  }

  @Test("E13: what upkeep has just destroyed it does not wrap anew")
  func destroyed() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    bench.clock.advance(by: .seconds(25 * 3600))
    try await bench.custody.rotateServiceKeys()
    bench.audit.removeAll()
    let report = try await bench.custody.upkeep()
    #expect(report.destroyed == 2 && report.rewrapped == 4 && report.failed == 0)
    let uses = bench.audit.events.filter { $0.resource == notes.id.spelling }
    #expect(uses.count { $0.action == Permission.key(.wrapKey).description } == 4)
    #expect(uses.count { $0.action == Permission.key(.unwrapKey).description } == 8)
  }

  @Test("V11: a use that was not asked for is refused, and so recorded")
  func undecided() async throws {
    let bench = try await ServiceBench()
    let (custody, service) = (bench.custody, bench.custody.servicePrincipal)
    let context = CallContext(purpose: .resource, principal: service)
    let key = try await custody.vaults.allow(
      [.unwrapKey], of: try custody.serviceKey(.service), as: try await custody.principal(service), context: context)
    bench.audit.removeAll()
    let secret = SharedSecret(SecretBytes(copying: [UInt8](repeating: 7, count: 32)))
    let refusal = await failure {
      _ = try await key.wrapAndUnwrapAll([secret], algorithm: .aes256KW, context: { context })
    }
    #expect(refusal == error(.denied, .accessDenied))
    #expect(bench.audit.events.map(\.outcome) == [.refused])
  }

  @Test("V11: of several uses in one go, those that were done are recorded as done, and those that failed as failed")
  func halfDone() async throws {
    let bench = try await ServiceBench()
    let (custody, service) = (bench.custody, bench.custody.servicePrincipal)
    let context = CallContext(purpose: .resource, principal: service)
    let key = try await custody.vaults.allow(
      [.wrapKey, .unwrapKey], of: try custody.serviceKey(.service), as: try await custody.principal(service),
      context: context)
    let forgetful = AllowedKey(
      uri: key.uri, algorithm: key.algorithm, version: key.version,
      provider: HookedKeyProvider(inner: key.provider, hooks: bench.hooks), caller: key.caller, rules: key.rules,
      vaults: key.vaults)
    let secrets = try (0..<2).map { _ in SharedSecret(try SystemRandom().secret(32)) }
    bench.audit.removeAll()
    let refusal = await failure {
      _ = try await forgetful.wrapAndUnwrapAll(secrets, algorithm: .aes256KW, context: { context })
    }
    #expect(refusal == error(.integrityFailure, .notAuthentic))
    let events = bench.audit.events
    #expect(events.map(\.action) == ["wrapKey", "wrapKey", "unwrapKey", "unwrapKey"])
    #expect(events.map { $0.outcome == .allowed } == [true, true, false, false])
    #expect(events.map(\.error) == [nil, nil, "integrityFailure/not-authentic", "integrityFailure/not-authentic"])
  }

  @Test("A damaged record of one resource stops no other's upkeep")
  func damaged() async throws {
    let bench = try await ServiceBench()
    _ = try await bench.makeResource("a")
    let sound = try await bench.makeResource("b")
    let store = bench.custody.resources.store
    let path = try RecordKey("resources/a")
    let record = try #require(try await store.read(path))
    _ = try await store.compareAndSet(path, expecting: record.revision, value: Array("{}".utf8))
    try await bench.custody.rotateServiceKeys()
    let report = try await bench.custody.upkeep()
    #expect(report.resources == 2 && report.failed == 1 && report.rewrapped == 6)
    try await sound.roundTrip()
  }

  @Test("Whether a KEK may be used is asked anew after a second, and each time where leases have no duration")
  func askedAnew() async throws {
    for (lease, lasts) in [(60, true), (0, false)] {
      let bench = try await ServiceBench(lease: lease)
      let (custody, service) = (bench.custody, bench.custody.servicePrincipal)
      let keks = KEKs(custody)
      let kek = try custody.serviceKey(.service)
      let context = CallContext(purpose: .resource, principal: service)
      let ask = { () async -> KeyCustodyError? in
        await failure {
          _ = try await keks.wrapping(kek, holder: service, isCustomerManaged: false, context: context)
        }
      }
      #expect(await ask() == nil)
      try await custody.vaults.removeRule("service", in: kek.vault)
      #expect(await ask() == (lasts ? nil : error(.denied, .accessDenied)))
      bench.clock.advance(by: .seconds(1))
      bench.audit.removeAll()
      #expect(await ask() == error(.denied, .accessDenied))
      #expect(bench.audit.events.map(\.outcome) == [.refused])
    }
  }
}

/// A provider that wraps several in one go, and can't unwrap what came of it.
extension HookedKeyProvider: KeyBatches {
  func wrapAndUnwrapAll(
    _ secrets: [SharedSecret], with request: WrapRequest
  ) async throws(KeyCustodyError) -> ProvenBatch {
    var wrapped: [[UInt8]] = []
    for secret in secrets { wrapped.append(try await inner.wrap(secret.bytes, with: request).bytes) }
    return ProvenBatch(
      wrapped: wrapped, unwrapped: .failure(KeyCustodyError(.integrityFailure, .notAuthentic, "It was altered.")))
  }

  func unwrapAll(_ wrapped: [[UInt8]], with request: WrapRequest) async throws(KeyCustodyError) -> [SharedSecret] {
    throw KeyCustodyError(.integrityFailure, .notAuthentic, "It was altered.")
  }
}
