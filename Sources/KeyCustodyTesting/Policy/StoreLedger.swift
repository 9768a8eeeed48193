import KeyCustody

/// What a store under faults has acknowledged, and the checks that it keeps to it.
struct StoreLedger {
  private(set) var trial: StoreTrial
  let sweep: FaultSweep
  private var living: [RecordKey: PolicyRecord] = [:]
  private var newest = StoreRevision.zero
  private var count = 0
  private var watcher: AsyncStream<StoreChange>

  init(_ trial: StoreTrial, _ sweep: FaultSweep) async throws {
    self.trial = trial
    self.sweep = sweep
    watcher = try await trial.watch(.zero)
    for number in 0..<3 { note(try await trial.put("standing/\(number)", [UInt8(number)])) }
  }

  private var patience: Duration { sweep.patience }

  private mutating func note(_ record: PolicyRecord) {
    living[record.key] = record
    newest = max(newest, record.revision)
  }

  /// What is done to which record; makes the record that will be changed or removed.
  mutating func target(of operation: StoreOperation) async throws -> StoreTarget {
    count += 1
    // Larger than one block of a disk, so that half of it is not all of it.
    let value = [UInt8](repeating: UInt8(truncatingIfNeeded: count), count: 5000)
    let key = try trial.key("tried/\(100_000 + count)")
    switch operation {
    case .create: return StoreTarget(key: key, before: nil, value: value)
    case .update, .delete:
      // A few records are enough: a store of a token holds no more than a thousand.
      let record = try await trial.put(key, [1])
      note(record)
      return StoreTarget(key: key, before: record, value: operation == .update ? value : nil)
    default:
      let standing = try trial.key("standing/1")
      return StoreTarget(key: standing, before: living[standing], value: nil)
    }
  }

  // MARK: After a fault

  /// The same backend, dropped without closing and opened again.
  mutating func reopenAfterCrash() async throws {
    trial.bench.drop()
    try await sweep.heal()
    try await open("Opening after a crash")
  }

  /// Opens what was closed, or never came to be open.
  mutating func open(_ doing: String) async throws {
    let bench = trial.bench
    try await use(try await bench.recovering(doing, patience: patience) { try await bench.reopenUnderFaults() })
  }

  /// Takes over what was opened.
  mutating func use(_ store: any PolicyStore) async throws {
    let opened = trial.with(store)
    trial = opened
    watcher = try await trial.bench.recovering("Watching", patience: patience) {
      try await opened.store.watch(since: .zero)
    }
  }

  /// Checks what an operation answered, and that everything is as it was answered; does it again where it failed.
  mutating func settle(
    _ operation: StoreOperation, _ target: StoreTarget, _ outcome: Result<StoreAnswer, KeyCustodyError>
  ) async throws {
    switch outcome {
    case .success(let answer): try await accept(answer, operation, target)
    case .failure(let error): try await recover(operation, target, error)
    }
    // A few stay, so that whoever watches must have been told of them; the rest goes, so that the list stays short.
    if operation.isChange, living.count > 8, let record = living[target.key] {
      let trial = trial
      let removed = try await trial.bench.recovering("Removing a record", patience: patience) {
        try await trial.store.delete(record.key, expecting: record.revision)
      }
      guard case .stored(let revision) = removed else {
        throw ConformanceViolation("Removing a record at the revision that was answered gave \(told(removed)).")
      }
      living[record.key] = nil
      newest = max(newest, revision)
    }
    try await expectList()
  }

  private mutating func accept(
    _ answer: StoreAnswer, _ operation: StoreOperation, _ target: StoreTarget
  ) async throws {
    switch answer {
    case .outcome(.stored(let revision)):
      try expect(revision > newest, "Revision \(newest) was followed by \(revision).")
      newest = revision
      living[target.key] = target.value.map { PolicyRecord(key: target.key, revision: revision, value: $0) }
      let found = try await read(target.key)
      try expect(
        found == living[target.key], "'\(target.key)' is \(told(found)), but \(told(living[target.key])) was answered.")
    case .outcome(let conflict):
      throw ConformanceViolation("\(operation.rawValue) gave \(told(conflict)), but nobody else was there.")
    case .record(let record):
      try expect(
        record == living[target.key], "A record is read as \(told(record)); \(told(living[target.key])) is there.")
    case .records(let records): try expect(records == sorted, "\(records.count) records are listed of \(living.count).")
    case .revision(let revision):
      try expect(revision >= newest, "The revision is told as \(revision); \(newest) was given out.")
    case .stream(let stream): try await expectTold(stream)
    }
  }

  private var sorted: [PolicyRecord] { living.values.sorted { $0.key < $1.key } }

  private func read(_ key: RecordKey) async throws -> PolicyRecord? {
    let trial = trial
    return try await trial.bench.recovering("Reading a record", patience: patience) {
      try await trial.store.read(key)
    }
  }

  /// After a failed change: before or after, nothing between; and what is there can be changed.
  private mutating func recover(
    _ operation: StoreOperation, _ target: StoreTarget, _ error: KeyCustodyError
  ) async throws {
    guard operation.isChange else {
      let trial = trial
      let answer = try await trial.bench.recovering("\(operation.rawValue), done again,", patience: patience) {
        try await trial.perform(operation, target)
      }
      return try await accept(answer, operation, target)
    }
    let found = try await read(target.key)
    let hasHappened = found?.value == target.value && found != target.before
    try expect(
      found == target.before || hasHappened,
      "After '\(error.description)' '\(target.key)' is \(told(found)), neither as before nor as asked.")
    if error.retryClass == .later, sweep.kind != .crash {
      try expect(
        !hasHappened,
        "\(operation.rawValue) threw '\(error.description)', which says that nothing happened, but it had happened.")
    }
    if hasHappened {
      living[target.key] = found
      newest = max(newest, found?.revision ?? .zero)
      let trial = trial
      newest = max(
        newest,
        try await trial.bench.recovering("The revision", patience: patience) {
          try await trial.store.currentRevision()
        })
      return
    }
    let trial = trial
    let answer = try await trial.bench.recovering("\(operation.rawValue), done again,", patience: patience) {
      try await trial.perform(operation, target)
    }
    try await accept(answer, operation, target)
  }

  /// The list holds what was acknowledged and nothing else.
  func expectList() async throws {
    let trial = trial
    let target = StoreTarget(key: try trial.key("standing/1"))
    let answer = try await trial.bench.recovering("Listing records", patience: patience) {
      try await trial.perform(.list, target)
    }
    guard case .records(let records) = answer else { return }
    try expect(
      records == sorted,
      "After the fault \(records.map { "\($0.key)@\($0.revision)" }) are listed; "
        + "\(sorted.map { "\($0.key)@\($0.revision)" }) were acknowledged.")
  }

  /// A stream tells of everything that is there.
  private mutating func expectTold(_ stream: AsyncStream<StoreChange>) async throws {
    count += 1
    let marker = "marker/\(count)"
    let changes = try await trial.changes(stream, upTo: marker)
    var told: [RecordKey: PolicyRecord] = [:]
    for change in changes {
      switch change {
      case .put(let record): told[record.key] = record
      case .deleted(let key, _): told[key] = nil
      case .resynchronize: continue
      }
    }
    try expect(told == living, "A watcher was told of \(told.keys.sorted()); there is \(living.keys.sorted()).")
    if let record = try await read(try trial.key(marker)) { newest = try await trial.remove(record) }
  }

  /// Everything that was acknowledged is there, told to whoever watched, and so after opening again.
  mutating func expectAllWhole() async throws {
    try await expectTold(watcher)
    try await expectList()
    guard trial.bench.persists else { return }
    trial = try await trial.reopened()
    try await expectList()
  }
}
