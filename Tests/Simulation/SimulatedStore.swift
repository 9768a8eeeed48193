import KeyCustody
import KeyCustodyMemory
import Synchronization

/// One process's connection to the database.
final class SimulatedStore: PolicyStore {
  private let link: Link
  /// What was read before, for the bug that gives it again.
  private let remembered = Mutex<[RecordKey: PolicyRecord]>([:])

  init(_ link: Link) { self.link = link }

  var identity: ProviderIdentity { link.world.database.identity }
  var isShared: Bool { true }

  func read(_ key: RecordKey) async throws(KeyCustodyError) -> PolicyRecord? {
    try await link.call(.database, "read") { () async throws(KeyCustodyError) in
      if isStale(key), let old = remembered.withLock({ $0[key] }) { return old }
      let found = try await link.world.database.read(key)
      remembered.withLock { $0[key] = found }
      return found
    }
  }

  func compareAndSet(
    _ key: RecordKey, expecting revision: StoreRevision?, value: [UInt8]
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try await link.call(.database, "compareAndSet") { () async throws(KeyCustodyError) in
      let outcome = try await link.world.database.compareAndSet(key, expecting: revision, value: value)
      guard link.world.bug == .lostUpdate, link.world.isRough.withLock({ $0 }), case .conflict(let found?) = outcome
      else { return outcome }
      // The loser overwrites the winner.
      return try await link.world.database.compareAndSet(key, expecting: found.revision, value: value)
    }
  }

  func delete(_ key: RecordKey, expecting revision: StoreRevision) async throws(KeyCustodyError) -> StoreOutcome {
    try await link.call(.database, "delete") { () async throws(KeyCustodyError) in
      try await link.world.database.delete(key, expecting: revision)
    }
  }

  func list(prefix: String, after key: RecordKey?, limit: Int) async throws(KeyCustodyError) -> [PolicyRecord] {
    try await link.call(.database, "list") { () async throws(KeyCustodyError) in
      try await link.world.database.list(prefix: prefix, after: key, limit: limit)
    }
  }

  func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    let link = link
    let changes = try await link.call(.database, "watch") { () async throws(KeyCustodyError) in
      try await link.world.database.watch(since: revision)
    }
    return AsyncStream { stream in
      let task = Task {
        for await change in changes {
          guard !link.isCut(.database) else { break }
          if link.world.bug != .staleCache || !link.world.isRough.withLock({ $0 }) { stream.yield(change) }
        }
        stream.finish()
      }
      stream.onTermination = { _ in task.cancel() }
    }
  }

  func currentRevision() async throws(KeyCustodyError) -> StoreRevision {
    try await link.call(.database, "currentRevision") { () async throws(KeyCustodyError) in
      try await link.world.database.currentRevision()
    }
  }

  func close() async {}

  private func isStale(_ key: RecordKey) -> Bool {
    link.world.bug == .staleCache && link.world.isRough.withLock { $0 } && key.description.hasSuffix("/policy")
  }
}
