import KeyCustody
import KeyCustodyFile
import KeyCustodyTestSupport
import Testing

/// Every call to the file system fails once, and no record is ever torn, lost or brought back.
struct RecordFaultTests {
  @Test("A policy store is as before or as asked, whichever call fails", arguments: FaultingFileSystem.Fault.allCases)
  func changes(fault: FaultingFileSystem.Fault) async throws {
    var runs = 0
    var errors = 0
    for number in 1...1000 {
      let trial = try await RecordTrial()
      let system = FaultingFileSystem(fault, at: number)
      await trial.work(through: system)
      runs += 1
      errors += trial.errors.isEmpty ? 0 : 1
      try await trial.check("\(fault) at call \(number)")
      if system.calls.count < number {
        #expect(trial.errors.isEmpty)
        break
      }
    }
    print("policy store, \(fault): \(runs) runs, \(errors) with an error")
    #expect(runs > 30 && runs < 1000)
    #expect(errors >= (fault == .shortWrite ? 3 : 40))
  }

  @Test("A store in the making is made, or can be made anew", arguments: FaultingFileSystem.Fault.allCases)
  func making(fault: FaultingFileSystem.Fault) async throws {
    var runs = 0
    for number in 1...1000 {
      let store = try FileStore()
      let system = FaultingFileSystem(fault, at: number)
      var identity: ProviderIdentity?
      do throws(KeyCustodyError) {
        let records = try await FilePolicyStore(directory: store.records, system: system)
        identity = records.identity
        await records.close()
      } catch {}
      runs += 1
      let again = try await store.openRecords()
      if let identity { #expect(again.identity == identity) }
      let outcome = try await again.compareAndSet(try RecordKey("a"), expecting: nil, value: [1])
      guard case .stored = outcome else {
        Issue.record("\(fault) at call \(number): \(outcome)")
        return
      }
      await again.close()
      if system.calls.count < number { break }
    }
    print("making a policy store, \(fault): \(runs) runs")
    #expect(runs > 10 && runs < 1000)
  }

  @Test("A record is on the disk before it has its name, and its name before it is answered")
  func order() async throws {
    let store = try FileStore()
    let system = FaultingFileSystem()
    let records = try await FilePolicyStore(directory: store.records, system: system)
    let key = try RecordKey("a")
    guard case .stored(let first) = try await records.compareAndSet(key, expecting: nil, value: [1]) else {
      Issue.record("not stored")
      return
    }
    let before = system.calls.count
    guard case .stored(let second) = try await records.compareAndSet(key, expecting: first, value: [2]) else {
      Issue.record("not stored")
      return
    }
    let verbs = { (calls: ArraySlice<String>) in calls.map { String($0.prefix { $0 != " " }) } }
    #expect(
      verbs(system.calls[before...]) == ["open", "write", "synchronize", "rename", "open", "synchronize"])
    let middle = system.calls.count
    #expect(try await records.delete(key, expecting: second) == .stored(StoreRevision(3)))
    #expect(verbs(system.calls[middle...]) == ["remove", "open", "synchronize"])
    await records.close()
  }

  @Test("A change whose name could not be brought to the disk is told as made only when it is there")
  func unconfirmed() async throws {
    let key = try RecordKey("a")
    // The last call of a change that nothing disturbs is the one that brings the folder to the disk.
    var last = 0
    for isDisturbed in [false, true] {
      let store = try FileStore()
      let first = try await store.openRecords()
      _ = try await first.compareAndSet(key, expecting: nil, value: [1])
      await first.close()
      let system = isDisturbed ? FaultingFileSystem(.ioError, at: last) : FaultingFileSystem()
      let records = try await FilePolicyStore(directory: store.records, system: system)
      let revision = try await records.read(key)?.revision
      do {
        _ = try await records.compareAndSet(key, expecting: revision, value: [2])
        #expect(!isDisturbed)
      } catch { #expect(isDisturbed && (error.code, error.reason) == (.timeout, .notConfirmed), "\(error)") }
      if !isDisturbed { last = system.calls.count }
      let answer = system.calls.count
      #expect(try await records.read(key)?.value == [2])
      if isDisturbed {
        let after = system.calls[last...].map { String($0.prefix { $0 != " " }) }
        #expect(after.starts(with: ["open", "synchronize"]) && answer > last, "\(after)")
      }
      await records.close()
    }
  }
}

/// A store with two records, of which one is changed and one removed, while a third is made.
private final class RecordTrial {
  private enum Outcome { case untried, unknown, done }

  private let store: FileStore
  private let changed: RecordKey
  private let removed: RecordKey
  private let added: RecordKey
  private var outcomes: [RecordKey: Outcome] = [:]
  private var newest = StoreRevision.zero
  private(set) var errors: [KeyCustodyError] = []

  init() async throws {
    store = try FileStore()
    changed = try RecordKey("changed")
    removed = try RecordKey("removed")
    added = try RecordKey("added")
    let records = try await store.openRecords()
    _ = try await records.compareAndSet(changed, expecting: nil, value: [1])
    _ = try await records.compareAndSet(removed, expecting: nil, value: [1])
    newest = try await records.currentRevision()
    await records.close()
  }

  func work(through system: FaultingFileSystem) async {
    do throws(KeyCustodyError) {
      let records = try await FilePolicyStore(directory: store.records, system: system)
      let before = newest
      await attempt(changed) { () throws(KeyCustodyError) in
        try await records.compareAndSet(
          self.changed, expecting: StoreRevision(before.number - 1), value: [UInt8](repeating: 2, count: 5000))
      }
      await attempt(removed) { () throws(KeyCustodyError) in try await records.delete(self.removed, expecting: before) }
      await attempt(added) { () throws(KeyCustodyError) in
        try await records.compareAndSet(self.added, expecting: nil, value: [3])
      }
      await records.close()
    } catch { errors.append(error) }
  }

  private func attempt(
    _ key: RecordKey, _ body: () async throws(KeyCustodyError) -> StoreOutcome
  ) async {
    do throws(KeyCustodyError) {
      guard case .stored(let revision) = try await body() else {
        Issue.record("A change of '\(key)' met a conflict.")
        return
      }
      #expect(revision > newest)
      newest = revision
      outcomes[key] = .done
    } catch {
      errors.append(error)
      // Only a timeout leaves open what happened.
      outcomes[key] = error.code == .timeout ? .unknown : .untried
    }
  }

  /// Opens the store on the real file system: everything is whole, and what was answered is so.
  func check(_ when: String) async throws {
    let records = try await store.openRecords()
    let old: [UInt8] = [1]
    let values = try await (
      records.read(changed)?.value, records.read(removed)?.value, records.read(added)?.value
    )
    let large = [UInt8](repeating: 2, count: 5000)
    #expect(fits(changed, values.0, before: old, after: large), "\(when)")
    #expect(fits(removed, values.1, before: old, after: nil), "\(when)")
    #expect(fits(added, values.2, before: nil, after: [3]), "\(when)")
    let listed = try await records.list(prefix: "", after: nil, limit: 10)
    #expect(listed.count == [values.0, values.1, values.2].compactMap { $0 }.count, "\(when)")
    #expect(try await records.currentRevision() >= newest, "\(when)")
    let key = try RecordKey("next")
    guard case .stored(let revision) = try await records.compareAndSet(key, expecting: nil, value: []) else {
      Issue.record("\(when): the next change met a conflict")
      return
    }
    #expect(revision > newest && listed.allSatisfy { $0.revision < revision }, "\(when)")
    let names = try POSIXFileSystem().names(in: store.records + "/records")
    #expect(names.allSatisfy { $0.hasSuffix(".record") }, "\(when): something was left")
    await records.close()
  }

  private func fits(_ key: RecordKey, _ found: [UInt8]?, before: [UInt8]?, after: [UInt8]?) -> Bool {
    switch outcomes[key] ?? .untried {
    case .done: found == after
    case .unknown: found == before || found == after
    case .untried: found == before
    }
  }
}
