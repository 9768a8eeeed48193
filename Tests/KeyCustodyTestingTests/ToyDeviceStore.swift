import KeyCustody
import KeyCustodyTesting
import Synchronization

/// A policy store whose records are one item of a toy device, with revisions; sound under every fault but for one flaw.
///
/// It reads the device each time; changes are made one after another.
actor ToyDeviceStore: PolicyStore {
  private static let name = "records"
  nonisolated let identity: ProviderIdentity
  private let link: ToyLink
  private let flaw: FaultFlaw?
  private var known = Content()
  private var watchers: [AsyncStream<StoreChange>.Continuation] = []
  private var isBusy = false
  private var waiting: [CheckedContinuation<Void, Never>] = []

  struct Content: Sendable, Equatable {
    var revision: UInt64 = 0
    var records: [RecordKey: PolicyRecord] = [:]
  }

  init(_ device: ToyDevice, _ flaw: FaultFlaw?) async throws(KeyCustodyError) {
    self.flaw = flaw
    link = ToyLink(device, flaw)
    identity = ProviderIdentity(kind: "toy", instance: device.instance)
    let first = Self.encoded(Content())
    _ = try await link.run { (device, session) throws(ToyDevice.Failure) in
      try await device.add(Self.name, first, session)
    }
  }

  // MARK: One after another

  private func alone<Answer: Sendable>(
    _ body: () async throws(KeyCustodyError) -> Answer
  ) async throws(KeyCustodyError) -> Answer {
    while isBusy { await withCheckedContinuation { waiting.append($0) } }
    isBusy = true
    defer {
      isBusy = false
      for waiter in waiting { waiter.resume() }
      waiting = []
    }
    return try await body()
  }

  /// What the device holds; watchers are told of what they were not told before.
  private func load() async throws(KeyCustodyError) -> Content {
    if flaw == .keepsOldIndex, known.revision > 0 { return known }
    let bytes: [UInt8]?
    do throws(KeyCustodyError) {
      bytes = try await link.run { (device, session) throws(ToyDevice.Failure) in
        try await device.read(Self.name, session)
      }
    } catch {
      if flaw == .listsNoRecords, error.code == .unavailable { return Content() }
      throw error
    }
    guard let bytes else {
      if flaw == .absentIsNil { return Content() }
      throw KeyCustodyError(.unavailable, .unreachable, "The device is empty.")
    }
    guard let found = try Self.decoded(bytes, believing: flaw == .believesRecords) else {
      throw KeyCustodyError(.integrityFailure, .damaged, "The device gave wrong bytes.")
    }
    let told = known
    if flaw != .forgetsWatchers { tell(found, since: told) }
    known = found
    return found
  }

  private func tell(_ found: Content, since told: Content) {
    var changes = found.records.values.filter { told.records[$0.key] != $0 }.map { StoreChange.put($0) }
    changes += told.records.keys.filter { found.records[$0] == nil }
      .map { .deleted($0, StoreRevision(found.revision)) }
    for watcher in watchers { for change in changes { watcher.yield(change) } }
  }

  private func save(_ content: Content) async throws(KeyCustodyError) {
    let bytes = Self.encoded(content)
    do throws(KeyCustodyError) {
      try await link.run(changes: true) { (device, session) throws(ToyDevice.Failure) in
        try await device.write(Self.name, bytes, session)
      }
      // What a device took that has lost its content may be lost too.
      let found = try await link.run(changes: true) { (device, session) throws(ToyDevice.Failure) in
        try await device.read(Self.name, session)
      }
      if found == nil || found?.count != bytes.count {
        throw KeyCustodyError(.timeout, .unreachable, "The device is empty.")
      }
    } catch {
      guard flaw == .acknowledgesFailedWrite else { throw error }
    }
    if flaw == .keepsOldIndex { known = content }
    if flaw == .forgetsWatchers { tell(content, since: known) }
    if flaw == .forgetsWatchers { known = content }
  }

  // MARK: Records

  private func change(
    _ key: RecordKey, _ expected: StoreRevision?, _ value: [UInt8]?
  ) async throws(KeyCustodyError) -> StoreOutcome {
    try await alone { () async throws(KeyCustodyError) in
      for round in 0..<2 {
        var content = try await load()
        let found = content.records[key]
        guard found?.revision == expected else { return .conflict(found) }
        content.revision += 1
        let revision = StoreRevision(content.revision)
        content.records[key] = value.map { PolicyRecord(key: key, revision: revision, value: $0) }
        if flaw == .removesBeforeWriting, found != nil, value != nil {
          var without = content
          without.records[key] = nil
          try await save(without)
        }
        do throws(KeyCustodyError) { try await save(content) } catch {
          if flaw == .conflictsWithItself, error.code == .timeout, round == 0 { continue }
          throw error
        }
        if flaw != .keepsOldIndex, flaw != .forgetsWatchers {
          tell(content, since: known)
          known = content
        }
        return .stored(revision)
      }
      return .conflict(nil)
    }
  }

  func read(_ key: RecordKey) async throws(KeyCustodyError) -> PolicyRecord? {
    try await alone { () async throws(KeyCustodyError) in try await load().records[key] }
  }

  func compareAndSet(
    _ key: RecordKey, expecting revision: StoreRevision?, value: [UInt8]
  ) async throws(KeyCustodyError) -> StoreOutcome { try await change(key, revision, value) }

  func delete(_ key: RecordKey, expecting revision: StoreRevision) async throws(KeyCustodyError) -> StoreOutcome {
    try await change(key, revision, nil)
  }

  func list(prefix: String, after key: RecordKey?, limit: Int) async throws(KeyCustodyError) -> [PolicyRecord] {
    try await alone { () async throws(KeyCustodyError) in
      let all = try await load().records.values.filter { $0.key.description.hasPrefix(prefix) }
      return Array(
        all.filter { record in key.map { $0 < record.key } ?? true }.sorted { $0.key < $1.key }.prefix(limit))
    }
  }

  func watch(since revision: StoreRevision) async throws(KeyCustodyError) -> AsyncStream<StoreChange> {
    try await alone { () async throws(KeyCustodyError) in
      let content = try await load()
      let (stream, continuation) = AsyncStream.makeStream(of: StoreChange.self)
      for record in content.records.values where record.revision > revision { continuation.yield(.put(record)) }
      watchers.append(continuation)
      return stream
    }
  }

  func currentRevision() async throws(KeyCustodyError) -> StoreRevision {
    try await alone { () async throws(KeyCustodyError) in StoreRevision(try await load().revision) }
  }

  func close() async {
    for watcher in watchers { watcher.finish() }
    watchers = []
  }

  // MARK: Bytes

  /// Lines of revision, key and value in hexadecimal, and a check value.
  private static func encoded(_ content: Content) -> [UInt8] {
    let lines = content.records.values.sorted { $0.key < $1.key }.map {
      "\($0.revision) \($0.key) \($0.value.hexadecimal)\n"
    }
    let body = Array("\(content.revision)\n\(lines.joined())".utf8)
    return body + ToyCrypto.bytes(ToyCrypto.mix([body]))
  }

  private static func decoded(_ bytes: [UInt8], believing: Bool) throws(KeyCustodyError) -> Content? {
    let body = Array(bytes.dropLast(8))
    guard believing || Array(bytes.suffix(8)) == ToyCrypto.bytes(ToyCrypto.mix([body])) else { return nil }
    var lines = String(decoding: body, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: true)
    guard !lines.isEmpty, let revision = UInt64(lines.removeFirst()) else { return nil }
    var content = Content(revision: revision)
    for line in lines {
      let fields = line.split(separator: " ", omittingEmptySubsequences: false)
      guard fields.count == 3, let number = UInt64(fields[0]), let key = try? RecordKey(String(fields[1])) else {
        continue
      }
      let value = [UInt8](hexadecimal: String(fields[2])) ?? []
      content.records[key] = PolicyRecord(key: key, revision: StoreRevision(number), value: value)
    }
    return content
  }
}
