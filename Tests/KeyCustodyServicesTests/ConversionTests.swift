import KeyCustody
import KeyCustodyEnvelope
import KeyCustodyTestSupport
import KeyCustodyTesting
import KeyCustodyVault
import Synchronization
import Testing

@testable import KeyCustodyServices

/// Converting stored data (SEMANTICS E6): resumable, and nothing is ever unreadable.
struct ConversionTests {
  private static let names = (0..<7).map { "item/\($0)" }

  private func fill(_ store: MemorySealedStore, _ notes: ProtectedResource) async throws {
    for name in Self.names {
      try store.put(try await notes.seal(Array(name.utf8), as: name), as: name, of: notes.id)
    }
    let transient = try await notes.seal([9], as: "flying", dataClass: "transient")
    try store.put(transient, as: "flying", of: notes.id, dataClass: "transient")
  }

  private func checkReadable(_ store: MemorySealedStore, _ notes: ProtectedResource, _ when: Comment) async throws {
    for name in Self.names {
      let sealed = try #require(store.get(name, of: notes.id), when)
      #expect(try await notes.open(sealed, as: name) == Array(name.utf8), when)
    }
    let transient = try #require(store.get("flying", of: notes.id))
    #expect(try await notes.open(transient, as: "flying", dataClass: "transient") == [9], when)
  }

  @Test(
    "E6: interrupted at any item, a conversion resumes and nothing is unreadable in between", arguments: [true, false])
  func interrupted(after: Bool) async throws {
    for failing in 1... {
      let bench = try await ServiceBench()
      let notes = try await bench.makeResource()
      let key = try await bench.makeKey()
      let store = MemorySealedStore()
      try await fill(store, notes)
      let flying = store.get("flying", of: notes.id)
      let stopping = InterruptedStore(store, failing: failing, after: after)
      let outcome = await failure { try await notes.enableCustomerKey(key, converting: [stopping]) }
      guard stopping.isReached else {
        #expect(outcome == nil && failing == Self.names.count + 1)
        break
      }
      #expect(outcome == down)
      let status = try await notes.status()
      #expect(status.mode == .enabling && status.outgoingRootKeys == 1 && status.health == .available)
      try await checkReadable(store, notes, "interrupted at \(failing)")
      // Started again, in the middle.
      await bench.custody.close()
      let restarted = try await bench.reopened()
      let again = try await restarted.resource(notes.id)
      try await checkReadable(store, again, "started again at \(failing)")
      let seen = Mutex<[Int]>([])
      let converted = try await again.resumeConversion(of: [store]) { count in seen.withLock { $0.append(count) } }
      #expect(converted == Self.names.count - failing + (after ? 0 : 1), "what is converted already is left alone")
      #expect(seen.withLock { $0 } == Array(1...max(converted, 1)).prefix(converted).map { $0 })
      #expect(try await again.status().mode == .customerManaged)
      try await checkReadable(store, again, "resumed from \(failing)")
      #expect(store.get("flying", of: notes.id) == flying, "E13: transient data is left alone")
      await restarted.close()
    }
  }

  @Test("E6: a provider that goes away stops a conversion, and coming back lets it resume")
  func providerAway() async throws {
    let bench = try await ServiceBench(lease: 0)
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let store = MemorySealedStore()
    try await fill(store, notes)
    // The proof of the binding is the first; then each renewal asks.
    bench.keyFaults.fail(.unwrap, call: 4, with: down)
    #expect(await failure { try await notes.enableCustomerKey(key, converting: [store]) } == down)
    #expect(try await notes.status().mode == .enabling)
    try await checkReadable(store, notes, "the provider is back")
    #expect(try await notes.resumeConversion(of: [store]) > 0)
    try await checkReadable(store, notes, "converted")
  }

  @Test("E8: withdrawn in the middle of a conversion, what is converted is unreadable, what is not still opens")
  func revokedInTheMiddle() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let store = MemorySealedStore()
    try await fill(store, notes)
    _ = await failure { try await notes.enableCustomerKey(key, converting: [InterruptedStore(store, failing: 4)]) }
    try await bench.update(key, isEnabled: false)
    #expect(await failure { try await notes.resumeConversion(of: [store]) }?.reason == .keyDisabled)
    #expect(try await notes.status().health == .suspended(reason: "key-disabled"))
    try await bench.update(key, isEnabled: true)
    try await notes.resumeConversion(of: [store])
    try await checkReadable(store, notes, "granted again and converted")
  }

  @Test("E6: an item that can't be converted is named, and the others stay readable")
  func damagedItem() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let store = MemorySealedStore()
    try await fill(store, notes)
    var damaged = try #require(store.get("item/3", of: notes.id))
    let intact = damaged
    damaged[damaged.count - 1] ^= 1
    try store.put(damaged, as: "item/3", of: notes.id)
    let stopped = await failure { try await notes.enableCustomerKey(key, converting: [store]) }
    #expect(stopped == error(.integrityFailure, .notAuthentic))
    #expect(stopped?.message.contains("item/3") == true, "it says which: \(stopped.debugDescription)")
    #expect(try await notes.status().mode == .enabling, "the old root key is kept: nothing is given up")
    try store.put(intact, as: "item/3", of: notes.id)
    try await notes.resumeConversion(of: [store])
    try await checkReadable(store, notes, "repaired")
  }

  @Test("E6: a store that never keeps what it renews ends a conversion with an error, and not never")
  func forgetfulStore() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let store = MemorySealedStore()
    try await fill(store, notes)
    let stopped = await failure { try await notes.enableCustomerKey(key, converting: [Forgetful(inner: store)]) }
    #expect(stopped == error(.busy, .conflict) && stopped?.remedy.isEmpty == false)
    try await checkReadable(store, notes, "nothing was given up")
    try await notes.resumeConversion(of: [store])
    try await checkReadable(store, notes, "converted")
  }

  private struct Forgetful: SealedStore {
    let inner: MemorySealedStore
    func items(
      of resource: ResourceID, after object: String?, limit: Int
    ) async throws(KeyCustodyError) -> [SealedItem] {
      try await inner.items(of: resource, after: object, limit: limit)
    }
    func renew(_ item: SealedItem, _ renewal: SealedRenewal) async throws(KeyCustodyError) {}
  }

  @Test("E6: two conversions at once end well, and converting again does nothing")
  func twoAtOnce() async throws {
    let bench = try await ServiceBench()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let store = MemorySealedStore()
    try await fill(store, notes)
    _ = await failure { try await notes.enableCustomerKey(key, converting: [InterruptedStore(store, failing: 1)]) }
    async let first = failure { try await notes.resumeConversion(of: [store]) }
    async let second = failure { try await notes.resumeConversion(of: [store]) }
    for outcome in await [first, second] { #expect(outcome == nil, "already done is done") }
    #expect(try await notes.status().mode == .customerManaged)
    try await checkReadable(store, notes, "converted twice")
    #expect(try await notes.resumeConversion(of: [store]) == 0)
  }

  @Test(
    "E6: values written in one step with their storing stay readable, whatever converts meanwhile", arguments: [0, 60])
  func writesMeanwhile(_ lease: Int) async throws {
    let bench = try await ServiceBench(lease: lease)
    let folder = try TemporaryFolder()
    let store = try FolderSealedStore(folder: folder.path)
    try await store.prepare()
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let isOver = Tally()
    try await withThrowingTaskGroup(of: Int.self) { group in
      for writer in 0..<4 {
        group.addTask {
          var count = 0
          while isOver.value == 0, !Task.isCancelled {
            let name = "w\(writer)/\(count % 10)"
            let value = Array("\(writer) \(count)".utf8)
            try await store.put(value, as: name, in: notes, identifiers: ["count": "\(count)"])
            let found = try await store.get(name, in: notes)
            #expect(found == value)
            count += 1
          }
          return count
        }
      }
      for _ in 0..<3 {
        try await notes.enableCustomerKey(key, converting: [store])
        try await notes.disableCustomerKey(converting: [store])
      }
      isOver.add()
      for try await count in group { #expect(count > 0) }
    }
    bench.clock.advance(by: .seconds(61))
    for item in try await store.items(of: notes.id, after: nil, limit: 1000) {
      let value = try await store.get(item.object, in: notes)
      #expect(String(decoding: value, as: UTF8.self).hasSuffix(" \(item.identifiers["count"] ?? "")"))
    }
  }

  @Test("E6: files sealed while a conversion runs stay readable")
  func filesMeanwhile() async throws {
    let bench = try await ServiceBench()
    let folder = try TemporaryFolder()
    let store = try FolderSealedStore(folder: folder.appending("data"))
    let notes = try await bench.makeResource()
    let key = try await bench.makeKey()
    let content = [UInt8](repeating: 0x5a, count: 2_500_000)
    let source = try folder.write(content, to: "source")
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<6 {
        group.addTask { try await store.putFile(source, as: "film-\(number)", in: notes) }
      }
      group.addTask {
        try await notes.enableCustomerKey(key, converting: [store])
        try await notes.disableCustomerKey(converting: [store])
        try await notes.enableCustomerKey(key, converting: [store])
      }
      try await group.waitForAll()
    }
    try await notes.resumeConversion(of: [store])
    for number in 0..<6 {
      try await store.getFile("film-\(number)", in: notes, to: folder.appending("opened"))
      #expect(try folder.read("opened") == content)
    }
  }
}
