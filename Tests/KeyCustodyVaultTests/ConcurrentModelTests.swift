import KeyCustody
import KeyCustodyTesting
import Synchronization
import Testing

@testable import KeyCustodyVault

/// Four callers at once against a model of three states: every answer must fit some order of what happened.
struct ConcurrentModelTests {
  private enum State: Hashable { case absent, living, deleted }
  private enum Operation: Int, CaseIterable { case create, delete, recover, purge, rotate, wrap }
  private struct Event {
    var operation: Operation
    var outcome: KeyCustodyError?
    var begin: Int
    var end: Int
  }
  private final class Record: Sendable {
    private let clock = Atomic<Int>(0)
    private let events = Mutex<[String: [[Event]]]>([:])
    let wrapped = Mutex<[Vaults.Wrapped]>([])
    func tick() -> Int { clock.add(1, ordering: .sequentiallyConsistent).newValue }
    func add(_ event: Event, _ key: String, _ caller: Int) {
      events.withLock { $0[key, default: Array(repeating: [], count: 4)][caller].append(event) }
    }
    var all: [String: [[Event]]] { events.withLock { $0 } }
  }

  @Test(
    "V2, V3: 2,000 operations of four callers at once answer as some order of them would", arguments: [false, true])
  func linearizable(isProtected: Bool) async throws {
    let bench = try await VaultBench(days: 7, purgeProtection: isProtected)
    let record = Record()
    await withTaskGroup(of: Void.self) { group in
      for caller in 0..<4 {
        let random = SeededRandom(seed: UInt64(77 + caller + (isProtected ? 100 : 0)))
        group.addTask {
          for _ in 0..<500 {
            // Under protection nothing is ever gone: more names keep every state in play.
            let name = "k\(random.next() % (isProtected ? 40 : 3))"
            let operation = Operation(rawValue: Int(random.next() % 6)) ?? .wrap
            let begin = record.tick()
            let outcome = await failure { try await run(operation, name, bench, record) }
            record.add(Event(operation: operation, outcome: outcome, begin: begin, end: record.tick()), name, caller)
          }
        }
      }
    }
    let all = record.all
    for (name, events) in all {
      #expect(fits(events, isProtected), "no order of what happened to \(name) explains the answers")
    }
    try await bench.checkWhole("four callers")
    let living = Set(try await bench.recorded().filter { $0.stage == .ready }.map(\.version))
    #expect(try await bench.inventory() == living, "every key that is held can be used, or recovered")
    var unwrapped = 0
    while true {
      let page = try await bench.vaults.listDeletedKeys(in: bench.vault, as: bench.owner, context: bench.context)
      if page.items.isEmpty { break }
      for item in page.items {
        try await bench.vaults.recoverKey(item.key.uri, as: bench.owner, context: bench.context)
      }
    }
    for wrapped in record.wrapped.withLock({ $0 }) {
      guard let version = wrapped.key.version, living.contains(version) else { continue }
      #expect(try await bench.unwrap(wrapped))
      unwrapped += 1
    }
    let count = all.values.joined().joined().count
    let done = Set(all.values.joined().joined().map { "\($0.operation) \($0.outcome?.reason.rawValue ?? "done")" })
    #expect(count == 2000 && unwrapped > 0 && done.count > 12, "\(done.sorted())")
    print("four callers: \(count) operations, \(done.count) kinds of answers, \(unwrapped) unwrapped afterwards")
  }

  private func run(_ operation: Operation, _ name: String, _ bench: VaultBench, _ record: Record) async throws {
    let (vaults, owner, context, uri) = (bench.vaults, bench.owner, bench.context, try bench.uri(name))
    switch operation {
    case .create: try await bench.create(name)
    case .delete: try await vaults.deleteKey(uri, as: owner, context: context)
    case .recover: try await vaults.recoverKey(uri, as: owner, context: context)
    case .purge: try await vaults.purgeKey(uri, as: owner, context: context)
    case .rotate: try await vaults.rotateKey(uri, as: owner, context: context)
    case .wrap:
      let wrapped = try await bench.wrap(uri)
      record.wrapped.withLock { $0.append(wrapped) }
    }
  }

  /// The states in which an operation may answer so, each with the state afterwards.
  private func steps(_ event: Event, _ isProtected: Bool) -> [State: State] {
    let unchanged: [State: State] = [.absent: .absent, .living: .living, .deleted: .deleted]
    switch (event.operation, event.outcome?.reason) {
    case (.create, nil): return [.absent: .living]
    case (.create, .alreadyExists?): return [.living: .living]
    case (.create, .deletedButRecoverable?): return [.deleted: .deleted]
    case (.delete, nil): return [.living: .deleted]
    case (.recover, nil): return [.deleted: .living]
    case (.recover, .keyUnknown?): return [.absent: .absent, .living: .living]
    // Of two purges of one deletion both are done when the first is.
    case (.purge, nil): return isProtected ? [:] : [.deleted: .absent, .absent: .absent]
    case (.purge, .keyUnknown?): return [.absent: .absent, .living: .living]
    case (.purge, .purgeProtected?): return isProtected ? [.deleted: .deleted] : [:]
    case (.rotate, nil), (.wrap, nil): return [.living: .living]
    // The material is gone a moment before the record.
    case (.wrap, .keyVersionUnknown?): return [.absent: .absent, .deleted: .deleted]
    case (.delete, .keyUnknown?), (.rotate, .keyUnknown?), (.wrap, .keyUnknown?): return [.absent: .absent]
    case (.delete, .keyDeleted?), (.rotate, .keyDeleted?), (.wrap, .keyDeleted?), (.recover, .keyDeleted?):
      return [.deleted: .deleted]
    // Overtaken in the middle, and said so: nothing was done.
    case (_, .conflict?), (.create, .keyUnknown?): return unchanged
    default: return [:]
    }
  }

  /// Whether some order of the events that respects time explains every answer.
  private func fits(_ callers: [[Event]], _ isProtected: Bool) -> Bool {
    struct Point: Hashable {
      var next: [Int]
      var state: State
    }
    var open = [Point(next: Array(repeating: 0, count: callers.count), state: .absent)]
    var seen = Set(open)
    while let point = open.popLast() {
      let pending = callers.indices.filter { point.next[$0] < callers[$0].count }
      if pending.isEmpty { return true }
      let firstEnd = pending.map { callers[$0][point.next[$0]].end }.min() ?? 0
      for caller in pending {
        let event = callers[caller][point.next[caller]]
        guard event.begin <= firstEnd, let state = steps(event, isProtected)[point.state] else { continue }
        var following = point
        following.next[caller] += 1
        following.state = state
        if seen.insert(following).inserted { open.append(following) }
      }
    }
    return false
  }
}
