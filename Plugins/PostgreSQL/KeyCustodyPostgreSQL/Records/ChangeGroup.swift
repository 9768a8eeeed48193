import KeyCustody

/// A change that waits for its turn.
struct WaitingChange: Sendable {
  let key: RecordKey
  let expected: StoreRevision?
  let value: [UInt8]?
  let request: Request<StoreOutcome>
}

/// Changes that share a transaction: what is to become of each, decided over what was found under the lock.
struct ChangeGroup: Sendable {
  private enum Content {
    case record(PolicyRecord?)
    case damaged(KeyCustodyError)
  }

  /// The state to be saved.
  private(set) var state: StoreState
  private(set) var answers: [Result<StoreOutcome, KeyCustodyError>] = []
  /// What was there, and what will be, of the records that are changed.
  private var before: [RecordKey: PolicyRecord?] = [:]
  private var content: [RecordKey: Content] = [:]
  private var lastRevisions: [RecordKey: StoreRevision] = [:]
  private let found: StoreState

  /// The keys that must be looked up.
  static func keys(of changes: [WaitingChange]) -> [RecordKey] { Set(changes.map(\.key)).sorted() }

  /// Decides.
  ///
  /// - Parameter rows: what was found under each of the keys.
  init(_ changes: [WaitingChange], over found: StoreState, rows: [Answer], _ place: String) throws(KeyCustodyError) {
    state = found
    self.found = found
    for (key, answer) in zip(Self.keys(of: changes), rows) {
      do throws(KeyCustodyError) {
        content[key] = .record(try RecordRow.find(key, in: answer, place))
      } catch { content[key] = .damaged(error) }
    }
    for change in changes { decide(change) }
  }

  private mutating func decide(_ change: WaitingChange) {
    let present: PolicyRecord?
    switch content[change.key] {
    case .damaged(let error): return answers.append(.failure(error))
    case .record(let record): present = record
    case nil: present = nil
    }
    guard present?.revision == change.expected else { return answers.append(.success(.conflict(present))) }
    let revision = StoreRevision(state.revision.number + 1)
    if before[change.key] == nil { before[change.key] = .some(present) }
    content[change.key] = .record(
      change.value.map { PolicyRecord(key: change.key, revision: revision, value: $0) })
    lastRevisions[change.key] = revision
    state.revision = revision
    answers.append(.success(.stored(revision)))
  }

  /// Whether there is anything to be done.
  var isEmpty: Bool { before.isEmpty }

  /// The deletions up to a revision were forgotten.
  mutating func forget(upTo revision: StoreRevision, _ count: Int) {
    state.forgotten = max(state.forgotten, revision)
    state.deletions = max(0, state.deletions - count)
  }

  /// What is to be sent to make the changes; each step changes exactly one row.
  mutating func steps(_ statements: StoreStatements) throws(KeyCustodyError) -> [Step] {
    var steps: [Step] = []
    for (key, before) in before.sorted(by: { $0.key < $1.key }) {
      guard case .record(let after) = content[key] else { continue }
      let name = Parameter.text(key.description)
      if let after {
        let row = try RecordRow(after)
        steps.append(
          Step(
            before == nil ? statements.insert : statements.update, name, .number(after.revision.number),
            .bytes(after.value), .bytes(row.digest)))
      } else if before != nil, let revision = lastRevisions[key] {
        steps.append(Step(statements.delete, name))
        steps.append(
          Step(
            statements.noteDeletion, .number(revision.number), name,
            .bytes(try RecordRow.seal(ofName: "\(revision) \(key)"))))
        state.deletions += 1
      }
    }
    steps.append(
      Step(
        statements.save, .number(state.revision.number), .number(state.forgotten.number),
        .number(UInt64(clamping: state.deletions)), .bytes(try state.digest()), .number(found.revision.number)))
    return steps
  }

  /// The answers where the transaction did not take place, or may have.
  func answers(failing error: KeyCustodyError, refusing: KeyCustodyError) -> [Result<StoreOutcome, KeyCustodyError>] {
    answers.map { answer in
      switch answer {
      case .success(.stored): .failure(error)
      // It may be a conflict with a change of the same transaction; nothing happened in any case.
      case .success(.conflict): .failure(refusing)
      case .failure: answer
      }
    }
  }
}
