import KeyCustody

extension PolicyStoreConformance {
  /// Watching changes: how one process learns of another's revocation (E8).
  static let watching: [StoreBehavior] = [
    .init("A watcher is told of later writes and deletes in order", "E8", laterChangesCome),
    .init("A watcher since an old revision is told what happened since", "E8", oldRevisionReplays),
    .init("A watcher since the beginning is told of everything living", "PolicyStore", zeroGivesEverything),
    .init("A watcher of the present is not told of the past", "PolicyStore", presentLeavesOutThePast),
    .init("Two watchers are both told everything", "PolicyStore", twoWatchersSeeAll),
    .init("A watcher that ends early harms nobody", "PolicyStore", earlyEndIsHarmless),
    .init("A slow watcher misses no record", "E8", slowWatcherMissesNothing),
    .init("What a watcher is told during writes adds up to the store", "E8", watchingDuringWrites),
    .init("Refused changes are told to nobody", "PolicyStore", refusalsAreNotTold),
    .init("A watcher since before reopening misses no delete", "E8", deletesBeforeReopeningAreTold),
    .init("Streams of changes end at close", "PolicyStore", streamsEndAtClose),
  ]

  @Sendable private static func laterChangesCome(_ trial: StoreTrial) async throws {
    let old = try await trial.put("old", [1])
    let stream = try await trial.watch(trial.currentRevision())
    let one = try await trial.put("a", [1])
    let two = try await trial.put("b", [2])
    let gone = try await trial.remove(old)
    let three = try await trial.put(one.key, [3], over: one.revision)
    let told = try await trial.changes(stream, upTo: "marker")
    let due: [StoreChange] = [.put(two), .deleted(old.key, gone), .put(three)]
    // The first state of 'a' may be left out, since a later one follows.
    try expect(
      told == due || told == [.put(one)] + due, "A watcher was told \(KeyCustodyTesting.told(told)).")
  }

  @Sendable private static func oldRevisionReplays(_ trial: StoreTrial) async throws {
    try await trial.put("before", [0])
    let lost = try await trial.put("lost", [1])
    let since = lost.revision
    let kept = try await trial.put("kept", [2])
    let gone = try await trial.remove(lost)
    let told = try await trial.changes(trial.watch(since), upTo: "marker")
    let due: [StoreChange] = [.put(kept), .deleted(lost.key, gone)]
    guard !told.contains(where: \.isResynchronization) else {
      return try expect(
        told.first?.isResynchronization == true && told.contains(.put(kept)),
        "A watcher since \(since) was told \(KeyCustodyTesting.told(told)); resynchronize first, then writes, is due.")
    }
    try expect(told == due, "A watcher since \(since) was told \(KeyCustodyTesting.told(told)).")
  }

  @Sendable private static func zeroGivesEverything(_ trial: StoreTrial) async throws {
    var living: [PolicyRecord] = []
    for number in 0..<10 {
      let record = try await trial.put("z/\(number)", [UInt8(number)])
      if number % 3 == 0 { try await trial.remove(record) } else { living.append(record) }
    }
    let told = try await trial.changes(trial.watch(.zero), upTo: "marker")
    try expect(replay(told) == living, "A watcher since the beginning was told \(KeyCustodyTesting.told(told)).")
  }

  @Sendable private static func presentLeavesOutThePast(_ trial: StoreTrial) async throws {
    let record = try await trial.put("past")
    try await trial.remove(try await trial.put("gone"))
    let told = try await trial.changes(trial.watch(trial.currentRevision()), upTo: "marker")
    try expect(
      told.isEmpty, "A watcher of the present, after '\(record.key)', was told \(KeyCustodyTesting.told(told)).")
  }

  @Sendable private static func twoWatchersSeeAll(_ trial: StoreTrial) async throws {
    let (left, right) = (try await trial.watch(.zero), try await trial.watch(.zero))
    var due: [StoreChange] = []
    for number in 0..<5 { due.append(.put(try await trial.put("w/\(number)"))) }
    let first = try await trial.changes(left, upTo: "marker/1")
    let second = try await trial.changes(right, upTo: "marker/2")
    try expect(first == due, "The first of two watchers was told \(told(first)).")
    try expect(Array(second.prefix(5)) == due, "The second of two watchers was told \(told(second)).")
  }

  @Sendable private static func earlyEndIsHarmless(_ trial: StoreTrial) async throws {
    let stays = try await trial.watch(.zero)
    for number in 0..<8 {
      let leaves = try await trial.watch(.zero)
      try await trial.put("e/\(number)")
      if number % 2 == 0 { for await _ in leaves { break } }
    }
    let cancelled = Task { [leaves = try await trial.watch(trial.currentRevision())] in for await _ in leaves {} }
    cancelled.cancel()
    await cancelled.value
    let told = try await trial.changes(stays, upTo: "marker")
    try expect(told.count == 8, "Others left, and the watcher that stayed was told \(KeyCustodyTesting.told(told)).")
  }

  @Sendable private static func slowWatcherMissesNothing(_ trial: StoreTrial) async throws {
    let count = 300
    guard trial.subject.capacity > count else {
      throw NotApplicable("the backend holds at most \(trial.subject.capacity) records")
    }
    let stream = try await trial.watch(.zero)
    for number in 0..<count { try await trial.put("slow/\(number)") }
    let told = try await trial.changes(stream, upTo: "marker")
    guard !told.contains(where: \.isResynchronization) else { return }
    let keys = Set(told.compactMap { change in if case .put(let record) = change { record.key } else { nil } })
    try expect(keys.count == count, "A watcher that read late was told of \(keys.count) of \(count) records.")
  }

  @Sendable private static func watchingDuringWrites(_ trial: StoreTrial) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<4 {
        group.addTask {
          for number in 0..<12 {
            let record = try await trial.put("d/\(writer)-\(number)", [0])
            let changed = try await trial.put(record.key, [1], over: record.revision)
            if number % 3 == 0 { try await trial.remove(changed) }
          }
        }
      }
      var streams: [AsyncStream<StoreChange>] = []
      for _ in 0..<6 {
        streams.append(try await trial.watch(.zero))
        _ = try await trial.list()
      }
      try await group.waitForAll()
      let due = try await trial.list(prefix: "d/")
      for (number, stream) in streams.enumerated() {
        let told = try await trial.changes(stream, upTo: "marker/\(number)")
        try expect(
          told.map(\.revision) == told.map(\.revision).sorted(), "A watcher was told changes out of order.")
        let found = replay(told).filter { $0.key.description.hasPrefix("d/") }
        try expect(
          found == due,
          "What a watcher was told adds up to other records (\(found.count)) than there are (\(due.count)).")
      }
    }
  }

  private static func replay(_ changes: [StoreChange]) -> [PolicyRecord] {
    var records: [RecordKey: PolicyRecord] = [:]
    for change in changes {
      switch change {
      case .put(let record): records[record.key] = record
      case .deleted(let key, _): records[key] = nil
      case .resynchronize: continue
      }
    }
    return records.values.sorted { $0.key < $1.key }
  }

  @Sendable private static func refusalsAreNotTold(_ trial: StoreTrial) async throws {
    let record = try await trial.put("a")
    let stream = try await trial.watch(trial.currentRevision())
    _ = try await trial.compareAndSet(record.key, nil, [2])
    _ = try await trial.delete(record.key, .zero)
    let told = try await trial.changes(stream, upTo: "marker")
    try expect(told.isEmpty, "After refused changes a watcher was told \(KeyCustodyTesting.told(told)).")
  }

  @Sendable private static func deletesBeforeReopeningAreTold(_ trial: StoreTrial) async throws {
    try trial.bench.requirePersistence()
    let lost = try await trial.put("lost")
    let since = lost.revision
    let kept = try await trial.put("kept")
    let gone = try await trial.remove(lost)
    let again = try await trial.reopened()
    let told = try await again.changes(again.watch(since), upTo: "marker")
    try expect(
      told.first?.isResynchronization == true || told.contains(.deleted(lost.key, gone)),
      "After reopening, a watcher since before a delete was told \(KeyCustodyTesting.told(told)).")
    try expect(
      told.contains(.put(kept)),
      "After reopening, a watcher since before a write was told \(KeyCustodyTesting.told(told)).")
  }

  @Sendable private static func streamsEndAtClose(_ trial: StoreTrial) async throws {
    let streams = [try await trial.watch(.zero), try await trial.watch(trial.currentRevision())]
    await trial.store.close()
    for stream in streams {
      try await expectEnd(stream, patience: trial.subject.patience, "a stream of changes taken before close")
    }
  }
}
