public import KeyCustody
import Synchronization

/// Tasks that change records without a pause while the server beneath the store is killed, and keep account of what they
/// were answered.
///
/// Each task has a record of its own that it counts up, and removes now and then, so that nobody else explains what it
/// finds there.
public final class CrashLoad: Sendable {
  /// What came of it.
  public struct Counts: Sendable {
    /// Changes that were answered as made.
    public var acknowledged = 0
    /// Changes that were answered as refused, with nothing done.
    public var refused = 0
    /// Changes of unknown outcome.
    public var unknown = 0
    /// Of these, those that had been made.
    public var unknownAndMade = 0
    /// Acknowledged changes that were not there later.
    public var lost = 0
    /// Changes that were said not to have been made, and had been.
    public var doubled = 0
    /// Answers that should not be.
    public var unexpected: [String] = []
  }
  private struct State {
    var counts = Counts()
    var isOver = false
    var waiting: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
  }
  /// A server that is away for longer does not come back.
  private static let patience = Duration.seconds(180)
  private let state = Mutex(State())
  private let stores: [any PolicyStore]
  private let tasks: Int

  /// A load on one database through several stores.
  public init(_ stores: [any PolicyStore], tasks: Int) {
    self.stores = stores
    self.tasks = tasks
  }

  /// What was counted so far.
  public var counts: Counts { state.withLock { $0.counts } }

  /// Returns when so many changes were acknowledged since the beginning.
  public func reach(_ count: Int) async {
    await withCheckedContinuation { continuation in
      let isReached = state.withLock { state in
        guard state.counts.acknowledged < count, !state.isOver else { return true }
        state.waiting.append((count, continuation))
        return false
      }
      if isReached { continuation.resume() }
    }
  }

  /// Lets the tasks end after the change each is at; nobody waits for a count any more.
  public func end() {
    let waiting = state.withLock { state in
      state.isOver = true
      defer { state.waiting = [] }
      return state.waiting.map(\.continuation)
    }
    for continuation in waiting { continuation.resume() }
  }

  private var isOver: Bool { state.withLock { $0.isOver } }

  /// Runs the tasks until ``end()``; afterwards every record must be as it was answered.
  public func run() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<tasks {
        let store = stores[number % stores.count]
        group.addTask { try await self.work(store, try RecordKey("load/\(number)")) }
      }
      try await group.waitForAll()
    }
  }

  private func note(_ change: (inout Counts) -> Void) {
    let reached = state.withLock { state in
      change(&state.counts)
      let acknowledged = state.counts.acknowledged
      let reached = state.waiting.filter { $0.count <= acknowledged }.map(\.continuation)
      state.waiting.removeAll { $0.count <= acknowledged }
      return reached
    }
    for continuation in reached { continuation.resume() }
  }

  private func work(_ store: any PolicyStore, _ key: RecordKey) async throws {
    var last: PolicyRecord?
    var number: UInt64 = 0
    while !isOver {
      number += 1
      // Every eighth change removes the record.
      let next = number % 8 == 0 && last != nil ? nil : "\(key) \(number)".utf8 + [UInt8](repeating: 7, count: 200)
      last = try await change(store, key, from: last, to: next)
    }
    let found = try await read(store, key)
    if found != last { note { $0.lost += 1 } }
  }

  /// Makes one change, however often that must be tried; what is there afterwards.
  private func change(
    _ store: any PolicyStore, _ key: RecordKey, from last: PolicyRecord?, to next: [UInt8]?
  ) async throws -> PolicyRecord? {
    var wasRefused = false
    let end = ContinuousClock.now + Self.patience
    while true {
      do throws(KeyCustodyError) {
        let outcome: StoreOutcome
        if let next {
          outcome = try await store.compareAndSet(key, expecting: last?.revision, value: next)
        } else {
          outcome = try await store.delete(key, expecting: last?.revision ?? .zero)
        }
        switch outcome {
        case .stored(let revision):
          note { $0.acknowledged += 1 }
          return next.map { PolicyRecord(key: key, revision: revision, value: $0) }
        case .conflict(let found):
          let isDoubled = wasRefused && found?.value == next
          note { if isDoubled { $0.doubled += 1 } else { $0.lost += 1 } }
          return found
        }
      } catch {
        switch error.code {
        case .unavailable, .busy:
          guard ContinuousClock.now < end else { throw error }
          note { $0.refused += 1 }
          wasRefused = true
          // As a client does that is told when to come again.
          try await Task.sleep(for: error.retryAfter ?? .milliseconds(20))
        case .timeout:
          let found = try await read(store, key)
          let isMade = found?.value == next && found != last
          note { counts in
            counts.unknown += 1
            if isMade { counts.unknownAndMade += 1 } else if found != last { counts.lost += 1 }
          }
          return found
        default:
          note { $0.unexpected.append(error.debugDescription) }
          return try await read(store, key)
        }
      }
    }
  }

  private func read(_ store: any PolicyStore, _ key: RecordKey) async throws -> PolicyRecord? {
    let end = ContinuousClock.now + Self.patience
    while true {
      do throws(KeyCustodyError) { return try await store.read(key) } catch {
        guard [.unavailable, .busy, .timeout].contains(error.code), ContinuousClock.now < end else { throw error }
        try await Task.sleep(for: error.retryAfter ?? .milliseconds(20))
      }
    }
  }
}

extension CrashLoad {
  /// Kills a server again and again while stores on it are under load, and has it started again each time.
  ///
  /// - Parameters:
  ///   - rounds: how often it is killed.
  ///   - changes: how many changes are acknowledged between two times, at least.
  public static func run(
    _ server: PostgreSQLServer, _ stores: [any PolicyStore], rounds: Int, changes: Int
  ) async throws -> Counts {
    let load = CrashLoad(stores, tasks: 24)
    let administrator = try BlockingWorker()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        defer { load.end() }
        try await load.run()
      }
      group.addTask {
        defer { load.end() }
        for _ in 0..<rounds where !load.isOver {
          await load.reach(load.counts.acknowledged + changes)
          try await administrator.run {
            server.crash()
            try server.start()
          }
        }
        await load.reach(load.counts.acknowledged + changes)
      }
      try await group.waitForAll()
    }
    return load.counts
  }
}
