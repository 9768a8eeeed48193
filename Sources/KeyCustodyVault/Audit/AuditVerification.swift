public import KeyCustody

/// What checking a log found.
public struct AuditVerification: Sendable, Hashable {
  /// The first thing that is wrong with a log.
  public struct Finding: Sendable, Hashable, Codable {
    /// What is wrong, for a person.
    public var what: String
    /// The file.
    public var file: String
    /// The line in it, from 1 on; 0 where it is not a matter of one line.
    public var line: Int
    /// The number of the first record that is not as it was, as far as can be told.
    public var record: UInt64
  }
  /// How many records are sound.
  public internal(set) var records: UInt64 = 0
  /// How many files there are.
  public internal(set) var files = 0
  /// How many checkpoints fit.
  public internal(set) var checkpoints = 0
  /// How many records the newest checkpoint that fits is over: those after it are linked, and not signed yet.
  public internal(set) var signed: UInt64 = 0
  /// The first thing that is wrong; `nil` when nothing is.
  public internal(set) var finding: Finding?
}

extension AuditFiles {
  /// Checks every record of a log: its form, its number, its link to the one before, and the tree against every
  /// checkpoint.
  ///
  /// - Parameters:
  ///   - key: the log's verifier key, kept from when the log was begun.
  ///   - checkpoint: one that was kept elsewhere; the log must still begin with what it is over.
  /// - Throws: `unavailable` when the files can't be read. What is wrong with the log is in the answer.
  public func verify(
    _ key: AuditVerifierKey, after checkpoint: AuditCheckpoint? = nil
  ) throws(KeyCustodyError) -> AuditVerification {
    var check = AuditCheck(key: key, external: checkpoint)
    for number in numbers {
      try check.file(number, in: self)
      if check.result.finding != nil { break }
    }
    return try check.end(in: self)
  }
}

/// A pass over a log.
private struct AuditCheck {
  let key: AuditVerifierKey
  let external: AuditCheckpoint?
  var result = AuditVerification()
  private var edge = MerkleEdge()
  /// The tree before the latest record, to tell which of two neighbours was changed.
  private var before = MerkleEdge()
  private var previous = AuditRecord.noPrevious
  private var previousPlace = (file: "", line: 0)
  private var expected = 1
  private var kept: UInt64 = 0
  /// Checkpoints not reached yet, the smallest first.
  private var waiting: [(checkpoint: AuditCheckpoint, file: String)] = []

  init(key: AuditVerifierKey, external: AuditCheckpoint?) {
    self.key = key
    self.external = external
    if let external { waiting.append((external, "the checkpoint given")) }
  }

  private mutating func found(_ what: String, _ file: String, _ line: Int, record: UInt64? = nil) {
    if result.finding == nil {
      result.finding = AuditVerification.Finding(what: what, file: file, line: line, record: record ?? edge.size)
    }
  }

  mutating func file(_ number: Int, in files: AuditFiles) throws(KeyCustodyError) {
    guard let path = files.records(number), var lines = try files.lines(number) else { return }
    guard number == expected else {
      return found("file \(expected) of the log is missing: name the folder it was moved to", path, 0)
    }
    expected += 1
    result.files += 1
    try take(number, in: files)
    try compare()
    var line = 0
    var next = try lines.next()
    while let current = next, result.finding == nil {
      next = try lines.next()
      line += 1
      try self.line(current, line, path, next)
    }
  }

  /// Takes the checkpoints beside a file.
  private mutating func take(_ number: Int, in files: AuditFiles) throws(KeyCustodyError) {
    guard let (path, notes, isWhole) = try files.notes(number) else { return }
    for (index, note) in notes.all.enumerated() {
      do throws(KeyCustodyError) {
        let checkpoint = try AuditCheckpoint(note: note, key: key)
        guard checkpoint.size >= edge.size else {
          return found("checkpoint \(index + 1) is not of this file", path, index * 6 + 1, record: checkpoint.size)
        }
        waiting.append((checkpoint, path))
      } catch {
        guard error.code == .integrityFailure || error.code == .invalidInput else { throw error }
        return found("checkpoint \(index + 1) is not what was signed", path, index * 6 + 1)
      }
    }
    if !isWhole { found("a checkpoint is not what was signed", path, notes.all.count * 6 + 1) }
    waiting.sort { $0.checkpoint.size < $1.checkpoint.size }
  }

  private mutating func line(
    _ line: AuditLines.Line, _ number: Int, _ path: String, _ next: AuditLines.Line?
  ) throws(KeyCustodyError) {
    guard line.isWhole, let record = AuditRecord(line: line.bytes) else {
      return found("the line is not a record", path, number)
    }
    guard record.number == edge.size else {
      return found(
        record.number > edge.size ? "the record is missing, or not in its place" : "another record was put here", path,
        number)
    }
    let leaf = try MerkleTree.leaf(line.bytes)
    guard record.previous == previous else {
      if try isChanged(record, leaf, next) { return found("the record was changed", path, number) }
      return found("the record was changed", previousPlace.file, previousPlace.line, record: edge.size - 1)
    }
    guard (kept...record.number).contains(record.kept) else { return found("the record was changed", path, number) }
    kept = record.kept
    before = edge
    try edge.append(leaf: leaf)
    previous = leaf
    previousPlace = (path, number)
    try compare(next)
  }

  /// Of two records that don't fit together: whether the later one was changed, and not the one before.
  private func isChanged(
    _ record: AuditRecord, _ leaf: [UInt8], _ next: AuditLines.Line?
  ) throws(KeyCustodyError) -> Bool {
    // For the first record there is none before.
    guard edge.size > 0 else { return true }
    // A tree that was signed with the one before in it.
    if result.signed == edge.size { return true }
    // The next one tells what this one was.
    if let next, let following = AuditRecord(line: next.bytes) { return following.previous != leaf }
    var other = before
    try other.append(leaf: record.previous)
    try other.append(leaf: leaf)
    let root = try other.root()
    return !waiting.contains { $0.checkpoint.size == other.size && $0.checkpoint.root == root }
      && waiting.contains { $0.checkpoint.size == other.size }
  }

  /// Compares the tree with the checkpoints of its size.
  private mutating func compare(_ next: AuditLines.Line? = nil) throws(KeyCustodyError) {
    while let first = waiting.first, first.checkpoint.size == edge.size {
      waiting.removeFirst()
      guard try edge.root() == first.checkpoint.root else {
        let range = "one of the records \(result.signed) to \(edge.size - (edge.size > 0 ? 1 : 0))"
        let following = next.flatMap { AuditRecord(line: $0.bytes) }
        guard edge.size == result.signed + 1 || following.map({ $0.previous != previous }) ?? false else {
          return found(
            "\(range) was changed, and all after it were written anew: they are not what was signed",
            previousPlace.file, 0, record: result.signed)
        }
        return found("the record was changed", previousPlace.file, previousPlace.line, record: edge.size - 1)
      }
      result.checkpoints += 1
      result.signed = edge.size
    }
  }

  mutating func end(in files: AuditFiles) throws(KeyCustodyError) -> AuditVerification {
    try compare()
    let place = files.numbers.last.flatMap(files.records) ?? files.folders.first?.path ?? ""
    let nextLine = previousPlace.file == place ? previousPlace.line + 1 : 1
    if let first = waiting.first {
      let last = waiting.last?.checkpoint.size ?? first.checkpoint.size
      found("the log ends here, and was signed over \(last) records", place, nextLine)
    }
    if result.checkpoints == 0 {
      found("no checkpoint is there, so nothing shows that the records are the log's", place, 0, record: 0)
    }
    result.records = edge.size
    return result
  }
}
