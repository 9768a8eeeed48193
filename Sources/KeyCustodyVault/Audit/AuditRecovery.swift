import KeyCustody

/// Finds the end of a log again: from its latest checkpoint on, record by record.
///
/// What a crash left half written is cut. A record that may have been acknowledged is never cut: one that is missing or
/// altered is an error that names it. Blocks.
struct AuditRecovery {
  let folder: AuditFolder
  let key: AuditVerifierKey
  /// How many bytes were cut, for the log of the service.
  private(set) var cut = 0

  init(_ folder: AuditFolder, key: AuditVerifierKey) {
    self.folder = folder
    self.key = key
  }

  /// The end of the log.
  ///
  /// - Parameter known: what the policy store remembers; `nil` for a log that was never begun.
  mutating func position(
    after known: (AuditCheckpoint, AuditTail.Position)?
  ) throws(KeyCustodyError) -> AuditTail.Position {
    let numbers = try folder.numbers()
    guard let (_, start) = known else {
      try folder.requireEmpty()
      return AuditTail.Position()
    }
    try checkStart(start, numbers)
    var position = start
    for number in numbers where number >= start.file {
      guard number == start.file || number == position.file + 1 else {
        throw AuditErrors.missing(folder.records(position.file + 1), "from record \(position.edge.size) on")
      }
      if number != start.file { (position.file, position.length) = (number, 0) }
      try advance(&position, beyond: numbers.filter { $0 > number })
    }
    try checkNotes(position, from: start.file)
    return position
  }

  /// Whether the log is there up to the latest checkpoint, and the record before it is the one that was signed.
  private func checkStart(_ start: AuditTail.Position, _ numbers: [Int]) throws(KeyCustodyError) {
    let path = folder.records(start.file)
    guard start.edge.size > 0 else { return }
    guard numbers.contains(start.file) else {
      // Nothing was written yet to a file that was just begun.
      guard start.length > 0 else { return }
      throw AuditErrors.missing(path, "the file is not there, and had \(start.length) bytes at the latest checkpoint")
    }
    let found = try folder.length(start.file)
    guard found >= start.length else {
      throw AuditErrors.missing(path, "it has \(found) bytes, and had \(start.length) at the latest checkpoint")
    }
    guard start.length > 0 else { return }
    var lines = try AuditLines(
      path, from: max(0, start.length - 2 * AuditRecord.longestLine), upTo: start.length, folder.system)
    var last: [UInt8] = []
    while let line = try lines.next() { last = line.isWhole ? line.bytes : [] }
    guard try MerkleTree.leaf(last) == start.previous else {
      throw AuditErrors.altered(path, line: try lineCount(path, upTo: start.length), record: start.edge.size - 1)
    }
  }

  /// Goes on over the records of one file; cuts what was never acknowledged.
  private mutating func advance(
    _ position: inout AuditTail.Position, beyond later: [Int]
  ) throws(KeyCustodyError) {
    let path = folder.records(position.file)
    var lines = try AuditLines(path, from: position.length, folder.system)
    while let line = try lines.next() {
      if line.isWhole, let record = AuditRecord(line: line.bytes), record.number == position.edge.size,
        record.previous == position.previous, record.kept <= record.number
      {
        position.previous = try MerkleTree.leaf(line.bytes)
        try position.edge.append(leaf: position.previous)
        position.length = line.offset + line.bytes.count + 1
        continue
      }
      // Written after a record was on the disk, a later one says so: then this one had been acknowledged.
      var rest = line
      while true {
        if let record = AuditRecord(line: rest.bytes), record.kept > position.edge.size {
          throw AuditErrors.altered(
            path, line: try lineCount(path, upTo: position.length) + 1, record: position.edge.size)
        }
        guard let next = try lines.next() else { break }
        rest = next
      }
      for number in later where try folder.length(number) > 0 {
        throw AuditErrors.altered(
          path, line: try lineCount(path, upTo: position.length) + 1, record: position.edge.size)
      }
      return try truncate(path, to: position.length)
    }
  }

  /// Whether no checkpoint beside the files knows of more records; cuts a note that a crash left half written.
  private mutating func checkNotes(_ position: AuditTail.Position, from first: Int) throws(KeyCustodyError) {
    for number in first...max(first, position.file) {
      let path = folder.checkpoints(number)
      guard let bytes = try folder.small(path) else { continue }
      let notes = AuditNotes(bytes)
      // More than that is no note half written: it stays, for those who look into it.
      if (1...1024).contains(bytes.count - notes.wholeLength) { try truncate(path, to: notes.wholeLength) }
      guard let last = notes.all.last else { continue }
      let checkpoint = try AuditCheckpoint(note: last, key: key)
      guard checkpoint.size <= position.edge.size else {
        throw AuditErrors.missing(
          folder.records(position.file),
          "it ends before record \(position.edge.size), and a checkpoint was signed over \(checkpoint.size)")
      }
    }
  }

  private mutating func truncate(_ path: String, to length: Int) throws(KeyCustodyError) {
    do throws(AuditFileError) {
      let file = try folder.system.open(path, .appending)
      defer { folder.system.close(file) }
      cut += try folder.system.status(file).length - length
      try folder.system.truncate(file, to: length)
      try folder.system.synchronize(file)
    } catch { throw AuditErrors.unavailable(error, path) }
  }

  private func lineCount(_ path: String, upTo end: Int) throws(KeyCustodyError) -> Int {
    var lines = try AuditLines(path, upTo: end, folder.system)
    var count = 0
    while try lines.next() != nil { count += 1 }
    return count
  }
}

/// The signed notes of a file of checkpoints: each followed by an empty line.
struct AuditNotes {
  /// The notes, oldest first.
  private(set) var all: [String] = []
  /// Up to where there are nothing but whole notes.
  private(set) var wholeLength = 0

  init(_ bytes: [UInt8]) {
    // A note of ours has five lines, the fourth empty; with the one that follows it, six.
    var start = 0
    var ends: [Int] = []
    for (index, byte) in bytes.enumerated() where byte == 0x0a {
      ends.append(index + 1)
      guard ends.count == 6 else { continue }
      guard ends[5] == ends[4] + 1, ends[3] == ends[2] + 1 else { return }
      all.append(String(decoding: bytes[start..<ends[4]], as: UTF8.self))
      start = ends[5]
      wholeLength = start
      ends = []
    }
  }
}
