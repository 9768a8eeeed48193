import KeyCustody
import KeyCustodyTesting
import KeyCustodyVault
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Every use and every refused attempt is recorded, and without a record there is no answer (SEMANTICS V11).
struct VaultAuditTests {
  private let unwritable = KeyCustodyError(.unavailable, .unreachable, "The audit log is full.")

  @Test("V11: a use is recorded with who, what, which version and how it ended", arguments: KeyOperation.allCases)
  func uses(_ operation: KeyOperation) async throws {
    let bench = try await VaultBench()
    let uri = try bench.uri("key")
    try await operation.prepare(uri, in: bench)
    bench.audit.removeAll()
    var caller = bench.owner
    caller.method = .apiKey
    try await operation.run(uri, in: bench, as: caller)
    let events = bench.audit.events.filter { $0.method == "apiKey" }
    let last = try #require(events.last)
    #expect(events.filter { $0.outcome == .allowed }.count == 1, "one use, one record of it")
    #expect(
      last.principal == "contoso/owner" && last.action == operation.rawValue && last.rule == "allow-contoso-owner")
    #expect(last.outcome == .allowed && last.error == nil && last.time == bench.clock.now())
    #expect(last.requestID == "request-7")
    #expect(last.target.hasPrefix("https://kv1.vault.test/keys/"))
    switch operation {
    case .create, .import, .rotate, .wrapKey, .unwrapKey, .sign:
      let used = try KeyURI(last.target).version
      let newest = try await bench.vaults.key(uri, as: bench.owner, context: bench.context).newest
      #expect(used != nil && used == newest?.version, "the version used is named though none was asked for")
    default: break
    }
  }

  @Test("V11: a refused attempt and a failed one are recorded, told apart", arguments: KeyOperation.allCases)
  func refusals(_ operation: KeyOperation) async throws {
    let bench = try await VaultBench()
    let uri = try bench.uri("key")
    try await operation.prepare(uri, in: bench)
    let stranger = try VaultBench.principal("contoso/stranger", at: bench.clock)
    bench.audit.removeAll()
    _ = await failure { try await operation.run(uri, in: bench, as: stranger) }
    let refused = try #require(bench.audit.events.last)
    #expect(refused.principal == "contoso/stranger" && refused.outcome == .refused)
    #expect(refused.error == "denied/access-denied" && refused.action == operation.rawValue)
    let wrong = try KeyURI("https://kv1.other.test/keys/key")
    bench.audit.removeAll()
    if operation != .list && operation != .unwrapKey {
      _ = await failure { try await operation.run(wrong, in: bench, as: bench.owner) }
      let failed = try #require(bench.audit.events.last)
      #expect(failed.outcome == .failed && failed.error == "notFound/vault-unknown")
      #expect(failed.target == wrong.description)
    }
  }

  @Test("V11: the resource, and a failure in the provider, stand in the record")
  func details() async throws {
    let bench = try await VaultBench()
    let made = try await bench.create()
    bench.audit.removeAll()
    let context = CallContext(purpose: .resource, resource: try ResourceID("Contoso-Notes"))
    bench.keyFaults.failNext(.wrap, with: down)
    await #expect(throws: down) {
      _ = try await bench.vaults.wrap(
        bench.secret(), with: made, algorithm: .aes256KW, as: bench.owner, context: context)
    }
    let event = try #require(bench.audit.events.last)
    #expect(event.resource == "Contoso-Notes" && event.outcome == .failed && event.error == "unavailable/unreachable")
    #expect(bench.audit.events.count == 1)
  }

  @Test(
    "V11: when the record can't be written nothing is answered and nothing happens", arguments: KeyOperation.allCases)
  func unwritableLog(_ operation: KeyOperation) async throws {
    let bench = try await VaultBench()
    let uri = try bench.uri("key")
    try await operation.prepare(uri, in: bench)
    let (before, held) = (try await bench.recorded(), try await bench.inventory())
    let deletion = try await bench.records.read(RecordKey("vaults/kv1/keys/key"))?.value
    bench.audit.fail(with: unwritable)
    let refused = await failure { try await operation.run(uri, in: bench, as: bench.owner) }
    #expect(refused == unwritable && refused?.message == unwritable.message)
    #expect(try await bench.recorded() == before, "\(operation) changed nothing")
    #expect(try await bench.inventory() == held, "\(operation) left the provider's keys alone")
    #expect(try await bench.records.read(RecordKey("vaults/kv1/keys/key"))?.value == deletion)
    let stranger = try VaultBench.principal("contoso/stranger", at: bench.clock)
    #expect(await failure { try await operation.run(uri, in: bench, as: stranger) } == unwritable, "refusals too")
    bench.audit.fail(with: nil)
    try await operation.run(uri, in: bench, as: bench.owner)
  }

  @Test("V11: no record holds a secret")
  func noSecrets() async throws {
    let bench = try await VaultBench()
    for operation in KeyOperation.allCases {
      let uri = try bench.uri("key-\(operation.rawValue)")
      try await operation.prepare(uri, in: bench)
      try await operation.run(uri, in: bench, as: bench.owner)
    }
    let made = try await bench.create()
    let wrapped = try await bench.wrap(made)
    let text = String(decoding: try JSONEncoder().encode(bench.audit.events), as: UTF8.self)
    #expect(text.contains("unwrapKey"))
    for secret in [[UInt8](repeating: 0x5a, count: 32), [UInt8](repeating: 7, count: 32), wrapped.bytes] {
      for form in [secret.hexadecimal, secret.base64URL, Data(secret).base64EncodedString()] {
        #expect(!text.contains(form.prefix(20)))
      }
    }
  }
}
