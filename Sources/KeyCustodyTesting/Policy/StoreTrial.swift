import KeyCustody

/// An open policy store in the hands of a behaviour, and the steps that many behaviours take.
struct StoreTrial: Sendable {
  let subject: PolicyStoreSubject
  let bench: Bench<any PolicyStore>
  let store: any PolicyStore

  init(_ subject: PolicyStoreSubject) async throws {
    self.subject = subject
    bench = try await Bench(subject.make) { await $0.close() }
    store = try await bench.open()
  }

  /// Opens the backend of a bench.
  init(_ subject: PolicyStoreSubject, bench: Bench<any PolicyStore>) async throws {
    self.init(subject, bench, try await bench.open())
  }

  private init(_ subject: PolicyStoreSubject, _ bench: Bench<any PolicyStore>, _ store: any PolicyStore) {
    self.subject = subject
    self.bench = bench
    self.store = store
  }

  /// The same backend through another opening of it.
  func with(_ store: any PolicyStore) -> StoreTrial { StoreTrial(subject, bench, store) }

  /// The same backend, closed and opened again.
  func reopened() async throws -> StoreTrial { StoreTrial(subject, bench, try await bench.reopen()) }

  func key(_ text: String) throws -> RecordKey { try RecordKey(text) }

  // MARK: Steps that must work

  func read(_ key: RecordKey) async throws -> PolicyRecord? {
    try await working("Reading '\(key)'") { () async throws(KeyCustodyError) in try await store.read(key) }
  }

  func compareAndSet(_ key: RecordKey, _ expected: StoreRevision?, _ value: [UInt8]) async throws -> StoreOutcome {
    try await working("Writing '\(key)'") { () async throws(KeyCustodyError) in
      try await store.compareAndSet(key, expecting: expected, value: value)
    }
  }

  func delete(_ key: RecordKey, _ expected: StoreRevision) async throws -> StoreOutcome {
    try await working("Deleting '\(key)'") { () async throws(KeyCustodyError) in
      try await store.delete(key, expecting: expected)
    }
  }

  func list(prefix: String = "", after key: RecordKey? = nil, limit: Int = 1000) async throws -> [PolicyRecord] {
    try await working("Listing '\(prefix)'") { () async throws(KeyCustodyError) in
      try await store.list(prefix: prefix, after: key, limit: limit)
    }
  }

  /// Every record under a prefix, by pages.
  func listAll(prefix: String = "", limit: Int = 1000) async throws -> [PolicyRecord] {
    var all: [PolicyRecord] = []
    while true {
      let page = try await list(prefix: prefix, after: all.last?.key, limit: limit)
      try expect(page.count <= limit, "Asked for at most \(limit) records, got \(page.count).")
      if page.isEmpty { return all }
      if let last = all.last, let first = page.first {
        try expect(last.key < first.key, "The page after '\(last.key)' begins with '\(first.key)'.")
      }
      all += page
    }
  }

  func currentRevision() async throws -> StoreRevision {
    try await working("Asking for the revision") { () async throws(KeyCustodyError) in
      try await store.currentRevision()
    }
  }

  func watch(_ since: StoreRevision) async throws -> AsyncStream<StoreChange> {
    try await working("Watching since \(since)") { () async throws(KeyCustodyError) in
      try await store.watch(since: since)
    }
  }

  /// Writes a record that must be written, new (`expected` nil) or changed.
  @discardableResult
  func put(_ key: RecordKey, _ value: [UInt8], over expected: StoreRevision? = nil) async throws -> PolicyRecord {
    let outcome = try await compareAndSet(key, expected, value)
    guard case .stored(let revision) = outcome else {
      throw ConformanceViolation(
        "Writing '\(key)' expecting \(expected.map(\.description) ?? "nothing") gave \(told(outcome)).")
    }
    return PolicyRecord(key: key, revision: revision, value: value)
  }

  /// Writes a new record.
  @discardableResult
  func put(_ text: String, _ value: [UInt8] = [1]) async throws -> PolicyRecord { try await put(key(text), value) }

  /// Removes a record that must be removed.
  @discardableResult
  func remove(_ record: PolicyRecord) async throws -> StoreRevision {
    let outcome = try await delete(record.key, record.revision)
    guard case .stored(let revision) = outcome else {
      throw ConformanceViolation("Deleting '\(record.key)' at its revision gave \(told(outcome)).")
    }
    return revision
  }

  /// What the store holds under a key must be this.
  func expectRecord(_ record: PolicyRecord, _ when: String) async throws {
    let found = try await read(record.key)
    try expect(found == record, "'\(record.key)' \(when) is \(told(found)); \(told(record)) is due.")
  }

  func expectAbsent(_ key: RecordKey, _ when: String) async throws {
    let found = try await read(key)
    try expect(found == nil, "'\(key)' \(when) is \(told(found)); nothing is due.")
  }

  func expectConflict(_ outcome: StoreOutcome, with record: PolicyRecord?, _ doing: String) throws {
    guard case .conflict(let found) = outcome else {
      throw ConformanceViolation("\(doing) gave \(told(outcome)); a conflict is due.")
    }
    try expect(found == record, "\(doing) conflicted with \(told(found)); \(told(record)) is there.")
  }

  // MARK: Watching

  /// Writes a marker record and reads a stream up to it: whatever the store had to tell before has come by then.
  func changes(_ stream: AsyncStream<StoreChange>, upTo marker: String) async throws -> [StoreChange] {
    let record = try await put(marker)
    let (elements, found) = try await collect(
      stream, patience: subject.patience, "The change of '\(marker)', of which a watcher must be told,"
    ) { change in
      if case .put(let change) = change { change.key == record.key } else { false }
    }
    try expect(found, "A watcher's stream ended while the store was open.")
    return elements.dropLast()
  }
}

/// A record in a few words.
func told(_ record: PolicyRecord?) -> String {
  record.map { record in
    let bytes = record.value.prefix(16).map { String($0) }.joined(separator: " ")
    return "\(record.value.count) bytes (\(bytes)\(record.value.count > 16 ? " …" : "")) at revision \(record.revision)"
  } ?? "nothing"
}

/// An outcome in a few words.
func told(_ outcome: StoreOutcome) -> String {
  switch outcome {
  case .stored(let revision): "stored at revision \(revision)"
  case .conflict(let record): "a conflict with \(told(record))"
  }
}

/// Changes in a few words.
func told(_ changes: [StoreChange]) -> String {
  changes.map { change in
    switch change {
    case .put(let record): "put \(record.key)@\(record.revision)"
    case .deleted(let key, let revision): "deleted \(key)@\(revision)"
    case .resynchronize(let revision): "resynchronize@\(revision)"
    }
  }.joined(separator: ", ")
}

extension StoreChange {
  /// The revision of a change.
  var revision: StoreRevision {
    switch self {
    case .put(let record): record.revision
    case .deleted(_, let revision), .resynchronize(let revision): revision
    }
  }
  var isResynchronization: Bool { if case .resynchronize = self { true } else { false } }
}
