import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTestSupport
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServices

/// Resources themselves: their making, their end, their identity, and what is remembered of them.
struct ResourceTests {
  @Test("E3: a new resource is service-managed, with a root key for each layer and group")
  func creation() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.custody.createResource(ResourceID("notes"), tenant: TenantID("contoso"))
    let status = try await notes.status()
    #expect(status.mode == .serviceManaged && status.key == nil && status.identity == nil)
    #expect(status.health == .available && status.outgoingRootKeys == 0 && status.profile == "custom")
    let keys = try await bench.record(notes).rootKeys
    #expect(Set(keys.map { "\($0.layer) \($0.group)" }).count == 6 && Set(keys.map(\.id)).count == 6)
    #expect(keys.allSatisfy { !$0.isCustomerManaged && $0.isPrimary && $0.holder == bench.custody.servicePrincipal })
    #expect(Set(keys.map(\.kek)).count == 2, "E2: each layer has a KEK of its own")
    await #expect(throws: error(.invalidInput, .alreadyExists)) {
      _ = try await bench.custody.createResource(ResourceID("NOTES"), tenant: TenantID("fabrikam"))
    }
    #expect(try await bench.custody.resourceIDs() == [notes.id])
    await #expect(throws: error(.notFound, .resourceUnknown)) {
      _ = try await bench.custody.resource(ResourceID("none"))
    }
  }

  @Test("E13: a data class that the profile lacks is refused, naming those it has")
  func dataClasses() async throws {
    let bench = try await ServiceBench()
    let profile = Profile(
      name: "small", dataClasses: [.init(name: try DataClass("results"), group: .longTerm)])
    let notes = try await bench.makeResource(profile: profile)
    let refused = await failure { _ = try await notes.seal([1], as: "value") }
    #expect(refused == error(.invalidInput, .dataClassUnknown))
    #expect(refused?.remedy.contains("results") == true)
    let sealed = try await notes.seal([1], as: "value", dataClass: "Results")
    #expect(try await notes.open(sealed, as: "value", dataClass: "results") == [1])
    #expect(try await bench.record(notes).rootKeys.count == 2, "only the keys that its classes need")
    #expect(await failure { _ = try await notes.seal([1], as: "value", dataClass: "no spaces") }?.reason == .badName)
    #expect(await failure { _ = try await notes.seal([1], as: "", dataClass: "results") }?.reason == .wrongSize)
    #expect(
      await failure {
        _ = try await notes.seal([UInt8](repeating: 0, count: 1 << 20 + 1), as: "v", dataClass: "results")
      }?
      .reason == .wrongSize)
  }

  @Test("E13: opening refuses a data class that the profile lacks as sealing does, and not for what was sealed")
  func dataClassesOnOpening() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let sealed = try await notes.seal([1], as: "value")
    let folder = try TemporaryFolder()
    let (path, target) = (try folder.write(sealed, to: "sealed"), folder.appending("target"))
    let none = AsyncStream<[UInt8]> { $0.finish() }
    let bytes = try await FileBytes(path: path)
    for name in ["nonsense", "long-terms"] {
      let refused = [
        await failure { _ = try await notes.open(sealed, as: "value", dataClass: name) },
        await failure { _ = try await notes.open([], as: "value", dataClass: name) },
        await failure { try await notes.openFile(path, to: target, as: "value", dataClass: name) },
        await failure { _ = try await notes.openStream(none, as: "value", dataClass: name) },
        await failure { _ = try await notes.reader(over: bytes, as: "value", dataClass: name) },
      ]
      for refused in refused {
        #expect(refused == error(.invalidInput, .dataClassUnknown))
        #expect(refused?.remedy.contains("long-term, transient, serving-copy") == true)
      }
    }
    let other = await failure { _ = try await notes.open(sealed, as: "value", dataClass: "transient") }
    #expect(other == error(.integrityFailure, .notAuthentic))
  }

  @Test("E13: a profile without long-term data has nothing to put under a customer's key")
  func nothingLongTerm() async throws {
    let bench = try await ServiceBench()
    let profile = Profile(name: "relay", dataClasses: [.init(name: try DataClass("messages"), group: .transient)])
    let relay = try await bench.makeResource("relay", profile: profile)
    let key = try await bench.makeKey()
    let refused = await failure { try await relay.enableCustomerKey(key, converting: []) }
    #expect(refused?.code == .invalidInput)
    #expect(try await bench.record(relay).mode == .serviceManaged)
    let sealed = try await relay.seal([1], as: "value", dataClass: "messages")
    #expect(try await relay.open(sealed, as: "value", dataClass: "messages") == [1])
  }

  @Test("I5: a value of one resource does not open in another of the same name elsewhere")
  func separation() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource("notes")
    let other = try await bench.makeResource("other")
    let sealed = try await notes.seal([1], as: "value")
    #expect(await failure { _ = try await other.open(sealed, as: "value") }?.reason == .unknownRootKey)
    #expect(await failure { _ = try await notes.open([], as: "value") }?.reason == .truncated)
    #expect(await failure { _ = try await notes.open(Array(sealed.reversed()), as: "value") }?.reason == .malformed)
  }

  @Test("A deleted resource's data can't be read again by anyone, its keys leave memory, its identity ends")
  func deletion() async throws {
    let bench = try await ServiceBench()
    let (notes, _) = try await bench.makeBound()
    let sealed = try await notes.seal([1], as: "value")
    #expect(bench.custody.leases.count == 2)
    try await bench.custody.deleteResource(notes.id)
    #expect(bench.custody.leases.count == 0)
    #expect(await failure { _ = try await notes.open(sealed, as: "value") } == error(.notFound, .resourceUnknown))
    #expect(await failure { _ = try await notes.seal([1], as: "value") } == error(.notFound, .resourceUnknown))
    #expect(await failure { _ = try await notes.status() } == error(.notFound, .resourceUnknown))
    #expect(try await bench.custody.identities.lookup(PrincipalID("contoso/notes")) == nil, "I2")
    await #expect(throws: error(.notFound, .resourceUnknown)) { try await bench.custody.deleteResource(notes.id) }
    let again = try await bench.makeResource()
    #expect(await failure { _ = try await again.open(sealed, as: "value") }?.reason == .unknownRootKey)
    try await again.roundTrip()
  }

  @Test("A deletion that fails at any step can be repeated, and leaves no identity behind")
  func deletionFaults() async throws {
    for moment in [FaultPlan<FaultingPolicyStore.Operation>.Moment.before, .after] {
      for call in 1... {
        let bench = try await ServiceBench()
        let notes = try await bench.makeResource()
        bench.storeFaults.reset()
        bench.storeFaults.fail(.delete, call: call, moment, with: moment == .before ? down : lost)
        let outcome = await failure { try await bench.custody.deleteResource(notes.id) }
        guard bench.storeFaults.calls(of: .delete) >= call else { break }
        #expect(outcome != nil)
        bench.storeFaults.reset()
        let again = await failure { try await bench.custody.deleteResource(notes.id) }
        #expect(again == nil || again == error(.notFound, .resourceUnknown))
        #expect(try await bench.custody.identities.lookup(PrincipalID("contoso/notes")) == nil, "\(call) \(moment)")
        _ = try await bench.makeResource()
      }
    }
  }

  @Test("A record that was read before a deletion is not remembered after it")
  func deletionAgainstReading() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let sealed = try await notes.seal([1], as: "value")
    let gate = Gate()
    bench.hooks.afterRead("resources/notes") { await gate.pass() }
    let reading = Task { await failure { _ = try await notes.status() } }
    try await eventually("somebody has read it") { gate.waiters == 1 }
    try await bench.custody.deleteResource(notes.id)
    gate.open()
    _ = await reading.value
    #expect(await failure { _ = try await notes.open(sealed, as: "value") } == error(.notFound, .resourceUnknown))
    #expect(await failure { _ = try await notes.seal([1], as: "value") } == error(.notFound, .resourceUnknown))
  }

  @Test("E6: a record that was read before a change is not remembered after it")
  func changeAgainstReading() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let gate = Gate()
    bench.hooks.afterRead("resources/notes") { await gate.pass() }
    let reading = Task { await failure { _ = try await notes.status() } }
    try await eventually("somebody has read it") { gate.waiters == 1 }
    try await notes.enableCustomerKey(key, converting: [])
    gate.open()
    _ = await reading.value
    let sealed = try await notes.seal([1], as: "value")
    let primary = try #require(try await bench.record(notes).primary(.customer, .longTerm))
    #expect(try SealedHeader(parsing: sealed).rootKey == primary.id, "E10: new data goes under the customer's key")
    await bench.custody.close()
    let restarted = try await bench.reopened()
    #expect(try await restarted.resource(notes.id).open(sealed, as: "value") == [1])
    await restarted.close()
  }

  @Test("E6: a change whose answer was lost is seen at the next use")
  func lostChange() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    try await notes.roundTrip()
    bench.storeFaults.reset()
    bench.storeFaults.fail(.compareAndSet, call: 1, .after, with: lost)
    #expect(await failure { try await notes.enableCustomerKey(key, converting: []) } == lost)
    #expect(try await bench.record(notes).mode == .enabling)
    let second = try await bench.reopened()
    try await second.resource(notes.id).resumeConversion(of: [])
    let sealed = try await notes.seal([1], as: "value")
    #expect(try await second.resource(notes.id).open(sealed, as: "value") == [1])
    await second.close()
  }

  @Test("I2: switching an identity on and off survives a fault at every step", arguments: [true, false])
  func identityFaults(isOn: Bool) async throws {
    for operation in [FaultingPolicyStore.Operation.compareAndSet, .delete] {
      for moment in [FaultPlan<FaultingPolicyStore.Operation>.Moment.before, .after] {
        for call in 1... {
          let bench = try await ServiceBench()
          let notes = try await bench.custody.createResource(ResourceID("notes"), tenant: TenantID("contoso"))
          if !isOn { try await notes.switchIdentityOn() }
          bench.storeFaults.reset()
          bench.storeFaults.fail(operation, call: call, moment, with: moment == .before ? down : lost)
          _ = await failure {
            if isOn { try await notes.switchIdentityOn() } else { try await notes.switchIdentityOff() }
          }
          guard bench.storeFaults.calls(of: operation) >= call else { break }
          bench.storeFaults.reset()
          let when: Comment = "\(isOn) \(operation) \(call) \(moment)"
          // Whatever was left: on works, and off works, again and again.
          for _ in 0..<2 {
            #expect(await failure { try await notes.switchIdentityOn() } == nil, when)
            let identity = try #require(try await bench.record(notes).identity, when)
            let found = try await bench.custody.identities.lookup(identity)
            #expect(found?.resource == notes.id && found?.isEnabled == true, when)
            #expect(await failure { try await notes.switchIdentityOff() } == nil, when)
            #expect(try await bench.custody.identities.lookup(identity) == nil, when)
            #expect(try await bench.record(notes).identity == nil, when)
          }
        }
      }
    }
  }

  @Test("I2: a principal of somebody else under the resource's name is not taken for its identity")
  func nameTaken() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.custody.createResource(ResourceID("notes"), tenant: TenantID("contoso"))
    try await bench.custody.identities.create(PrincipalID("contoso/notes"), kind: .user)
    #expect(await failure { try await notes.switchIdentityOn() } == error(.invalidInput, .alreadyExists))
    #expect(try await notes.status().identity == nil)
  }

  @Test("E16: the health says what is withdrawn, and tells it from what is out of reach")
  func health() async throws {
    let bench = try await ServiceBench()
    let (notes, key) = try await bench.makeBound()
    #expect(try await notes.status().health == .available)
    bench.keyFaults.failNext(.unwrap, with: down)
    #expect(try await notes.status().health == .unreachable(reason: "unreachable"))
    bench.keyFaults.failNext(.unwrap, with: lost)
    #expect(try await notes.status().health == .unreachable(reason: "deadline"))
    bench.keyFaults.failNext(.unwrap, with: KeyCustodyError(.integrityFailure, .notAuthentic, "Damaged."))
    #expect(try await notes.status().health == .suspended(reason: "not-authentic"))
    try await bench.update(key, isEnabled: false)
    let status = try await notes.status()
    #expect(status.health == .suspended(reason: "key-disabled") && status.key == key)
    #expect(status.identity?.description == "contoso/notes" && status.resource == notes.id)
  }

  @Test("DESIGN 6: a root key that is not the one recorded is refused, though its KEK unwraps it")
  func commitment() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try #require(try await bench.record(notes).primary(.customer, .longTerm))
    let forged = try await bench.custody.newServiceRootKey(
      notes.id, layer: .customer, group: .longTerm, epoch: key.epoch)
    try await bench.custody.change(notes.id) { record in
      for index in record.rootKeys.indices where record.rootKeys[index].id == key.id {
        record.rootKeys[index].envelope = forged.envelope
      }
    }
    #expect(await failure { try await notes.roundTrip() } == error(.integrityFailure, .commitmentMismatch))
  }
}
