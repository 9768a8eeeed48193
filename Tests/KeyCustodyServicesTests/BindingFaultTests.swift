import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTesting
import KeyCustodyVault
import Testing

@testable import KeyCustodyServices

/// Every step of binding, updating and unbinding fails once, and the service is started again.
struct BindingFaultTests {
  enum Change: String, CaseIterable, Sendable {
    case enable, rewrap, reencrypt, disable
  }

  private struct Stage {
    let bench: ServiceBench
    let store = MemorySealedStore()
    let notes: ProtectedResource
    let first: KeyURI
    let second: KeyURI

    init(_ change: Change) async throws {
      bench = try await ServiceBench()
      var profile = try Profile.custom()
      profile.rotation = change == .reencrypt ? .reencrypt : .rewrap
      notes = try await bench.makeResource(profile: profile)
      first = try await bench.makeKey()
      second = try await bench.rotate(first)
      if change != .enable { try await notes.enableCustomerKey(first, converting: []) }
      for name in ["a", "b"] {
        try store.put(try await notes.seal(Array(name.utf8), as: name), as: name, of: notes.id)
      }
      bench.keyFaults.reset()
      bench.storeFaults.reset()
    }

    func run(_ change: Change, on resource: ProtectedResource) async throws {
      switch change {
      case .enable: try await resource.enableCustomerKey(first, converting: [store])
      case .rewrap, .reencrypt: try await resource.updateCustomerKey(second, converting: [store])
      case .disable: try await resource.disableCustomerKey(converting: [store])
      }
    }

    func checkReadable(_ resource: ProtectedResource, _ when: Comment) async throws {
      for name in ["a", "b"] {
        let sealed = try #require(store.get(name, of: resource.id), when)
        let outcome = await failure {
          let opened = try await resource.open(sealed, as: name)
          #expect(opened == Array(name.utf8), when)
        }
        #expect(outcome == nil, when)
      }
      let outcome = await failure { try await resource.roundTrip() }
      #expect(outcome == nil, when)
    }
  }

  /// Runs a change with one fault, then starts again and finishes it.
  ///
  /// Answers whether the fault was met.
  private func attempt(
    _ change: Change, _ when: Comment, fault: (ServiceBench) -> Void, isMet: (ServiceBench) -> Bool
  ) async throws -> Bool {
    let stage = try await Stage(change)
    fault(stage.bench)
    let outcome = await failure { try await stage.run(change, on: stage.notes) }
    guard isMet(stage.bench) else {
      #expect(outcome == nil, when)
      await stage.bench.custody.close()
      return false
    }
    stage.bench.keyFaults.reset()
    stage.bench.storeFaults.reset()
    try await stage.checkReadable(stage.notes, "in the same process: \(when)")
    await stage.bench.custody.close()
    let restarted = try await stage.bench.reopened()
    let notes = try await restarted.resource(stage.notes.id)
    try await stage.checkReadable(notes, "started again: \(when)")
    try await notes.resumeConversion(of: [stage.store])
    let wanted: EncryptionMode = change == .disable ? .serviceManaged : .customerManaged
    let key = change == .disable ? nil : change == .enable ? stage.first : stage.second
    var record = try await restarted.record(notes.id)
    #expect([.serviceManaged, .customerManaged].contains(record.mode), when)
    if record.mode != wanted || record.customerKey != key { try await stage.run(change, on: notes) }
    record = try await restarted.record(notes.id)
    #expect(record.mode == wanted && record.customerKey == key, when)
    #expect(record.rootKeys.count == 6 && record.outgoing.isEmpty, when)
    #expect(record.rootKeys.filter(\.isCustomerManaged).allSatisfy { $0.kek == key }, when)
    try await stage.checkReadable(notes, "finished: \(when)")
    #expect(try await notes.status().health == .available, when)
    await restarted.close()
    return true
  }

  @Test("E6, E7, E11: a fault at every call of the policy store leaves a whole state", arguments: Change.allCases)
  func storeFaults(_ change: Change) async throws {
    var runs = 0
    let operations: [(FaultingPolicyStore.Operation, [FaultPlan<FaultingPolicyStore.Operation>.Moment])] = [
      (.read, [.before]), (.compareAndSet, [.before, .after]), (.delete, [.before, .after]), (.list, [.before]),
    ]
    for (operation, moments) in operations {
      for moment in moments {
        for call in 1... {
          let isMet = try await attempt(change, "\(change) \(operation) \(call) \(moment)") {
            $0.storeFaults.fail(operation, call: call, moment, with: moment == .before ? down : lost)
          } isMet: {
            $0.storeFaults.calls(of: operation) >= call
          }
          guard isMet else { break }
          runs += 1
        }
      }
    }
    print("\(change.rawValue): \(runs) faults of the policy store")
    #expect(runs > 10)
  }

  @Test(
    "E6, E7, E11: a fault at every call of the customer's provider leaves a whole state", arguments: Change.allCases)
  func providerFaults(_ change: Change) async throws {
    var runs = 0
    for operation in [FaultingKeyProvider.Operation.wrap, .unwrap, .describe, .generate, .sign, .destroy] {
      for moment in [FaultPlan<FaultingKeyProvider.Operation>.Moment.before, .after] {
        for call in 1... {
          let isMet = try await attempt(change, "\(change) \(operation) \(call) \(moment)") {
            $0.keyFaults.fail(operation, call: call, moment, with: moment == .before ? down : lost)
          } isMet: {
            $0.keyFaults.calls(of: operation) >= call
          }
          guard isMet else { break }
          runs += 1
        }
      }
    }
    print("\(change.rawValue): \(runs) faults of the provider")
    #expect(runs >= 2)
  }
}
