import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServices

/// Root keys are added, retired, taken to other KEKs and destroyed.
struct KeysetTests {
  /// A resource with five stored values.
  private func makeStored(
    _ bench: ServiceBench, isBound: Bool = true
  ) async throws -> (ProtectedResource, MemorySealedStore) {
    let notes = isBound ? try await bench.makeBound().0 : try await bench.makeResource()
    let store = MemorySealedStore()
    for number in 0..<5 { try await put(number, notes, store) }
    return (notes, store)
  }

  private func put(_ number: Int, _ notes: ProtectedResource, _ store: MemorySealedStore) async throws {
    try store.put(try await notes.seal([UInt8(number)], as: "\(number)"), as: "\(number)", of: notes.id)
  }

  private func opens(_ range: Range<Int>, _ notes: ProtectedResource, _ store: MemorySealedStore) async throws {
    for number in range {
      let sealed = try #require(store.get("\(number)", of: notes.id))
      #expect(try await notes.open(sealed, as: "\(number)") == [UInt8(number)])
    }
  }

  @Test(
    "A new root key takes new data; the retired one opens older data until that is converted, then it is gone",
    arguments: [true, false])
  func addAndConvert(isBound: Bool) async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await makeStored(bench, isBound: isBound)
    let before = try await bench.record(notes)
    let old = try #require(before.primary(.customer, .longTerm))
    let new = try await notes.addRootKey()
    try await put(5, notes, store)
    try await opens(0..<6, notes, store)
    let between = try await notes.rootKeyUse(in: [store]).filter { $0.layer == .customer && $0.group == .longTerm }
    #expect(between.map(\.id) == [old.id, new] && between.map(\.items) == [5, 1])
    #expect(between.map(\.isPrimary) == [false, true])
    #expect(between.map(\.kek) == [old.kek, old.kek], "the KEK stays what it is")
    #expect(try await notes.status().outgoingRootKeys == 1)
    #expect(await failure { try await notes.destroyRootKey(old.id, unusedIn: [store]) }?.reason == .rootKeyInUse)
    #expect(await failure { try await notes.destroyRootKey(new, unusedIn: [store]) }?.reason == .rootKeyInUse)
    #expect(try await notes.resumeConversion(of: [store]) == 5)
    try await opens(0..<6, notes, store)
    let after = try await bench.record(notes)
    #expect(after.mode == before.mode && after.customerKey == before.customerKey)
    #expect(after.rootKeys.filter { $0.layer == .customer && $0.group == .longTerm }.map(\.id) == [new])
    #expect(try await notes.resumeConversion(of: [store]) == 0)
    #expect(await failure { try await notes.destroyRootKey(old.id, unusedIn: [store]) }?.reason == .unknownRootKey)
  }

  @Test("A retired root key that nothing is under is destroyed, and what was under it then opens no more")
  func destroy() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await makeStored(bench)
    let old = try #require(try await bench.record(notes).primary(.customer, .longTerm)).id
    let sealed = try #require(store.get("0", of: notes.id))
    try await notes.addRootKey()
    for number in 0..<5 { try await put(number, notes, store) }
    try await notes.destroyRootKey(old, unusedIn: [store])
    try await opens(0..<5, notes, store)
    #expect(await failure { _ = try await notes.open(sealed, as: "0") }?.reason == .unknownRootKey)
    #expect(try await !bench.record(notes).rootKeys.contains { $0.id == old })
  }

  @Test("A retired root key of the service layer stays with the data that is under it")
  func serviceLayer() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await makeStored(bench)
    let old = try #require(try await bench.record(notes).primary(.service, .longTerm)).id
    let new = try await notes.addRootKey(.service)
    try await put(5, notes, store)
    #expect(try await bench.record(notes).primary(.service, .longTerm)?.id == new)
    #expect(await failure { try await notes.destroyRootKey(old, unusedIn: [store]) }?.reason == .rootKeyInUse)
    try await opens(0..<6, notes, store)
  }

  @Test("No root key is added while a conversion is under way")
  func addDuringConversion() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await makeStored(bench, isBound: false)
    let key = try await bench.makeKey()
    let stopping = InterruptedStore(store, failing: 3)
    #expect(await failure { try await notes.enableCustomerKey(key, converting: [stopping]) } == down)
    #expect(await failure { try await notes.addRootKey() }?.reason == .wrongResourceState)
    try await notes.resumeConversion(of: [store])
    try await notes.addRootKey()
    try await opens(0..<5, notes, store)
  }

  @Test("E10: of the root keys that a resource has had, none was ever wrapped by the service and then by a customer")
  func neverBoth() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await makeStored(bench, isBound: false)
    var serviceWrapped: Set<RootKeyID> = []
    func note() async throws {
      let keys = try await bench.record(notes).rootKeys
      serviceWrapped.formUnion(keys.filter { !$0.isCustomerManaged }.map(\.id))
      #expect(keys.filter(\.isCustomerManaged).allSatisfy { !serviceWrapped.contains($0.id) })
    }
    try await note()
    try await notes.addRootKey()
    try await note()
    try await notes.enableCustomerKey(try await bench.makeKey(), converting: [store])
    try await note()
    try await notes.addRootKey()
    try await note()
    #expect(try await bench.record(notes).rootKeys.filter(\.isCustomerManaged).count == 2)
    try await notes.updateCustomerKey(try await bench.rotate(try bench.uri("notes")), converting: [store])
    try await note()
    try await opens(0..<5, notes, store)
  }

  @Test(
    "E12: the service's keys are rotated, and a resource goes over to the new versions without its data being touched")
  func rotateServiceKeys() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await makeStored(bench)
    let before = try await bench.record(notes)
    let sealed = store.get("0", of: notes.id)
    let new = try await bench.custody.rotateServiceKeys()
    #expect(new.count == 2)
    #expect(try await bench.record(notes).rootKeys == before.rootKeys, "nothing is changed yet")
    let old = before.rootKeys.filter { !$0.isCustomerManaged }
    #expect(try await notes.rewrapServiceKeys() == old.count)
    let after = try await bench.record(notes)
    #expect(after.rootKeys.map(\.id) == before.rootKeys.map(\.id))
    #expect(after.rootKeys.map(\.isPrimary) == before.rootKeys.map(\.isPrimary))
    #expect(after.rootKeys.filter { !$0.isCustomerManaged }.allSatisfy { new.contains($0.kek) })
    #expect(after.rootKeys.filter(\.isCustomerManaged) == before.rootKeys.filter(\.isCustomerManaged))
    #expect(try await notes.rewrapServiceKeys() == 0)
    #expect(store.get("0", of: notes.id) == sealed)
    try await opens(0..<5, notes, store)
    // A process that opens the deployment anew has nothing in memory.
    let again = try await bench.reopened()
    let reopened = try await again.resource(notes.id)
    #expect(try await reopened.open(#require(sealed), as: "0") == [0])
    await again.close()
  }

  @Test("A rewrap that fails leaves the keyset as it was")
  func failedRewrap() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await makeStored(bench)
    try await bench.custody.rotateServiceKeys()
    let before = try await bench.record(notes).rootKeys
    bench.storeFaults.failNext(.compareAndSet, with: down)
    #expect(await failure { try await notes.rewrapServiceKeys() } == down)
    #expect(try await bench.record(notes).rootKeys == before)
    try await opens(0..<5, notes, store)
    #expect(try await notes.rewrapServiceKeys() > 0)
    try await opens(0..<5, notes, store)
  }

  @Test("A sealer that somebody kept seals nothing more under a key that is gone")
  func keptSealer() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await makeStored(bench)
    let old = try #require(try await bench.record(notes).primary(.customer, .longTerm)).id
    let sealer = try await notes.sealer()
    _ = try sealer.seal([1], as: "early")
    try await notes.addRootKey()
    for number in 0..<5 { try await put(number, notes, store) }
    try await notes.destroyRootKey(old, unusedIn: [store])
    #expect(await failure { _ = try sealer.seal([1], as: "late") }?.reason == .leaseEnded)
    try await notes.roundTrip()
  }

  @Test("Two who convert at once, one by an older view of the keyset, lose no value", arguments: 0..<8)
  func overtakenConversion(_ round: Int) async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await makeStored(bench)
    for number in 5..<40 { try await put(number, notes, store) }
    try await notes.addRootKey()
    await withTaskGroup(of: Void.self) { group in
      group.addTask { _ = await failure { try await notes.resumeConversion(of: [store]) } }
      group.addTask {
        for _ in 0..<round * 20 { await Task.yield() }
        _ = await failure {
          try await notes.addRootKey()
          try await notes.resumeConversion(of: [store])
        }
      }
    }
    try await notes.resumeConversion(of: [store])
    try await opens(0..<40, notes, store)
    #expect(try await notes.status().outgoingRootKeys == 0)
  }

  @Test("A conversion goes on past a renewal of the service's keys, and no key is destroyed while it lasts")
  func rewrapDuringConversion() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await makeStored(bench, isBound: false)
    let old = try #require(try await bench.record(notes).primary(.customer, .longTerm)).id
    let stopping = InterruptedStore(store, failing: 3)
    let key = try await bench.makeKey()
    #expect(await failure { try await notes.enableCustomerKey(key, converting: [stopping]) } == down)
    #expect(await failure { try await notes.destroyRootKey(old, unusedIn: [store]) }?.reason == .wrongResourceState)
    try await bench.custody.rotateServiceKeys()
    try await notes.rewrapServiceKeys()
    #expect(try await notes.resumeConversion(of: [store]) == 3)
    #expect(try await bench.record(notes).mode == .customerManaged)
    try await opens(0..<5, notes, store)
  }

  @Test("A resource has at most 64 root keys, and enabling still finds room")
  func bounded() async throws {
    let bench = try await ServiceBench()
    let (notes, store) = try await makeStored(bench, isBound: false)
    var refusal: KeyCustodyError?
    for _ in 0..<64 where refusal == nil { refusal = await failure { try await notes.addRootKey(.service) } }
    #expect(refusal?.reason == .wrongSize)
    #expect(try await bench.record(notes).rootKeys.count == 64)
    try await notes.enableCustomerKey(try await bench.makeKey(), converting: [store])
    try await opens(0..<5, notes, store)
  }
}
