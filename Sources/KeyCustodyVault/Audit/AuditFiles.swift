public import KeyCustody

/// The files of a log, wherever they are: in the log's folder, and in those that finished files were moved to.
///
/// Needs no deployment, and blocks: for tools.
public struct AuditFiles: Sendable {
  let folders: [AuditFolder]
  /// The folder of each file of records, by the file's number.
  private let places: [Int: AuditFolder]

  /// The files in some folders.
  ///
  /// - Throws: `invalidInput` when a file is in two of them; `unavailable` when one can't be read.
  public init(folders: [String]) throws(KeyCustodyError) {
    try self.init(folders: folders, system: POSIXAuditFileSystem())
  }

  init(folders: [String], system: any AuditFileSystem) throws(KeyCustodyError) {
    var places: [Int: AuditFolder] = [:]
    self.folders = folders.map { AuditFolder(path: $0, system: system) }
    for folder in self.folders {
      for number in try folder.numbers() {
        guard let other = places.updateValue(folder, forKey: number) else { continue }
        throw KeyCustodyError(
          .invalidInput, .alreadyExists,
          "The file '\(folder.records(number))' is there twice: also in '\(other.path)'.",
          remedy: "Name folders that hold each file once.")
      }
    }
    self.places = places
  }

  /// The numbers of the files there are, in order.
  var numbers: [Int] { places.keys.sorted() }

  func records(_ number: Int) -> String? { places[number]?.records(number) }

  func lines(_ number: Int) throws(KeyCustodyError) -> AuditLines? {
    guard let folder = places[number] else { return nil }
    return try AuditLines(folder.records(number), folder.system)
  }

  /// The checkpoints beside a file, as they stand there, and whether there is nothing else in their file.
  func notes(_ number: Int) throws(KeyCustodyError) -> (path: String, notes: AuditNotes, isWhole: Bool)? {
    guard let folder = places[number] else { return nil }
    let path = folder.checkpoints(number)
    guard let bytes = try folder.small(path) else { return nil }
    let notes = AuditNotes(bytes)
    return (path, notes, notes.wholeLength == bytes.count)
  }

  /// The newest checkpoint that the key signed; `nil` when there is none.
  public func latestCheckpoint(_ key: AuditVerifierKey) throws(KeyCustodyError) -> AuditCheckpoint? {
    for number in numbers.reversed() {
      guard let note = try notes(number)?.notes.all.last else { continue }
      return try AuditCheckpoint(note: note, key: key)
    }
    return nil
  }

  /// Calls `body` with every record in order, those that can't be read left out, until it answers `false`.
  public func forEach(_ body: (AuditRecord) throws(KeyCustodyError) -> Bool) throws(KeyCustodyError) {
    for number in numbers {
      guard var lines = try lines(number) else { continue }
      while let line = try lines.next() {
        guard line.isWhole, let record = AuditRecord(line: line.bytes) else { continue }
        guard try body(record) else { return }
      }
    }
  }

  /// Feeds the hash of every line to `body`, with its number, until there are `size` of them.
  private func leaves(
    upTo size: UInt64, _ body: (UInt64, [UInt8], [UInt8]) throws(KeyCustodyError) -> Void
  ) throws(KeyCustodyError) {
    var index: UInt64 = 0
    for number in numbers where index < size {
      guard var lines = try lines(number) else { continue }
      while index < size, let line = try lines.next() {
        try body(index, MerkleTree.leaf(line.bytes), line.bytes)
        index += 1
      }
    }
  }

  /// Shows that a record is in a checkpointed tree.
  ///
  /// - Throws: `invalidInput` for a record beyond the checkpoint; `integrityFailure` when the files don't show it.
  public func inclusionProof(
    of record: UInt64, in checkpoint: AuditCheckpoint
  ) throws(KeyCustodyError) -> AuditProof {
    guard record < checkpoint.size else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "The checkpoint is over \(checkpoint.size) records, and has no record \(record).",
        remedy: "Take a later checkpoint, or wait for the next.")
    }
    var collector = MerkleCollector(MerkleProof.inclusion(of: record, in: checkpoint.size))
    var entry: [UInt8] = []
    try leaves(upTo: checkpoint.size) { (index, leaf, line) throws(KeyCustodyError) in
      if index == record { entry = line }
      try collector.add(leaf, at: index)
    }
    guard let hashes = collector.result else { throw Self.tooShort(checkpoint) }
    let proof = AuditProof(
      record: record, line: String(decoding: entry, as: UTF8.self), hashes: hashes, checkpoint: checkpoint)
    guard try proof.isValid() else { throw Self.notShown }
    return proof
  }

  /// Shows that a newer checkpoint's tree begins with an older one's.
  ///
  /// - Throws: `invalidInput` when the checkpoints are the wrong way round; `integrityFailure` when the files don't
  ///   show it.
  public func consistencyProof(
    from old: AuditCheckpoint, to new: AuditCheckpoint
  ) throws(KeyCustodyError) -> [[UInt8]] {
    guard old.size <= new.size else {
      throw KeyCustodyError(
        .invalidInput, .wrongSize, "The first checkpoint is over \(old.size) records, the second over \(new.size).",
        remedy: "Give the older one first.")
    }
    var collector = MerkleCollector(MerkleProof.consistency(from: old.size, to: new.size))
    try leaves(upTo: new.size) { (index, leaf, _) throws(KeyCustodyError) in try collector.add(leaf, at: index) }
    guard let hashes = collector.result else { throw Self.tooShort(new) }
    guard try MerkleProof.verify(from: old, to: new, proof: hashes) else { throw Self.notShown }
    return hashes
  }

  private static func tooShort(_ checkpoint: AuditCheckpoint) -> KeyCustodyError {
    KeyCustodyError(
      .integrityFailure, .truncated, "The files hold fewer than the \(checkpoint.size) records of the checkpoint.",
      remedy: "Name every folder that files of the log were moved to.")
  }

  private static let notShown = KeyCustodyError(
    .integrityFailure, .notAuthentic, "The files are not what was signed.",
    remedy: "Find the first bad record: keycustody audit verify.")
}

/// Shows that a record is in a log, to whoever has the log's verifier key and nothing else.
public struct AuditProof: Sendable, Hashable {
  /// The record's number.
  public let record: UInt64
  /// The record's line, without its end.
  public let line: String
  /// The hashes from the record's sibling up to the root's child (RFC 6962, section 2.1.1).
  public let hashes: [[UInt8]]
  /// What they lead to.
  public let checkpoint: AuditCheckpoint

  /// Whether the hashes lead from the line to the checkpoint's root.
  public func isValid() throws(KeyCustodyError) -> Bool {
    try MerkleProof.verify(
      leaf: MerkleTree.leaf(Array(line.utf8)), index: record, size: checkpoint.size, root: checkpoint.root,
      proof: hashes)
  }
}
