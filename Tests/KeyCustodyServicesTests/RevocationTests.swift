import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTesting
import KeyCustodyVault
import Synchronization
import Testing

@testable import KeyCustodyServices

/// The ways in which a customer cuts a resource off, and back in.
enum Revocation: String, CaseIterable, Sendable {
  case removeRule, withdrawUnwrap, deny, disableVersion, deleteKey, identityDisabled, identityOff, expire, operations

  var reason: KeyCustodyError.Reason {
    switch self {
    case .removeRule, .withdrawUnwrap, .deny: .accessDenied
    case .disableVersion: .keyDisabled
    case .deleteKey: .keyDeleted
    case .identityDisabled, .identityOff: .identityOff
    case .expire: .keyOutsideValidity
    case .operations: .keyOperationForbidden
    }
  }

  func revoke(_ notes: ProtectedResource, _ key: KeyURI, in bench: ServiceBench) async throws {
    let (vaults, identity) = (bench.custody.vaults, try PrincipalID("contoso/notes"))
    switch self {
    case .removeRule: try await vaults.removeRule("allow-notes", in: bench.vault)
    case .withdrawUnwrap: try await bench.grant(identity, [.get, .wrapKey])
    case .deny:
      try await vaults.setRule(
        AccessRule(name: "deny-notes", principal: identity, effect: .deny, keys: [.unwrapKey]), in: bench.vault)
    case .disableVersion: try await bench.update(key, isEnabled: false)
    case .deleteKey: try await vaults.deleteKey(key, as: bench.owner, context: bench.context)
    case .identityDisabled: try await bench.custody.identities.setEnabled(false, identity)
    case .identityOff: try await notes.switchIdentityOff()
    case .expire: try await bench.update(key, expires: bench.clock.now())
    case .operations:
      try await vaults.updateKey(key, KeyAttributes(operations: [.wrapKey]), as: bench.owner, context: bench.context)
    }
  }

  func restore(_ notes: ProtectedResource, _ key: KeyURI, in bench: ServiceBench) async throws {
    let (vaults, identity) = (bench.custody.vaults, try PrincipalID("contoso/notes"))
    switch self {
    case .removeRule, .withdrawUnwrap: try await bench.grant(identity)
    case .deny: try await vaults.removeRule("deny-notes", in: bench.vault)
    case .disableVersion: try await bench.update(key, isEnabled: true)
    case .deleteKey: try await vaults.recoverKey(key, as: bench.owner, context: bench.context)
    case .identityDisabled: try await bench.custody.identities.setEnabled(true, identity)
    case .identityOff: try await notes.switchIdentityOn()
    case .expire: try await bench.update(key, expires: bench.clock.now() + .seconds(3600))
    case .operations:
      try await vaults.updateKey(
        key, KeyAttributes(operations: [.wrapKey, .unwrapKey]), as: bench.owner, context: bench.context)
    }
  }
}

/// Taking the customer's key away (SEMANTICS E8, I3).
struct RevocationTests {
  @Test(
    "E8: after a revocation has returned nothing begun later succeeds, among 64 who seal and open",
    arguments: Revocation.allCases)
  func race(_ way: Revocation) async throws {
    let bench = try await ServiceBench()
    let (notes, key) = try await bench.makeBound()
    let (other, _) = try await bench.makeBound("other")
    let sealed = try await notes.seal([7], as: "value")
    let foreign = try await other.seal([8], as: "value")
    let isRevoked = Tally()
    let isOver = Tally()
    let done = Tally()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<64 {
        group.addTask {
          while isOver.value == 0, !Task.isCancelled {
            let beganLate = isRevoked.value > 0
            let outcome = await failure {
              if number.isMultiple(of: 2) {
                _ = try await notes.open(sealed, as: "value")
              } else {
                _ = try await notes.seal([1], as: "other")
              }
            }
            if outcome == nil { done.add() }
            if beganLate { #expect(outcome?.reason == way.reason, "it began after the revocation") }
            await Task.yield()
          }
        }
      }
      try await eventually("all are at work") { done.value > 64 }
      try await way.revoke(notes, key, in: bench)
      isRevoked.add()
      for _ in 0..<20 { #expect(try await other.open(foreign, as: "value") == [8], "others go on") }
      isOver.add()
      try await group.waitForAll()
    }
    let status = try await notes.status()
    #expect(status.health == .suspended(reason: way.reason.rawValue) && status.mode == .customerManaged)
    let refused = try #require(await failure { _ = try await notes.open(sealed, as: "value") })
    #expect(refused.message.contains("notes") && refused.message.contains("suspended") && !refused.remedy.isEmpty)
    try await way.restore(notes, key, in: bench)
    #expect(try await notes.open(sealed, as: "value") == [7], "granted again, no data is lost")
    #expect(try await notes.status().health == .available)
    await bench.custody.close()
  }

  @Test("E8: a revocation whose answer is lost acts all the same")
  func lostAnswer() async throws {
    let bench = try await ServiceBench()
    let (notes, key) = try await bench.makeBound()
    try await notes.roundTrip()
    bench.storeFaults.failNext(.compareAndSet, .after, with: lost)
    await #expect(throws: lost) { try await bench.update(key, isEnabled: false) }
    #expect(await failure { try await notes.roundTrip() }?.reason == .keyDisabled)
  }

  @Test("E8: in another process a revocation acts when its lease ends, at the latest after 60 seconds")
  func acrossProcesses() async throws {
    let bench = try await ServiceBench()
    let (notes, key) = try await bench.makeBound()
    let second = try await bench.reopened()
    let there = try await second.resource(notes.id)
    try await there.roundTrip()
    try await bench.update(key, isEnabled: false)
    bench.clock.advance(by: .seconds(60))
    #expect(await failure { try await there.roundTrip() }?.reason == .keyDisabled)
    await second.close()
  }

  @Test("E8: a key bound with an expiry suspends the resource when it comes, and extending it brings it back")
  func expiry() async throws {
    let bench = try await ServiceBench()
    let key = try await bench.makeKey()
    try await bench.update(key, expires: bench.clock.now() + .seconds(600))
    let (notes, _) = try await bench.makeBound(key: key)
    let sealed = try await notes.seal([7], as: "value")
    bench.clock.advance(by: .seconds(599))
    #expect(try await notes.open(sealed, as: "value") == [7])
    bench.clock.advance(by: .seconds(60))
    let refused = await failure { _ = try await notes.open(sealed, as: "value") }
    #expect(refused == error(.disabled, .keyOutsideValidity))
    #expect(try await notes.status().health == .suspended(reason: "key-outside-validity"))
    try await bench.update(key, expires: bench.clock.now() + .seconds(600))
    #expect(try await notes.open(sealed, as: "value") == [7])
  }

  /// Pieces of a stream, with something that happens between them.
  private struct Pieces: AsyncSequence, Sendable {
    var pieces: [[UInt8]]
    var between: @Sendable (Int) async throws -> Void

    struct Iterator: AsyncIteratorProtocol {
      var source: Pieces
      var number = 0
      mutating func next() async throws -> [UInt8]? {
        guard number < source.pieces.count else { return nil }
        defer { number += 1 }
        try await source.between(number)
        return source.pieces[number]
      }
    }
    func makeAsyncIterator() -> Iterator { Iterator(source: self) }
  }

  private func pieces(_ count: Int, _ between: @escaping @Sendable (Int) async throws -> Void) -> Pieces {
    Pieces(pieces: (0..<count).map { [UInt8](repeating: UInt8($0), count: 300_000) }, between: between)
  }

  @Test("E8: unrelated changes in the same vault don't disturb long streams")
  func streams() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    let neighbour = try await bench.makeKey("neighbour")
    let stranger = try PrincipalID("contoso/somebody")
    let disturb: @Sendable (Int) async throws -> Void = { number in
      try await bench.grant(stranger, number.isMultiple(of: 2) ? [.get] : [.list])
      try await bench.update(neighbour, isEnabled: number.isMultiple(of: 2))
      if number == 5 { bench.clock.advance(by: .seconds(45)) }
    }
    let source = pieces(12, disturb)
    var sealed: [[UInt8]] = []
    for try await piece in try await notes.sealStream(source, as: "film") { sealed.append(piece) }
    var opened: [UInt8] = []
    let stream = Pieces(pieces: sealed, between: disturb)
    for try await piece in try await notes.openStream(stream, as: "film") { opened += piece }
    #expect(opened == source.pieces.flatMap { $0 })
  }

  @Test("E8: a revocation stops a stream that is under way, and no more comes out of it")
  func stoppedStream() async throws {
    let bench = try await ServiceBench()
    let (notes, key) = try await bench.makeBound()
    var sealed: [[UInt8]] = []
    for try await piece in try await notes.sealStream(pieces(12) { _ in }, as: "film") { sealed.append(piece) }
    let keyID = try #require(try await bench.record(notes).primary(.customer, .longTerm)).id
    let stream = Pieces(pieces: sealed) { number in
      guard number == 4 else { return }
      try await bench.update(key, isEnabled: false)
      try await eventually("the key is destroyed") {
        if case .living = bench.custody.leases.find(keyID) { false } else { bench.custody.leases.count == 1 }
      }
    }
    var count = 0
    let stopped = await failure {
      for try await piece in try await notes.openStream(stream, as: "film") { count += piece.count }
    }
    #expect(stopped?.reason == .keyDisabled)
    #expect(count < 6 * 1_048_576)
    let writing = await failure {
      for try await _ in try await notes.sealStream(pieces(2) { _ in }, as: "film") {}
    }
    #expect(writing?.reason == .keyDisabled)
  }
  @Test(
    "E8: where leases have no duration, a revocation stops what is being sealed at its next piece", arguments: [0, 60])
  func stoppedSealing(lease: Int) async throws {
    let bench = try await ServiceBench(lease: lease)
    let (notes, key) = try await bench.makeBound()
    let revoked = pieces(20) { number in
      if number == 5 { try await bench.update(key, isEnabled: false) }
    }
    var count = 0
    let stopped = await failure {
      for try await piece in try await notes.sealStream(revoked, as: "film") { count += piece.count }
    }
    #expect(stopped?.reason == .keyDisabled)
    #expect(count < 4 * 1_048_576)
    try await bench.update(key, isEnabled: true)
    try await notes.roundTrip()
  }
}
