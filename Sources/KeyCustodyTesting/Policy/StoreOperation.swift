import KeyCustody

/// The operations of a store that faults are tried on.
enum StoreOperation: String, Sendable, CaseIterable {
  case create, update, delete, read, list, watch, revision

  /// Whether it changes a record.
  var isChange: Bool { [.create, .update, .delete].contains(self) }

  /// What a fault of a kind can do to it.
  func isConcerned(by kind: FaultKind) -> Bool {
    switch kind {
    case .crash: isChange
    case .full: self == .create || self == .update
    case .credentialRefused: false
    default: true
    }
  }
}

/// What one operation is done to, and what it is to leave there.
struct StoreTarget: Sendable {
  var key: RecordKey
  /// What is there before.
  var before: PolicyRecord?
  /// What is to be there after; `nil` for nothing.
  var value: [UInt8]?
}

/// What an operation answered.
enum StoreAnswer: Sendable {
  case outcome(StoreOutcome)
  case record(PolicyRecord?)
  case records([PolicyRecord])
  case stream(AsyncStream<StoreChange>)
  case revision(StoreRevision)
}

extension StoreTrial {
  /// Does an operation once.
  func perform(_ operation: StoreOperation, _ target: StoreTarget) async throws(KeyCustodyError) -> StoreAnswer {
    switch operation {
    case .create, .update:
      return .outcome(
        try await store.compareAndSet(target.key, expecting: target.before?.revision, value: target.value ?? []))
    case .delete:
      return .outcome(try await store.delete(target.key, expecting: target.before?.revision ?? .zero))
    case .read: return .record(try await store.read(target.key))
    case .list:
      var all: [PolicyRecord] = []
      while true {
        let page = try await store.list(prefix: "", after: all.last?.key, limit: 100)
        all += page
        if page.count < 100 { return .records(all) }
      }
    case .watch: return .stream(try await store.watch(since: .zero))
    case .revision: return .revision(try await store.currentRevision())
    }
  }
}
